"""Levels by masks, the balanced mask loss and boundary supervision, against lvistraveler-lvis2020's equations."""

# ruff: noqa: E402

import math

import pytest

torch = pytest.importorskip("torch", reason="the extra zoo (torch) is not installed")
pytest.importorskip("timm", reason="the extra zoo (timm) is not installed")

from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from fusion.errors import InputError
from tests.zoo.nn.cases import CLASSES, scene
from tests.zoo.nn.test_masks import pyramid, regions_of
from zoo.config import BalancedMask, Boundary, MaskHead, Model, RoIPool
from zoo.data import Target
from zoo.nn.edges import boundary_target
from zoo.nn.mask_head import MaskBranch
from zoo.nn.mask_losses import balanced_mask_loss
from zoo.nn.mask_stages import MaskStages
from zoo.nn.pool import mask_levels


def rois_of(*sides):
    return torch.tensor([[0.0, 10, 20, 10 + side, 20 + side] for side in sides])


def test_levels_of_the_printed_rule_and_of_the_usual_one():
    rois = rois_of(100, 224, 448)
    full, thin = torch.full((3,), 0.9), torch.full((3,), 0.1)
    assert mask_levels(rois, full, "area_paper").tolist() == [3, 3, 3]
    assert mask_levels(rois, full, "area_log2").tolist() == [0, 2, 3]
    for rule in ("area_paper", "area_log2"):
        assert mask_levels(rois, thin, rule).tolist() == [0, 0, 0]


@settings(max_examples=60, deadline=None)
@given(side=st.floats(1, 2000), share=st.floats(0, 1), rule=st.sampled_from(["area_paper", "area_log2"]))
def test_levels_by_the_equation(side, share, rule):
    box = rois_of(side)
    area = ((box[0, 3] - box[0, 1]) * (box[0, 4] - box[0, 2])).item()
    first = area / 56**2 if rule == "area_paper" else math.log2(math.sqrt(area) / 56)
    second = share * area / (0.25 * area)
    if min(abs(value - round(value)) for value in (first, second)) > 1e-4:
        expected = max(min(math.floor(first), math.floor(second), 3), 0)
        assert mask_levels(box, torch.tensor([share]), rule).tolist() == [expected]


def balanced(logits, truth, sums):
    """Eq. 2-5 pixel by pixel, with the minus sign."""
    inside = sum(truth)
    found = [1 / (1 + math.exp(-value)) for value in logits]
    dice = 1 - (2 * sum(p * y for p, y in zip(found, truth, strict=True)) + 1) / (
        sum(p**2 for p in found) + sum(y**2 for y in truth) + 1
    )
    cross = 0.0
    for p, y in zip(found, truth, strict=True):
        weight = max(1.0, 0.5 * len(truth) / inside) if y else 1.0
        cross -= weight * (y * math.log(p) + (1 - y) * math.log(1 - p))
    return dice + cross / (1 if sums else len(truth))


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**31), share=st.floats(0, 1), sums=st.booleans())
def test_the_balanced_loss_is_that_of_the_equations(seed, share, sums):
    random = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(2, 6, 6, generator=random)
    truth = (torch.rand(2, 6, 6, generator=random) < share).float()
    found = balanced_mask_loss(logits, truth, BalancedMask(pixels="sum" if sums else "mean"))
    expected = [
        balanced(own.flatten().tolist(), mask.flatten().tolist(), sums) for own, mask in zip(logits, truth, strict=True)
    ]
    assert found.tolist() == pytest.approx(expected, rel=1e-4)


def test_the_balanced_loss_of_perfect_thin_and_empty_masks():
    truth = torch.zeros(3, 28, 28)
    truth[0, :14] = truth[1, :3, :26] = 1
    assert balanced_mask_loss((truth * 2 - 1) * 30, truth, BalancedMask()).max() < 1e-3
    assert torch.isfinite(balanced_mask_loss(torch.randn(3, 28, 28), truth, BalancedMask())).all()
    # a foreground pixel of 78 weighs 0.5 * 784 / 78 = 5.03 times one of the background
    logits = torch.zeros(1, 28, 28, requires_grad=True)
    only_cross = BalancedMask(cross=1e6)
    balanced_mask_loss(logits, truth[1:2], only_cross).sum().backward()
    ratio = -logits.grad[0, 0, 0] / logits.grad[0, 20, 20]
    assert ratio.item() == pytest.approx(5.0256, rel=1e-3)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**31), share=st.floats(0.2, 1))
def test_a_boundary_is_what_of_a_mask_has_a_neighbour_outside(seed, share):
    masks = (torch.rand(2, 7, 9, generator=torch.Generator().manual_seed(seed)) < share).float()
    found = boundary_target(masks)
    for n in range(2):
        for y in range(7):
            for x in range(9):
                around = [(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]
                whole = all(0 <= r < 7 and 0 <= c < 9 and masks[n, r, c] for r, c in around)
                assert found[n, y, x] == (masks[n, y, x] and not whole)


def test_boundaries_and_masks_teach_one_another():
    torch.manual_seed(0)
    branch = MaskBranch(MaskHead(convs=1, width=8, boundary=Boundary()), 8, CLASSES)
    _, target = scene(3)
    maps = pyramid()
    losses = branch.losses(maps, regions_of(target), [target])
    assert set(losses) == {"mask", "mask_boundary"}
    losses["mask"].backward(retain_graph=True)
    own = branch.boundary
    shared = (own.smaller, own.convs[0], own.to_mask, own.fusion)
    assert all(layer.weight.grad.abs().sum() > 0 for layer in shared)
    assert own.logits.weight.grad is None
    branch.zero_grad()
    losses["mask_boundary"].backward()
    assert branch.head.convs[0].weight.grad.abs().sum() > 0
    assert own.from_mask.weight.grad.abs().sum() > 0
    assert branch.head.logits.weight.grad is None
    none = branch.losses(maps, regions_of(target).only(torch.tensor([], dtype=torch.int64)), [target])
    branch.zero_grad()
    sum(none.values()).backward()
    assert all(parameter.grad is not None for parameter in branch.parameters())


def test_boundaries_come_from_p2_alone():
    torch.manual_seed(0)
    branch = MaskBranch(MaskHead(convs=1, width=8, boundary=Boundary()), 8, CLASSES)
    seen = []
    branch.boundary.pool.register_forward_hook(lambda _, __, pooled: seen.append(pooled))
    branch(
        [torch.full((1, 8, 512 // s, 512 // s), float(s)) for s in (4, 8, 16, 32, 64)],
        rois_of(50, 400),
        torch.tensor([1, 2]),
    )
    assert seen[0].shape == (2, 8, 28, 28)
    assert (seen[0] == 4).all()


def marked():
    """Maps that hold the number of their level."""
    return [torch.full((1, 8, 512 // s, 512 // s), float(n)) for n, s in enumerate((4, 8, 16, 32, 64))]


def watched(branch, seen):
    branch.pool.register_forward_hook(lambda _, __, pooled: seen.append(pooled.mean((1, 2, 3)).tolist()))
    return branch


def square(box, share):
    """A mask that covers a share of a box, from its top."""
    x1, y1, x2, y2 = box
    y2 = y1 + share * (y2 - y1)
    return [[x1, y1, x2, y1, x2, y2, x1, y2]]


def saying(branch, full):
    """Let a branch cover regions whole, or not at all."""
    nn.init.zeros_(branch.head.logits.weight)
    nn.init.constant_(branch.head.logits.bias, 1.0 if full else -1.0)
    return branch


def test_masks_decide_about_levels_in_training_and_at_test():
    torch.manual_seed(0)
    config = MaskHead(convs=1, width=8, level="area_log2")
    boxes = [[20.0, 20, 470, 470], [20.0, 20, 470, 470], [20.0, 20, 470, 470], [20.0, 20, 250, 250]]
    masks = [square(box, share) for box, share in zip(boxes, (0.1, 0.6, 0.95, 0.95), strict=True)]
    target = Target.empty(1, (512, 512), boxes=torch.tensor(boxes), labels=torch.tensor([1, 2, 3, 1]), masks=masks)
    seen = []
    branch = watched(MaskBranch(config, 8, CLASSES), seen)
    own = regions_of(target)
    branch.losses(marked(), own, [target])
    assert seen == [[0, 2, 3, 2]]
    for full, second in ((True, [3, 3, 3, 2]), (False, [0, 0, 0, 0])):
        seen.clear()
        saying(branch, full)(marked(), own.rois, own.labels)
        assert seen == [[3, 3, 3, 2], second]


def test_in_a_cascade_the_mask_before_decides_at_test():
    config = MaskHead(convs=1, width=8, level="area_log2", stages="each")
    seen = []
    stages = MaskStages(config, 8, CLASSES, 2)
    saying(stages.stages[0], False)
    watched(saying(stages.stages[1], True), seen)
    stages(marked(), rois_of(450), torch.tensor([1]))
    assert seen == [[0]]


def test_levels_are_chosen_or_all_are_pooled_from():
    with pytest.raises(InputError, match=r"mask\.level"):
        Model(mask=MaskHead(level="area_log2", pool=RoIPool(size=14, levels="max"))).validate()
