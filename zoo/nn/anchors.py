"""Anchors: the boxes that proposals start from."""

import torch
from torch import Tensor

from zoo.config import RPN

__all__ = ["base_anchors", "grid_anchors"]


def base_anchors(config: RPN, stride: int) -> Tensor:
    """Return the anchors of one position, centred at 0.

    Args:
        config: Scales (sides in strides) and ratios (height over width).
        stride: Pixels between positions of the level.

    Returns:
        float32 [scales x ratios, 4], the ratios inside the scales.
    """
    ratios = torch.tensor(config.ratios)
    sides = torch.tensor(config.scales)[:, None] * stride
    width, height = (sides / ratios.sqrt()).flatten(), (sides * ratios.sqrt()).flatten()
    anchors = torch.stack([-width, -height, width, height], dim=1) / 2
    return anchors.round() if config.whole_anchors else anchors


def grid_anchors(base: Tensor, stride: int, height: int, width: int) -> Tensor:
    """Return the anchors of all positions of a level.

    Args:
        base: float32 [a, 4].
        stride: Pixels between positions; the first is at 0.
        height: Rows of the level.
        width: Columns.

    Returns:
        float32 [height x width x a, 4].
    """
    x = torch.arange(width, device=base.device) * stride
    y = torch.arange(height, device=base.device) * stride
    rows, columns = torch.meshgrid(y, x, indexing="ij")
    shift = torch.stack([columns, rows, columns, rows], dim=-1).reshape(-1, 1, 4)
    return (shift + base).reshape(-1, 4)
