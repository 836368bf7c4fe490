"""The feature pyramid, and which task looks at which."""

from typing import NamedTuple

import torch
from timm.layers import GlobalContext
from torch import Tensor, nn
from torch.nn import functional

from zoo.config import FPN
from zoo.nn.deform import DeformConv2d
from zoo.nn.nas_fpn import MergingCells
from zoo.nn.norms import group_norm

__all__ = ["LEVELS", "STRIDES", "Pyramid", "Pyramids"]

LEVELS = 5
STRIDES = (4, 8, 16, 32, 64)


class Pyramids(NamedTuple):
    """P2-P6 as each task sees them; the same list where tasks share a pyramid.

    Attributes:
        proposals: For the region proposal network.
        classes: For what a region holds.
        boxes: For where it lies.
        masks: For the instance branch.
        stuff: For the map of stuff.
    """

    proposals: list[Tensor]
    classes: list[Tensor]
    boxes: list[Tensor]
    masks: list[Tensor]
    stuff: list[Tensor]

    @classmethod
    def shared(cls, pyramid: list[Tensor]) -> "Pyramids":
        """Return one pyramid for all tasks."""
        return cls(*[pyramid] * 5)


class Pyramid(nn.Module):
    """C2-C5 to P2-P6: 1x1 laterals, nearest top-down path, 3x3 outputs; P6 is every second pixel of P5.

    With `nas` merging cells stand behind the laterals, and behind P6.

    Args:
        config: Settings.
        channels: Channels of C2-C5.
    """

    def __init__(self, config: FPN, channels: tuple[int, ...]) -> None:
        super().__init__()
        self.channels = config.channels
        self.laterals = nn.ModuleList(_lateral(config, inputs) for inputs in channels)
        self.outputs = nn.ModuleList(_output(config) for _ in channels if not config.nas)
        self.cells = nn.Sequential(*(MergingCells(lambda: _output(config)) for _ in range(config.nas)))
        self.context: nn.Module | None = None
        match config.context:
            case "c5_add":
                self.context = nn.Conv2d(channels[-1], config.channels, 1)
            case "gc":
                self.context = GlobalContext(channels[-1], fuse_add=True, fuse_scale=False)
        self.adds_context = config.context == "c5_add"

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        """Return P2-P6, each [b, channels, h / stride, w / stride]."""
        if self.context is not None and not self.adds_context:
            maps = [*maps[:-1], self.context(maps[-1])]
        levels = [lateral(features) for lateral, features in zip(self.laterals, maps, strict=True)]
        if self.context is not None and self.adds_context:
            levels[-1] = levels[-1] + self.context(maps[-1].mean((2, 3), keepdim=True))
        if len(self.cells):
            merged: list[Tensor] = self.cells([*levels, levels[-1][:, :, ::2, ::2]])
            return merged
        for index in range(len(levels) - 2, -1, -1):
            levels[index] = levels[index] + functional.interpolate(
                levels[index + 1], levels[index].shape[-2:], mode="nearest"
            )
        pyramid: list[Tensor] = [output(level) for output, level in zip(self.outputs, levels, strict=True)]
        return [*pyramid, pyramid[-1][:, :, ::2, ::2]]


def _lateral(config: FPN, inputs: int) -> nn.Module:
    if config.lateral == "deform3x3":
        conv: nn.Module = DeformConv2d(
            _started(nn.Conv2d(inputs, config.channels, 3, padding=1)), start=config.mask_start
        )
    else:
        conv = _started(nn.Conv2d(inputs, config.channels, 1))
    return _normed(conv, config)


def _output(config: FPN) -> nn.Module:
    conv: nn.Module = _started(nn.Conv2d(config.channels, config.channels, 3, padding=1))
    if config.out == "deform":
        conv = DeformConv2d(conv, start=config.mask_start)  # type: ignore[arg-type]
    return _normed(conv, config)


def _normed(conv: nn.Module, config: FPN) -> nn.Module:
    return nn.Sequential(conv, group_norm(config.channels)) if config.norm == "gn" else conv


def _started(conv: nn.Conv2d) -> nn.Conv2d:
    nn.init.kaiming_uniform_(conv.weight, a=1)
    if conv.bias is not None:
        with torch.no_grad():
            conv.bias.zero_()
    return conv
