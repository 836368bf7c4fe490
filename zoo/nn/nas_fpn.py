"""NAS-FPN: a pyramid of merging cells that a search found, a few times in a row (mmfruit-openimages2019, 7.3)."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["MergingCells"]


class _Cell(NamedTuple):
    """A merging cell: what it joins and which level it makes; those of P2-P6 are 0 to 4.

    Attributes:
        attention: The first is weighted by the second's global average and added to it; otherwise a sum.
        first: Index of a feature map: 0 to 4 are the pyramid's, then come those of earlier cells.
        second: The other one.
        level: Whose size the result has; it takes the level's place where it is its last cell.
        added: Whether what is made is added to the level as it came in, before its convolution.
    """

    attention: bool
    first: int
    second: int
    level: int
    added: bool = False


# the paper's P3-P7 are our P2-P6
_CELLS = (
    _Cell(True, 3, 1, 1),  # 5
    _Cell(False, 5, 1, 1),  # 6
    _Cell(False, 6, 0, 0),  # 7: P2
    _Cell(False, 7, 6, 1),  # 8: P3
    _Cell(True, 8, 7, 2, added=True),  # 9: P4
    _Cell(True, 9, 6, 4, added=True),  # 10: P6
    _Cell(True, 10, 9, 3),  # 11: P5
)
_OUTPUTS = (7, 8, 9, 11, 10)


class MergingCells(nn.Module):
    """The seven merging cells of NAS-FPN, from one pyramid to the next.

    Args:
        conv: Makes the 3x3 convolution of a cell, with its norm.
    """

    def __init__(self, conv: Callable[[], nn.Module]) -> None:
        super().__init__()
        self.convs = nn.ModuleList(conv() for _ in _CELLS)

    def forward(self, pyramid: list[Tensor]) -> list[Tensor]:
        """Return P2-P6 made of P2-P6, each of its size."""
        maps = list(pyramid)
        for cell, conv in zip(_CELLS, self.convs, strict=True):
            level = pyramid[cell.level]
            first, second = (_resized(maps[index], level) for index in (cell.first, cell.second))
            if cell.attention:
                first = first * maps[cell.second].mean((2, 3), keepdim=True).sigmoid()
            joined = first + second
            maps.append(conv(torch.relu(joined + level if cell.added else joined)))
        return [maps[index] for index in _OUTPUTS]


def _resized(features: Tensor, like: Tensor) -> Tensor:
    """Return features at another's size: by the nearest where that is larger, by the maximum where it is smaller."""
    size = like.shape[-2:]
    if features.shape[-2:] == size:
        return features
    if features.shape[-2] <= size[0] and features.shape[-1] <= size[1]:
        return functional.interpolate(features, size, mode="nearest")
    return functional.adaptive_max_pool2d(features, (int(size[0]), int(size[1])))
