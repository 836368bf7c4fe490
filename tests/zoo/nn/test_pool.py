"""Pooling: aligned, deformable, from several levels, with context."""

# ruff: noqa: E402

import pytest

torch = pytest.importorskip("torch", reason="the extra zoo (torch) is not installed")
pytest.importorskip("torchvision", reason="the extra zoo (torchvision) is not installed")

from torchvision.ops import roi_align

from tests.oracles import zoo as oracle
from zoo.config import RoIPool
from zoo.nn.grid import deform_align
from zoo.nn.pool import Pooler, levels_of


def pyramid(channels=4, size=128, batch=2):
    return [torch.randn(batch, channels, size // s, size // s) for s in (4, 8, 16, 32, 64)]


def regions(count=12, size=128, dtype=torch.float32):
    corner = torch.rand(count, 2) * size * 0.6
    return torch.cat(
        [torch.randint(0, 2, (count, 1)).float(), corner, corner + 3 + torch.rand(count, 2) * size * 0.5], 1
    ).to(dtype)


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def test_levels():
    sides = torch.tensor([10.0, 111.9, 112, 223.9, 224, 447.9, 448, 5000])
    rois = torch.stack([0 * sides, 0 * sides, 0 * sides, sides, sides], 1)
    assert levels_of(rois).tolist() == [0, 0, 1, 1, 2, 2, 3, 3]


def test_a_ramp_is_pooled_at_the_centres_of_bins():
    y, x = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
    level = torch.stack([x + 0.5, y + 0.5])[None] * 4  # the coordinate of each position in pixels of the image
    box = torch.tensor([[0.0, 31.0, 44.5, 101.0, 79.5]])
    pooled = Pooler(RoIPool(size=7), 2)([level, *pyramid(2)[1:]], box)
    centres = (torch.arange(7) + 0.5) / 7
    assert torch.allclose(pooled[0, 0], (31 + 70 * centres)[None].expand(7, 7), atol=1e-4)
    assert torch.allclose(pooled[0, 1], (44.5 + 35 * centres)[:, None].expand(7, 7), atol=1e-4)


def test_levels_are_pooled_apart_and_put_back_in_order():
    levels, rois = pyramid(size=512), regions(40, 512)
    pooled = Pooler(RoIPool(), 4)(levels, rois)
    for n, level in enumerate(levels_of(rois).tolist()):
        one = roi_align(levels[level], rois[n : n + 1], 7, 1 / (4 * 2**level), 2, aligned=True)
        assert torch.equal(pooled[n], one[0])


def test_deformable_pooling_with_zero_and_with_equal_shifts():
    level, rois = torch.randn(2, 3, 20, 26, dtype=torch.float64), regions(dtype=torch.float64)
    zero = torch.zeros(len(rois), 2, 7, 7, dtype=torch.float64)
    assert (
        deform_align(level, rois, zero, 0.25, 2) - roi_align(level, rois, 7, 0.25, 2, aligned=True)
    ).abs().max() < 1e-10
    size = rois[:, 3:] - rois[:, 1:3]
    moved = torch.cat([rois[:, :1], rois[:, 1:3] + 0.07 * size, rois[:, 3:] + 0.07 * size], 1)
    found = deform_align(level, rois, zero + 0.07, 0.25, 2)
    assert (found - roi_align(level, moved, 7, 0.25, 2, aligned=True)).abs().max() < 1e-10


def test_deformable_pooling_against_the_definition():
    level, rois = torch.randn(2, 2, 9, 11, dtype=torch.float64), regions(4, 50, torch.float64)
    shifts = 0.3 * torch.randn(4, 2, 3, 3, dtype=torch.float64)
    expected = oracle.deform_align(level, rois, shifts, 0.25, 2)
    assert (deform_align(level, rois, shifts, 0.25, 2) - expected).abs().max() < 1e-9


def test_gradients_of_deformable_pooling():
    level = torch.randn(2, 1, 6, 7, dtype=torch.float64, requires_grad=True)
    rois = regions(2, 24, torch.float64)
    shifts = (0.1 * torch.randn(2, 2, 2, 2, dtype=torch.float64)).requires_grad_()
    assert torch.autograd.gradcheck(lambda f, s: deform_align(f, rois, s, 0.25, 2), (level, shifts))


@pytest.mark.parametrize("kind", ["offset", "modulated"])
def test_deformable_pooler_starts_as_the_plain_one(kind):
    levels, rois = pyramid(), regions()
    pool = Pooler(RoIPool(deform=kind, hidden=16), 4)
    plain = Pooler(RoIPool(), 4)(levels, rois)
    assert torch.allclose(pool(levels, rois), plain * (0.5 if kind == "modulated" else 1), atol=1e-5)
    pool(levels, rois).sum().backward()
    assert pool.offset[-1].weight.grad.abs().sum() > 0


def test_the_larger_level_wins_the_maximum():
    levels, rois = pyramid(), regions()
    pool = Pooler(RoIPool(levels="max"), 4)
    summed = Pooler(RoIPool(levels="sum"), 4)
    for conv in (*pool.convs, *summed.convs):
        torch.nn.init.dirac_(conv.weight)
        torch.nn.init.zeros_(conv.bias)
    levels[2] = levels[2].abs() + 100
    one = roi_align(levels[2], rois, 7, 1 / 16, 2, aligned=True)
    inside = one > 90  # bins at the edge of the map may be outside of it
    assert torch.allclose(pool(levels, rois)[inside], one[inside], atol=1e-3)
    each = [roi_align(f, rois, 7, 1 / (4 * 2**n), 2, aligned=True) for n, f in enumerate(levels[:4])]
    assert torch.allclose(summed(levels, rois), sum(each), atol=1e-3)


def test_context_of_factor_one_is_the_region_itself():
    levels, rois = pyramid(), regions()
    plain = Pooler(RoIPool(), 4)(levels, rois)
    for factor, same in ((1.0, True), (1.5, False)):
        pool = Pooler(RoIPool(context=factor), 4)
        torch.nn.init.zeros_(pool.join.weight)
        torch.nn.init.zeros_(pool.join.bias)
        pool.join.weight.data[:, 4:, 0, 0] = torch.eye(4)  # only the enlarged region
        assert torch.allclose(pool(levels, rois), plain, atol=1e-5) == same


@pytest.mark.parametrize(
    "config", [RoIPool(), RoIPool(deform="modulated", hidden=8), RoIPool(levels="max", context=1.5)]
)
def test_no_regions(config):
    pool = Pooler(config, 4)
    found = pool(pyramid(), torch.zeros(0, 5))
    assert found.shape == (0, 4, 7, 7)
    if list(pool.parameters()):
        found.sum().backward()
        assert all(parameter.grad is not None for parameter in pool.parameters())
