"""The background gate, and the weights by which classifiers tell categories apart."""

# ruff: noqa: E402

import pytest

torch = pytest.importorskip("torch", reason="the extra zoo (torch) is not installed")
pytest.importorskip("timm", reason="the extra zoo (timm) is not installed")

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.zoo.nn.cases import CLASSES, batch
from zoo.config import (
    Cascade,
    DecoupledBackbone,
    DecoupledHead,
    DoubleClassifier,
    EqualizedSigmoid,
    FCHead,
    GroupSoftmax,
    Model,
    Seesaw,
    Softmax,
    Stream,
    TrainData,
    replace,
)
from zoo.models import build
from zoo.nn.gate import gated
from zoo.scale import tiny


@given(st.lists(st.lists(st.integers(0, 3), min_size=4, max_size=4), max_size=6))
@settings(max_examples=60, deadline=None)
def test_regions_that_background_beats_are_dropped(rows):
    scores = torch.tensor(rows, dtype=torch.float32).view(-1, 4)
    boxes = torch.arange(12.0 * len(rows)).view(-1, 3, 4)
    kept = [row for row, (background, *own) in enumerate(rows) if not all(background > score for score in own)]
    for given_boxes in (boxes, boxes[:, 0]):
        found, left = gated(given_boxes, scores)
        assert torch.equal(found, given_boxes[kept])
        assert torch.equal(left, scores[kept])


def test_a_gated_model_finds_what_it_finds_in_the_other_regions():
    model = tiny(Model())
    torch.manual_seed(0)
    net = build(replace(model, infer=replace(model.infer, score=0.0)), CLASSES, pretrained=False).eval()
    gate = build(replace(model, infer=replace(model.infer, score=0.0, gate=True)), CLASSES, pretrained=False).eval()
    # some regions are background, others not
    classifier = net.boxes.stages[0].classifier.linear
    classifier.bias.data = torch.tensor([0.006, 0.0, 0.0, 0.0])
    gate.load_state_dict(net.state_dict())
    images, targets = batch(3)
    with torch.no_grad():
        (open_,), (found,) = net(images, targets), gate(images, targets)
        (seen,) = net.boxes.detect(net.features(net._batch(images)[0]), *_proposals(net, images))
    allowed = seen[0][seen[1][:, 0] <= seen[1][:, 1:].amax(1)]
    assert 0 < len(allowed) < len(seen[0])
    assert len(found) > 0
    assert any(not (box == allowed).all(-1).any() for box in open_.boxes), "without the gate others are found as well"
    assert all((box == allowed).all(-1).any() for box in found.boxes)


def _proposals(net, images):
    batched, sizes = net._batch(images)
    return net.rpn.propose(net.rpn(net.features(batched).proposals), sizes, None), sizes


@pytest.mark.parametrize(
    ("changes", "channels"),
    [
        ({}, 64),
        ({"classifier": EqualizedSigmoid()}, 64),
        ({"classifier": GroupSoftmax()}, 64),
        ({"classifier": Seesaw()}, 64),
        ({"classifier": DoubleClassifier(first=Softmax(), second=Seesaw())}, 128),
        ({"head": DecoupledHead()}, 64),
        ({"decoupled": DecoupledBackbone()}, 64),
        ({"head": FCHead(class_agnostic=True), "cascade": Cascade(iou=(0.5, 0.6), std=((0.1, 0.1, 0.2, 0.2),) * 2,
          loss_weight=(1.0, 1.0), score_weight=(1.0, 1.0))}, 128),
    ],
)  # fmt: skip
def test_a_categorys_row_is_what_its_score_depends_on(changes, channels):
    model = tiny(replace(Model(), **changes))
    if "classifier" in changes and isinstance(changes["classifier"], DoubleClassifier):
        model = replace(model, data=TrainData(streams=(Stream(images=2),) * 2, short=(64,)))
    torch.manual_seed(1)
    net = build(model, CLASSES, pretrained=False).eval()
    cosines = net.boxes.category_cosines()
    rows = torch.cat([net.boxes.stages[n].category_rows() for n in range(len(model.cascade.iou))], dim=1)
    assert rows.shape == (CLASSES, channels)
    for one in range(CLASSES):
        for other in range(CLASSES):
            expected = torch.nn.functional.cosine_similarity(rows[one], rows[other], dim=0)
            assert cosines[one, other].item() == pytest.approx(expected.item(), abs=1e-6)
    # the score of a category whose row is changed is another one
    images, _ = batch(5)
    with torch.no_grad():
        proposals, sizes = _proposals(net, images)
        pyramids = net.features(net._batch(images)[0])
        before = net.boxes.detect(pyramids, proposals, sizes)[0][1]
        for stage in net.boxes.stages:
            pair = isinstance(model.classifier, DoubleClassifier)
            for part in (stage.classifier.first, stage.classifier.second) if pair else (stage,):
                own = part.category_rows()
                own[1] = own[0]
        after = net.boxes.detect(pyramids, proposals, sizes)[0][1]
    assert net.boxes.category_cosines()[0, 1].item() == pytest.approx(1)
    assert not torch.equal(before[:, 2], after[:, 2])
