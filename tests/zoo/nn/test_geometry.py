"""Boxes: deltas, overlaps, precision."""

# ruff: noqa: E402

import math

import pytest

torch = pytest.importorskip("torch", reason="the extra zoo (torch) is not installed")
pytest.importorskip("torchvision", reason="the extra zoo (torchvision) is not installed")

from hypothesis import given
from hypothesis import strategies as st

from tests.oracles import zoo as oracle
from zoo.nn.geometry import as_regions, box_area, clip, decode, encode, grown, iof, pair_iou

SIDE = st.floats(1, 300)
PLACE = st.floats(-100, 500)
BOXES = st.lists(st.tuples(PLACE, PLACE, SIDE, SIDE), min_size=1, max_size=8)


def boxes_of(values):
    return torch.tensor([[x, y, x + w, y + h] for x, y, w, h in values])


@given(BOXES, st.sampled_from([(1.0, 1.0, 1.0, 1.0), (0.1, 0.1, 0.2, 0.2)]))
def test_decode_undoes_encode(values, std):
    boxes = boxes_of(values)
    goal = boxes.roll(1, 0)
    close = (goal[:, 2:] - goal[:, :2]) / (boxes[:, 2:] - boxes[:, :2]) < 60
    found = decode(encode(boxes, goal, std), boxes, std)
    assert torch.allclose(found[close.all(1)], goal[close.all(1)], atol=2e-2)


def test_deltas_by_hand():
    box, goal = torch.tensor([[0.0, 0, 10, 20]]), torch.tensor([[5.0, 0, 25, 20]])
    assert torch.allclose(encode(box, goal), torch.tensor([[1.0, 0.0, math.log(2), 0.0]]))
    assert torch.allclose(encode(box, goal, (0.1, 0.1, 0.2, 0.2))[0, :1], torch.tensor([10.0]))


def test_decode_of_several_boxes_and_of_huge_deltas():
    box = torch.tensor([[0.0, 0, 10, 20], [5.0, 5, 7, 7]])
    deltas = torch.randn(2, 3, 4)
    found = decode(deltas, box)
    for number in range(3):
        assert torch.equal(found[:, number], decode(deltas[:, number], box))
    assert decode(torch.full((1, 4), 1e6), box[:1]).isfinite().all()


def test_boxes_stay_float32_where_deltas_are_not():
    box = torch.tensor([[700.3, 10.0, 760.9, 50.0]])
    found = decode(torch.zeros(1, 4, dtype=torch.bfloat16), box)
    assert found.dtype == torch.float32
    assert (found - box).abs().max() < 1e-3


@given(BOXES, BOXES)
def test_overlaps(one, other):
    one, other = boxes_of(one), boxes_of(other)
    count = min(len(one), len(other))
    paired = pair_iou(one[:count], other[:count])
    shares = iof(one, other)
    for n in range(count):
        assert paired[n].item() == pytest.approx(oracle.iou(one[n].tolist(), other[n].tolist()), abs=1e-4)
    assert shares.shape == (len(one), len(other))
    assert ((shares >= 0) & (shares <= 1.001)).all()


def test_overlaps_by_hand():
    whole = torch.tensor([[0.0, 0, 100, 100]]).repeat(3, 1)
    other = torch.tensor([[200.0, 0, 300, 100], [0, 0, 100, 50], [50, 0, 150, 100]])
    assert torch.allclose(pair_iou(other, whole), torch.tensor([0.0, 0.5, 1 / 3]))
    assert torch.allclose(iof(whole[:1], other), torch.tensor([[0.0, 1.0, 0.5]]))


def test_clip_grow_and_regions():
    box = torch.tensor([[-5.0, 3, 200, 50]])
    assert clip(box, (40, 100)).tolist() == [[0, 3, 100, 40]]
    rois = as_regions([box, box[:0], box])
    assert rois[:, 0].tolist() == [0, 2]
    assert torch.equal(grown(rois, 1.0), rois)
    assert torch.allclose(box_area(grown(rois, 1.5)[:, 1:]), 2.25 * box_area(rois[:, 1:]))
