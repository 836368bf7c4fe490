"""The decoupling head, alone and in a cascade."""

# ruff: noqa: E402

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="the extra zoo (torch) is not installed")
pytest.importorskip("timm", reason="the extra zoo (timm) is not installed")

from torchvision.ops import roi_align

from fusion.errors import InputError
from tests.zoo.nn.cases import CLASSES, batch
from zoo.config import Cascade, DecoupledHead, Model, RoIPool
from zoo.models import build
from zoo.nn.box_heads import Stage
from zoo.nn.decoupled_head import build_stage, margin_loss
from zoo.nn.fpn import Pyramids
from zoo.nn.geometry import pair_iou
from zoo.nn.sampling import Regions
from zoo.scale import tiny

ROIS = torch.tensor([[0.0, 4, 4, 60, 50], [1.0, 10, 0, 90, 90], [0.0, 30, 22, 44, 61]])
HEAD = DecoupledHead(channels=24, hidden=12)
SHIFT = torch.tensor([0.8, -0.5])
TWO = Cascade(
    iou=(0.5, 0.6),
    std=((0.1, 0.1, 0.2, 0.2), (0.05, 0.05, 0.1, 0.1)),
    loss_weight=(1.0, 0.5),
    score_weight=(0.25, 0.75),
)


def stage(head=HEAD):
    torch.manual_seed(0)
    return build_stage(Model(head=head), 4, 3)


def maps():
    torch.manual_seed(1)
    return Pyramids.shared([torch.randn(2, 4, 96 // side, 96 // side) for side in (4, 8, 16, 32, 64)])


def shifted(net, whole=SHIFT):
    """Let the head shift each bin somewhere else, and every region by `whole` (times gamma)."""
    torch.nn.init.normal_(net.shifts.classes[-1].weight)
    net.shifts.boxes[-1].bias.data = whole.clone()
    return net


def looked_at(net, pyramids):
    """The features that classes and boxes are read from."""
    seen = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(net.own, "predict", lambda *given: seen.extend(given))
        net(pyramids, ROIS, Stage())
    return seen


def pooled(level, rois):
    return roi_align(level, rois, 7, 1 / 4, 2, aligned=True)


def test_it_starts_as_the_plain_head():
    pyramids = maps()
    for features in looked_at(stage(), pyramids):
        assert torch.allclose(features, pooled(pyramids.boxes[0], ROIS), atol=1e-5)


def test_bins_move_one_by_one_for_classes_and_all_alike_for_boxes():
    """Each bin is that of the plain pooling of a region that is moved as this bin is (Eq. 3 and 4)."""
    net, pyramids = shifted(stage()), maps()
    level = pyramids.boxes[0]
    classes, boxes = looked_at(net, pyramids)
    bins = net.shifts(pooled(level, ROIS))[0]
    sides = ROIS[:, 3:] - ROIS[:, 1:3]

    def moved(by):
        return torch.cat([ROIS[:, :1], ROIS[:, 1:3] + by * sides, ROIS[:, 3:] + by * sides], dim=1)

    assert torch.allclose(boxes, pooled(level, moved(0.1 * SHIFT)), atol=1e-4)
    assert bins.std() > 0.02
    for row in range(7):
        for column in range(7):
            alone = pooled(level, moved(bins[:, :, row, column]))[:, :, row, column]
            assert torch.allclose(classes[:, :, row, column], alone, atol=1e-4)


def test_boxes_are_learned_and_decoded_from_the_region_moved():
    net = shifted(stage(replace(HEAD, class_agnostic=True)))
    for head in (net.own, net.sibling):
        torch.nn.init.zeros_(head.predictor.weight)
    output = net(maps(), ROIS, Stage())
    there = ROIS[:, 1:] + 0.1 * (SHIFT * (ROIS[:, 3:] - ROIS[:, 1:3])).repeat(1, 2)
    assert torch.allclose(net.boxes(output, ROIS, Stage()), there, atol=1e-4)
    losses = net.losses(output, regions(torch.tensor([1, 2, 0]), goal=there), [], Stage())
    assert losses["box"].item() == pytest.approx(0, abs=1e-4)
    # centres 0.8 and 0.5 standard deviations away, smooth L1 below 1 is half the square
    assert losses["sibling_box"].item() == pytest.approx(2 / 3 * (0.5 * 0.64 + 0.5 * 0.25), rel=1e-3)


def regions(labels, goal, weight=None):
    weight = torch.ones(len(labels)) if weight is None else weight
    return Regions(ROIS, labels, torch.zeros_like(labels), goal, weight, labels < 0)


@pytest.mark.parametrize("clip", [True, False])
def test_margins_are_those_of_equations_5_and_6(clip):
    net = shifted(stage(replace(HEAD, clip=clip, margins=(0.2, 0.4))))
    for head, std in ((net.own, 0.05), (net.sibling, 0.2)):
        torch.nn.init.normal_(head.predictor.weight, std=std)
        torch.nn.init.normal_(head.classifier.linear.weight, std=1)
    output = net(maps(), ROIS, Stage())
    goal = ROIS[:, 1:] + torch.tensor([2.0, 1, 4, -3])
    own = regions(torch.tensor([2, 0, 3]), goal, torch.tensor([1.0, 1, 0.5]))
    losses = net.losses(output, own, [], Stage())
    score, overlap = [], []
    for row, label in enumerate(own.labels.tolist()):
        before, now = (said.logits[row].softmax(0)[label].item() for said in (output.sibling, output.own))
        margin = min(0.2, 1 - before) if clip else 0.2
        score.append(own.weight[row].item() * max(0.0, before - now + margin))
        if label:
            before, now = (
                iou(decoded(said.deltas[row, label - 1], start), goal[row])
                for said, start in ((output.sibling, ROIS[row, 1:]), (output.own, output.rois[row, 1:]))
            )
            margin = min(0.4, 1 - before) if clip else 0.4
            overlap.append(own.weight[row].item() * max(0.0, before - now + margin))
    assert sum(score) > 0
    assert sum(overlap) > 0
    assert losses["margin_class"].item() == pytest.approx(sum(score) / 3, rel=1e-4)
    assert losses["margin_box"].item() == pytest.approx(sum(overlap) / 2, rel=1e-4)
    (losses["margin_class"] + losses["margin_box"]).backward()
    assert all(parameter.grad is None or not parameter.grad.any() for parameter in net.sibling.parameters())
    assert net.own.predictor.weight.grad.any()
    assert net.shifts.boxes[-1].bias.grad.any()


def decoded(deltas, start):
    x1, y1, x2, y2 = start.tolist()
    dx, dy, dw, dh = (deltas * torch.tensor([0.1, 0.1, 0.2, 0.2])).tolist()
    w, h = x2 - x1, y2 - y1
    x, y = (x1 + x2) / 2 + dx * w, (y1 + y2) / 2 + dy * h
    w, h = w * 2.718281828459045**dw, h * 2.718281828459045**dh
    return [x - w / 2, y - h / 2, x + w / 2, y + h / 2]


def iou(one, other):
    width = max(0.0, min(one[2], float(other[2])) - max(one[0], float(other[0])))
    height = max(0.0, min(one[3], float(other[3])) - max(one[1], float(other[1])))
    areas = [(float(box[2]) - float(box[0])) * (float(box[3]) - float(box[1])) for box in (one, other)]
    return width * height / (sum(areas) - width * height)


def test_boxes_that_do_not_meet_have_no_iou():
    """The published code's IoU, which takes the larger of the right bottom corners, would be 1, and 3.9 of a half."""
    whole = torch.tensor([[0.0, 0, 100, 100]]).repeat(3, 1)
    others = torch.tensor([[200.0, 0, 300, 100], [0, 0, 100, 50], [50, 0, 150, 100]])
    assert torch.allclose(pair_iou(others, whole), torch.tensor([0, 0.5, 1 / 3]))


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1), st.booleans())
def test_no_more_than_one_can_be_asked_for(before, now, margin, clip):
    lacking = margin_loss(torch.tensor([before]), torch.tensor([now]), margin, clip).item()
    wanted = min(1, before + margin) if clip else before + margin
    assert lacking == pytest.approx(max(0, wanted - now), abs=1e-5)


def test_a_cascade_of_them_learns_with_all_its_weights_and_goes_on_from_their_boxes():
    config = tiny(Model(head=replace(HEAD, class_agnostic=True), cascade=TWO))
    torch.manual_seed(0)
    net = build(config, CLASSES, pretrained=False).train()
    for number, head in enumerate(net.boxes.stages):
        torch.nn.init.normal_(head.shifts.classes[-1].weight, std=0.1)
        torch.nn.init.normal_(head.shifts.boxes[-1].weight, std=0.1)
        head.shifts.boxes[-1].bias.data = SHIFT / (number + 1)
    losses = net(*batch(1, 2))
    names = [f"{who}{what}" for who in ("", "sibling_", "margin_") for what in ("class", "box")]
    assert set(losses) == {"rpn_objectness", "rpn_box", *(f"{name}_{number}" for name in names for number in (0, 1))}
    sum(losses.values()).backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name
    images, targets = batch(1)
    net.eval()
    with torch.no_grad():
        pyramids, scores = net.features(net._batch(images)[0]), 0.0
        boxes = targets[0].boxes
        (found, told), *_ = net.boxes.detect(pyramids, [boxes], [(128, 128)])
        for number, head in enumerate(net.boxes.stages):
            output = net.boxes(pyramids, torch.cat([torch.zeros(len(boxes), 1), boxes], 1), number)
            assert output.sibling is None
            boxes = head.own.boxes(output.own, output.rois, net.boxes._stage(number)).clamp(0, 128)
            scores = scores + TWO.score_weight[number] * output.own.logits.softmax(1)
    assert torch.allclose(found, boxes)
    assert torch.allclose(told, scores, atol=1e-6)


def test_it_shifts_plain_regions():
    with pytest.raises(InputError, match="DecoupledHead"):
        Model(head=HEAD, pool=RoIPool(deform="offset")).validate()
    Model(head=HEAD, pool=RoIPool(size=5, sampling=1)).validate()
