"""NAS-FPN's merging cells."""

# ruff: noqa: E402

import math

import pytest

torch = pytest.importorskip("torch", reason="the extra zoo (torch) is not installed")
pytest.importorskip("timm", reason="the extra zoo (timm) is not installed")

from torch import nn

from zoo.config import FPN
from zoo.nn.fpn import Pyramid
from zoo.nn.nas_fpn import MergingCells


def test_cells_join_what_the_search_found():
    """Of even maps, with convolutions that change nothing, every cell is arithmetic on one number per level."""
    p3, p4, p5, p6, p7 = numbers = (0.3, -0.4, 0.9, 0.2, 1.1)
    cells = MergingCells(nn.Identity)
    sizes = [(24, 20), (12, 10), (6, 5), (3, 3), (2, 2)]
    found = cells([torch.full((1, 2, *size), value) for value, size in zip(numbers, sizes, strict=True)])

    def both(one, other):
        return max(0.0, one + other)

    def attended(one, other, more=0.0):
        return max(0.0, other + one / (1 + math.exp(-other)) + more)

    low = both(attended(p6, p4), p4)
    out3 = both(low, p3)
    out4 = both(out3, low)
    out5 = attended(out4, out3, p5)
    out7 = attended(out5, low, p7)
    out6 = attended(out7, out5)
    for features, size, value in zip(found, sizes, (out3, out4, out5, out6, out7), strict=True):
        assert features.shape == (1, 2, *size)
        assert torch.allclose(features, torch.tensor(value))


def test_maps_are_made_larger_by_the_nearest_and_smaller_by_the_maximum():
    cells, sizes = MergingCells(nn.Identity), (16, 8, 4, 2, 1)
    pyramid = [torch.zeros(1, 1, size, size) for size in sizes]
    pyramid[0][0, 0, 5, 6] = 1.0
    second = cells(pyramid)[1][0, 0]
    assert second.argmax() == 2 * 8 + 3
    assert second.count_nonzero() == 1
    pyramid[3][0, 0, 0, 1] = 1.0
    first = cells(pyramid)[0][0, 0]
    assert (first > 0).nonzero()[:, 1].min() == 6
    assert (first[:8, 8:] > 0).all()


@pytest.mark.parametrize("norm", ["none", "gn"])
def test_a_pyramid_of_them_has_the_usual_levels_and_learns_with_all_its_weights(norm):
    torch.manual_seed(0)
    neck = Pyramid(FPN(channels=8, norm=norm, nas=2), (4, 6, 8, 10))
    assert sum(isinstance(layer, nn.Conv2d) and layer.kernel_size == (3, 3) for layer in neck.modules()) == 14
    maps = [torch.randn(1, c, 96 // s, 160 // s) for c, s in zip((4, 6, 8, 10), (4, 8, 16, 32), strict=True)]
    found = neck(maps)
    assert [tuple(level.shape) for level in found] == [
        (1, 8, 24, 40),
        (1, 8, 12, 20),
        (1, 8, 6, 10),
        (1, 8, 3, 5),
        (1, 8, 2, 3),
    ]
    sum(level.square().sum() for level in found).backward()
    assert all(parameter.grad is not None for parameter in neck.parameters())
