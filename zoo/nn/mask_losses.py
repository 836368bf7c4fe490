"""What masks of regions are trained by, a value for each region."""

import torch
from torch import Tensor
from torch.nn import functional

from zoo.config import BalancedMask

__all__ = ["balanced_mask_loss", "boundary_dice", "cross_entropy"]


def cross_entropy(logits: Tensor, truth: Tensor) -> Tensor:
    """Return the mean binary cross entropy [n] of logits [n, s, s] and masks [n, s, s]."""
    return functional.binary_cross_entropy_with_logits(logits, truth, reduction="none").flatten(1).mean(1)


def balanced_mask_loss(logits: Tensor, truth: Tensor, config: BalancedMask) -> Tensor:
    """Return the balanced loss (lvistraveler-lvis2020, Eq. 2-5) of masks inside their regions.

    Args:
        logits: float32 [n, s, s].
        truth: float32 [n, s, s] of 0 and 1.
        config: Factors.

    Returns:
        float32 [n].
    """
    logits, truth = logits.flatten(1), truth.flatten(1)
    area, found = truth.sum(1), logits.sigmoid()
    shared = 2 * (found * truth).sum(1) + config.smooth
    dice = 1 - shared / (found.square().sum(1) + truth.square().sum(1) + config.smooth)
    foreground = (0.5 * truth.shape[1] / area.clamp(min=1)).clamp(min=1)[:, None]
    weight = torch.where(truth > 0, foreground, torch.ones_like(truth))
    pixels = functional.binary_cross_entropy_with_logits(logits, truth, weight, reduction="none")
    return dice + config.cross * (pixels.mean(1) if config.pixels == "mean" else pixels.sum(1))


def boundary_dice(logits: Tensor, truth: Tensor) -> Tensor:
    """Return the Dice loss [n], not squared and smoothed by 1, of boundaries [n, s, s]."""
    found, truth = logits.sigmoid().flatten(1), truth.flatten(1)
    return 1 - (2 * (found * truth).sum(1) + 1) / (found.sum(1) + truth.sum(1) + 1)
