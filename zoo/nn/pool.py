"""From regions to features of a fixed size."""

from typing import Literal

import torch
from torch import Tensor, nn
from torchvision.ops import roi_align

from zoo.config import RoIPool
from zoo.nn.fpn import STRIDES
from zoo.nn.geometry import grown
from zoo.nn.grid import deform_align

__all__ = ["Pooler", "levels_of", "mask_levels"]

_LEVELS = 4  # P6 is for proposals only
_SIDE, _STEP = 56, 0.25


def levels_of(rois: Tensor) -> Tensor:
    """Return the level (0 is P2) of regions [n, 5]: a 224-pixel square goes to P4, doubling goes one up."""
    side = (rois[:, 3:] - rois[:, 1:3]).clamp(min=0).prod(1).sqrt()
    return (torch.floor(4 + torch.log2(side / 224 + 1e-6)) - 2).clamp(0, _LEVELS - 1).long()


def mask_levels(rois: Tensor, share: Tensor, rule: Literal["area_paper", "area_log2"]) -> Tensor:
    """Return the level (0 is P2) of regions [n, 5] by their size and their masks' (lvistraveler-lvis2020, Eq. 1).

    Args:
        rois: The regions.
        share: float32 [n], the share of each region that its mask covers.
        rule: First term: "area_paper" the printed ratio of areas, "area_log2" the pyramid's usual rule.
    """
    area = (rois[:, 3:] - rois[:, 1:3]).clamp(min=0).prod(1)
    size = area / _SIDE**2 if rule == "area_paper" else torch.log2(area.sqrt() / _SIDE + 1e-6)
    return torch.minimum(size.floor(), (share / _STEP).floor()).clamp(0, _LEVELS - 1).long()


class Pooler(nn.Module):
    """Pools regions from the pyramid as a config says.

    Args:
        config: Settings.
        channels: Channels of the pyramid.
    """

    def __init__(self, config: RoIPool, channels: int) -> None:
        super().__init__()
        self.config = config
        self.convs = nn.ModuleList()
        if config.levels != "assigned":
            self.convs.extend(nn.Conv2d(channels, channels, 3, padding=1) for _ in range(_LEVELS))
        self.offset: nn.Sequential | None = None
        self.factor: nn.Sequential | None = None
        if config.deform != "none":
            bins = config.size * config.size
            self.offset = _zeroed(channels * bins, (config.hidden, config.hidden), 2 * bins)
            if config.deform == "modulated":
                self.factor = _zeroed(channels * bins, (config.hidden,), bins)
        self.join = nn.Conv2d(2 * channels, channels, 1) if config.context is not None else None

    def forward(
        self, pyramid: list[Tensor], rois: Tensor, chosen: Tensor | None = None, shifts: Tensor | None = None
    ) -> Tensor:
        """Return features [n, channels, size, size] of regions [n, 5], pooled in float32.

        Args:
            pyramid: P2-P6.
            rois: The regions.
            chosen: int64 [n], the level of each, 0 is P2; None for that of its size.
            shifts: [n, 2, size, size], of each bin in x and y in widths and heights of its region, in the place of
                those that the config predicts; gradients reach them.
        """
        with torch.autocast(rois.device.type, enabled=False):
            levels = [level.float() for level in pyramid[:_LEVELS]]
            if shifts is not None:
                return self._aligned(levels, rois, shifts.float(), chosen)
            plain = self._pool(levels, rois, chosen)
            factor = self.config.context
            wide = self._pool(levels, grown(rois, factor), chosen) if factor is not None else None
        if wide is not None and self.join is not None:
            joined: Tensor = self.join(torch.cat([plain, wide], dim=1))
            return joined
        return plain

    def _pool(self, levels: list[Tensor], rois: Tensor, chosen: Tensor | None) -> Tensor:
        plain = self._aligned(levels, rois, None, chosen)
        if self.offset is None:
            return plain
        size = self.config.size
        shifts = self.config.gamma * self.offset(plain.flatten(1)).view(-1, 2, size, size)
        shifted = self._aligned(levels, rois, shifts, chosen)
        if self.factor is not None:
            shifted = shifted * self.factor(plain.flatten(1)).sigmoid().view(-1, 1, size, size)
        return shifted

    def _aligned(self, levels: list[Tensor], rois: Tensor, shifts: Tensor | None, chosen: Tensor | None) -> Tensor:
        if self.config.levels == "assigned":
            return self._assigned(levels, rois, shifts, levels_of(rois) if chosen is None else chosen)
        pooled = [
            conv(self._one(level, index, rois, shifts))
            for index, (conv, level) in enumerate(zip(self.convs, levels, strict=True))
        ]
        every = torch.stack(pooled)
        return every.amax(0) if self.config.levels == "max" else every.sum(0)

    def _assigned(self, levels: list[Tensor], rois: Tensor, shifts: Tensor | None, chosen: Tensor) -> Tensor:
        parts, places = [], []
        for index, level in enumerate(levels):
            own = (chosen == index).nonzero().squeeze(1)
            if len(own):
                parts.append(self._one(level, index, rois[own], None if shifts is None else shifts[own]))
                places.append(own)
        if not parts:
            return self._one(levels[0], 0, rois, shifts)
        if len(parts) == 1:
            return parts[0]
        return torch.cat(parts)[torch.argsort(torch.cat(places))]

    def _one(self, level: Tensor, index: int, rois: Tensor, shifts: Tensor | None) -> Tensor:
        scale, size, sampling = 1 / STRIDES[index], self.config.size, self.config.sampling
        if shifts is None:
            pooled: Tensor = roi_align(level, rois, size, scale, sampling, aligned=self.config.aligned)
            return pooled
        return deform_align(level, rois, shifts, scale, sampling)


def _zeroed(inputs: int, hidden: tuple[int, ...], outputs: int) -> nn.Sequential:
    """Return fully connected layers of which the last one starts at zero."""
    layers: list[nn.Module] = []
    for width in hidden:
        layers += [nn.Linear(inputs, width), nn.ReLU(inplace=True)]
        inputs = width
    last = nn.Linear(inputs, outputs)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return nn.Sequential(*layers, last)
