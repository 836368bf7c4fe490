"""Supervision by a map of stuff (megdetv2-coco2019, sec. 3.1): a branch of the pyramid that only training uses."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from fusion.errors import InputError
from zoo.config import StuffHead
from zoo.data.record import Target
from zoo.nn.losses import shared_count

__all__ = ["StuffBranch"]

_IGNORE = 255
_LEVEL = 1  # all levels are joined at the size of P3


class StuffBranch(nn.Module):
    """P2-P6 joined at stride 8, convolutions, and a class per position.

    Args:
        config: Settings.
        channels: Channels of the pyramid.
    """

    def __init__(self, config: StuffHead, channels: int) -> None:
        super().__init__()
        self.config = config
        self.laterals = nn.ModuleList(nn.Conv2d(channels, config.width, 1) for _ in range(5))
        layers: list[nn.Module] = []
        for _ in range(config.convs):
            layers += [nn.Conv2d(config.width, config.width, 3, padding=1), nn.ReLU(inplace=True)]
        self.convs = nn.Sequential(*layers)
        self.classes = nn.Conv2d(config.width, config.classes, 1)

    def forward(self, pyramid: list[Tensor]) -> Tensor:
        """Return logits [b, classes, h / 8, w / 8]."""
        size = pyramid[_LEVEL].shape[-2:]
        joined: Tensor | None = None
        for lateral, level in zip(self.laterals, pyramid, strict=True):
            shaped = level
            if level.shape[-2:] != size:
                shaped = functional.interpolate(level.float(), size, mode="bilinear", align_corners=True)
            joined = lateral(shaped) if joined is None else joined + lateral(shaped)
        logits: Tensor = self.classes(self.convs(joined))
        return logits

    def loss(self, pyramid: list[Tensor], targets: list[Target]) -> Tensor:
        """Return the cross entropy at every position whose class is known.

        Raises:
            InputError: If a target has no map, or one with classes that the head lacks.
        """
        logits = self(pyramid).float()
        height, width = logits.shape[-2:]
        terms, known = [], 0
        for image, target in enumerate(targets):
            truth = _map(target, height, width, self.config.classes).to(logits.device)
            known += int((truth != _IGNORE).sum())
            cross = functional.cross_entropy(
                logits[image : image + 1], truth[None], ignore_index=_IGNORE, reduction="sum"
            )
            terms.append(cross * target.loss_weight)
        count = shared_count(known, logits)
        return self.config.weight * torch.stack(terms).sum() / count


def _map(target: Target, height: int, width: int, classes: int) -> Tensor:
    """Return the map at stride 8, ignored beyond the image."""
    where = f"image {target.image_id!r} of {target.source or 'the data'}"
    if target.stuff is None:
        raise InputError(
            where, "has no map of stuff, which the stuff head needs", "Give the maps, or set stuff to null"
        )
    small = target.stuff[4::8, 4::8].long()[:height, :width]
    wrong = (small >= classes) & (small != _IGNORE)
    if bool(wrong.any()):
        raise InputError(
            where,
            f"its map of stuff has class {int(small[wrong].max())}, the head has classes 0..{classes - 1}",
            "Set stuff.classes",
        )
    truth = torch.full((height, width), _IGNORE, dtype=torch.int64)
    truth[: small.shape[0], : small.shape[1]] = small.cpu()
    return truth
