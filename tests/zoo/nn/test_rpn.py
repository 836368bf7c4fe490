"""Anchors, their matching, and the choice of proposals."""

# ruff: noqa: E402

import pytest

torch = pytest.importorskip("torch", reason="the extra zoo (torch) is not installed")
pytest.importorskip("timm", reason="the extra zoo (timm) is not installed")

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.oracles import zoo as oracle
from zoo.config import RPN, ClassAware, HighIoU
from zoo.data.record import Target
from zoo.nn.anchors import base_anchors, grid_anchors
from zoo.nn.draws import Draws
from zoo.nn.matching import class_aware_positives, match_anchors, match_proposals
from zoo.nn.proposals import Candidates, high_iou, select
from zoo.nn.rpn import ProposalNetwork, Scored

SEED = st.integers(0, 2**31)


def some_boxes(count, random, size=60.0):
    corner = torch.rand(count, 2, generator=random) * size
    return torch.cat([corner, corner + 5 + torch.rand(count, 2, generator=random) * size * 0.7], 1)


def target_of(boxes, **given):
    boxes = torch.as_tensor(boxes, dtype=torch.float32).view(-1, 4)
    values = {"boxes": boxes, "labels": torch.ones(len(boxes), dtype=torch.int64), "box_weight": torch.ones(len(boxes))}
    return Target.empty(1, (100, 100), **(values | given))


def test_anchors_by_hand():
    base = base_anchors(RPN(), 4)
    assert torch.allclose(base[1], torch.tensor([-16.0, -16, 16, 16]))
    width, height = (base[:, 2] - base[:, 0]), (base[:, 3] - base[:, 1])
    assert torch.allclose(width * height, torch.full((3,), 1024.0))
    assert torch.allclose(height / width, torch.tensor([0.5, 1, 2]))
    grid = grid_anchors(base, 4, 2, 3)
    assert grid.shape == (18, 4)
    assert torch.equal(grid[3 * 4 + 1], base[1] + torch.tensor([4.0, 4, 4, 4]))  # second row, second column
    assert len(base_anchors(RPN(scales=(8, 11, 14), ratios=(0.1, 0.5, 1, 2, 4, 8)), 4)) == 18


@settings(max_examples=50, deadline=None)
@given(SEED, st.integers(1, 4), st.sampled_from([0, 1, 3, 35]))
def test_matching_against_the_definition(seed, objects, forced):
    random = torch.Generator().manual_seed(seed)
    anchors, target = some_boxes(40, random), target_of(some_boxes(objects, random))
    config = RPN(forced_anchors=forced, positive_iou=0.5, negative_iou=0.3)
    found = match_anchors(anchors, target, config)
    labels, owners = oracle.match_anchors(anchors.tolist(), target.boxes.tolist(), 0.5, 0.3, forced)
    assert found.labels.tolist() == labels
    positive = found.labels == 1
    assert found.index[positive].tolist() == [owner for owner, label in zip(owners, labels, strict=True) if label == 1]


def test_a_contested_anchor_goes_to_the_object_it_overlaps_most():
    anchors = torch.tensor([[0.0, 0, 10, 10], [50.0, 50, 60, 60]])
    target = target_of([[0, 0, 10, 40], [0, 0, 10, 30]])
    found = match_anchors(anchors, target, RPN(forced_anchors=1))
    assert found.labels.tolist() == [1, 0]
    assert found.index[0] == 1


def test_ignore_boxes_take_anchors_and_proposals_from_the_background():
    boxes = torch.tensor([[0.0, 0, 10, 10], [0.0, 0, 10, 30], [50.0, 50, 60, 60]])
    target = target_of([[50, 50, 60, 60]], ignore_boxes=torch.tensor([[0.0, 0, 10, 14], [48.0, 48, 70, 70]]))
    assert match_anchors(boxes, target, RPN()).labels.tolist() == [-1, 0, 1]
    assert match_proposals(boxes, target, 0.5, 0.5).labels.tolist() == [-1, 0, 1]
    nothing = target_of([], ignore_boxes=target.ignore_boxes)
    assert match_anchors(boxes, nothing, RPN()).labels.tolist() == [-1, 0, -1]


@settings(max_examples=50, deadline=None)
@given(SEED, st.integers(0, 4), st.sampled_from([1, 3, 64]), st.sampled_from([0.5, 0.9]))
def test_high_iou_sampling_against_the_definition(seed, objects, per_box, threshold):
    random = torch.Generator().manual_seed(seed)
    goals = some_boxes(objects, random)
    near = goals.repeat(8, 1) + 6 * torch.randn(8 * objects, 4, generator=random)
    near = torch.cat([near[:, :2], torch.maximum(near[:, 2:], near[:, :2] + 2)], 1)
    boxes = torch.cat([near, some_boxes(20, random)])
    scores, levels = torch.rand(len(boxes), generator=random), torch.randint(0, 2, (len(boxes),), generator=random)
    found = high_iou(boxes, scores, levels, goals, HighIoU(nms_iou=threshold, per_box=per_box))
    expected = oracle.high_iou(
        boxes.tolist(), scores.tolist(), levels.tolist(), goals.tolist(), threshold, per_box if objects else 10**9
    )
    assert found.tolist() == expected


def test_a_tight_proposal_of_low_score_survives_in_training_only():
    target = target_of([[0, 0, 100, 100]])
    boxes = torch.tensor([[0.0, 0, 100, 80], [0.0, 0, 100, 99], [300.0, 300, 400, 400]])
    candidates = Candidates(boxes, torch.tensor([0.9, 0.1, 0.5]), torch.zeros(3, dtype=torch.int64))
    config = RPN(high_iou=HighIoU(nms_iou=0.7))
    assert torch.equal(select(candidates, config, True, target), boxes[1:])
    assert torch.equal(select(candidates, config, False, target), boxes[[0, 2]])
    assert torch.equal(select(candidates, RPN(), True, target), boxes[[0, 2]])


@settings(max_examples=60, deadline=None)
@given(SEED, st.integers(1, 5), st.integers(1, 40), st.sampled_from([0.5, 0.7]))
def test_class_aware_sampling_against_the_definition(seed, objects, proposals, threshold):
    random = torch.Generator().manual_seed(seed)
    overlaps = torch.rand(objects, proposals, generator=random) * (
        torch.rand(objects, proposals, generator=random) > 0.5
    )
    labels = torch.randint(1, 4, (objects,), generator=random)
    found = class_aware_positives(overlaps, labels, threshold, ClassAware())
    expected = oracle.class_aware(overlaps.tolist(), labels.tolist(), threshold, 0.3 + threshold - 0.5 - 1e-7)
    assert set(found.nonzero().squeeze(1).tolist()) == expected


def test_a_hard_class_keeps_positives_and_an_easy_one_gets_fewer():
    quality = torch.cat([torch.linspace(0.1, 0.95, 60), torch.linspace(0.05, 0.45, 60)])
    overlaps = torch.zeros(2, 120)
    overlaps[0, :60], overlaps[1, 60:] = quality[:60], quality[60:]
    labels = torch.tensor([1, 2])
    positive = class_aware_positives(overlaps, labels, 0.5, ClassAware())
    assert positive[60:].any()
    assert quality[:60][positive[:60]].min() > 0.5
    quota = class_aware_positives(overlaps, labels, 0.5, ClassAware(mode="quota", floor=0.0))
    assert quota[:60].sum() == quota[60:].sum()


def test_what_an_easy_class_leaves_over_is_background_or_by_choice_neither():
    shifts = torch.linspace(0, 60, 31)  # of an easy object; a hard one is touched by far-off proposals only
    easy = torch.stack([shifts * 0, shifts, shifts * 0 + 100, shifts + 100], 1)
    hard = easy + torch.tensor([300.0, 70, 300, 70])
    target = target_of([[0.0, 0, 100, 100], [300.0, 0, 400, 100]], labels=torch.tensor([1, 2]))
    boxes = torch.cat([easy, hard])
    plain = match_proposals(boxes, target, 0.5, 0.5)
    background = match_proposals(boxes, target, 0.5, 0.5, ClassAware())
    ignored = match_proposals(boxes, target, 0.5, 0.5, ClassAware(rest="ignored"))
    left = (plain.labels == 1) & (background.labels != 1)
    assert 0 < left.sum() < (plain.labels == 1).sum()
    assert (background.labels[left] == 0).all()
    assert (ignored.labels[left] == -1).all()
    assert torch.equal(ignored.labels[~left], background.labels[~left])


def rpn_and_maps(**given):
    torch.manual_seed(0)
    net = ProposalNetwork(RPN(channels=8, before_nms=(50, 30), after_nms=(40, 20), samples=32, **given), 8)
    return net, [torch.randn(2, 8, 64 // s, 64 // s) for s in (2, 4, 8, 16, 32)]


def test_proposals_lie_in_their_image_and_come_by_score():
    net, maps = rpn_and_maps()
    for training in (True, False):
        net.train(training)
        found = net.propose(net(maps), [(128, 100), (90, 128)], None)
        for boxes, (height, width) in zip(found, [(128, 100), (90, 128)], strict=True):
            assert 0 < len(boxes) <= (40 if training else 20)
            assert (boxes[:, 2:] > boxes[:, :2]).all()
            assert boxes.min() >= 0
            assert boxes[:, 2].max() <= width
            assert boxes[:, 3].max() <= height


def test_losses_by_hand():
    net, _ = rpn_and_maps()
    anchors = torch.tensor([[0.0, 0, 10, 10], [20.0, 20, 30, 30], [60.0, 60, 70, 70]])
    scores = torch.zeros(1, 3, requires_grad=True)
    deltas = torch.zeros(1, 3, 4, requires_grad=True)
    target = target_of([[0, 0, 10, 10], [20, 20, 30, 32]], loss_weight=0.5, box_weight=torch.tensor([1.0, 3.0]))
    losses = net.losses(Scored([scores], [deltas], [anchors]), [target], [Draws(0, 0, 1)])
    # log 2 for each of three anchors, the second of weight 3; the image counts half
    assert losses["rpn_objectness"].item() == pytest.approx(0.5 * 5 * 0.6931 / 3, abs=1e-3)
    y, log_h = 1 / 10, torch.tensor(1.2).log().item()
    each = [9 / 2 * y * y, log_h - 1 / 18]  # quadratic below 1/9, linear above
    assert losses["rpn_box"].item() == pytest.approx(0.5 * 3 * sum(each) / 3, abs=1e-4)


def test_an_image_with_nothing_but_an_ignore_box_teaches_nothing_there():
    net, maps = rpn_and_maps()
    everything = torch.tensor([[-1e4, -1e4, 1e4, 1e4]])
    scored = net(maps)
    targets = [target_of([], ignore_boxes=everything)] * 2
    losses = net.losses(scored, targets, [Draws(0, 0, n) for n in range(2)])
    assert all(loss.item() == 0 for loss in losses.values())
    sum(losses.values()).backward()
    assert all(parameter.grad.isfinite().all() for parameter in net.parameters())


def test_draws_depend_on_the_image_and_the_pass_alone():
    candidates = torch.arange(100)
    one = Draws(0, 3, "a").choose(candidates, 10, "x")
    assert torch.equal(one, Draws(0, 3, "a").choose(candidates, 10, "x"))
    for other in (Draws(0, 4, "a"), Draws(1, 3, "a"), Draws(0, 3, "b")):
        assert not torch.equal(one, other.choose(candidates, 10, "x"))
    assert not torch.equal(one, Draws(0, 3, "a").choose(candidates, 10, "y"))
    assert torch.equal(Draws(0, 0, 0).choose(candidates, 200, "x"), candidates)
