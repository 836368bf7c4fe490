"""The decoupled backbone, and what else MMfruit does to backbones and cascades."""

# ruff: noqa: E402

from dataclasses import replace

import pytest

torch = pytest.importorskip("torch", reason="the extra zoo (torch) is not installed")
pytest.importorskip("timm", reason="the extra zoo (timm) is not installed")

from fusion.errors import InputError
from tests.zoo.nn.cases import CLASSES, batch
from zoo.config import FPN, Cascade, DecoupledBackbone, Model, ShuffleNet, Timm
from zoo.models import build
from zoo.nn.backbones import build_backbone
from zoo.nn.geometry import as_regions
from zoo.scale import tiny

MODEL = tiny(Model(decoupled=DecoupledBackbone()))


def network(**changes):
    torch.manual_seed(0)
    return build(replace(MODEL, decoupled=DecoupledBackbone(**changes)), CLASSES, pretrained=False).train()


def touched(net):
    """Which parts of the network have a gradient that is not zero."""
    names = {name for name, parameter in net.named_parameters() if parameter.grad is not None and parameter.grad.any()}
    parts = ("backbone.net.layer2", "backbone.net.layer3", "neck", "apart.stages", "apart.neck")
    return {part for part in parts if any(name.startswith(part) for name in names)}


@pytest.fixture(scope="module")
def trained():
    net = network()
    return net, net(*batch(1, 2))


def test_branches_share_what_comes_before_stride_8_and_nothing_after(trained):
    net, losses = trained
    shared = {"backbone.net.layer2"}
    for start, own in (
        ("class_branch", {"apart.stages", "apart.neck"}),
        ("box_branch", {"backbone.net.layer3", "neck"}),
    ):
        names = [name for name in losses if name.startswith(start)]
        assert names == [f"{start}_class", f"{start}_box"]
        for name in names:
            net.zero_grad()
            losses[name].backward(retain_graph=True)
            assert touched(net) == shared | own
    net.zero_grad()
    sum(losses.values()).backward(retain_graph=True)
    assert all(parameter.grad is not None for parameter in net.parameters())


def test_they_begin_alike_and_the_other_task_has_the_lower_weight(trained):
    _, losses = trained
    other = network(weight=0.75)
    pyramids = other.features(other._batch(batch(1)[0])[0])
    for classes, boxes in zip(pyramids.classes, pyramids.boxes, strict=True):
        assert torch.allclose(classes, boxes, atol=1e-6)
    found = other(*batch(1, 2))
    for name, factor in {
        "class_branch_class": 1,
        "class_branch_box": 3,
        "box_branch_class": 3,
        "box_branch_box": 1,
    }.items():
        assert found[name].item() == pytest.approx(factor * losses[name].item(), rel=1e-5)


@pytest.mark.parametrize("proposals", ["classes", "boxes"])
def test_scores_are_of_one_branch_and_boxes_of_the_other(proposals):
    net = network(proposals=proposals).eval()
    for parameter in net.apart.parameters():
        parameter.data += 0.01 * torch.randn_like(parameter)
    images, targets = batch(1)
    with torch.no_grad():
        pyramids = net.features(net._batch(images)[0])
        assert pyramids.proposals is getattr(pyramids, proposals)
        boxes = targets[0].boxes
        (found, scores), *_ = net.boxes.detect(pyramids, [boxes], [(128, 128)])
        head, stage, rois = net.boxes.stages[0], net.boxes._stage(0), as_regions([boxes])
        told = head.of_classes(pyramids._replace(boxes=pyramids.classes), rois, stage)
        located = head.of_boxes(pyramids._replace(classes=pyramids.boxes), rois, stage)
    assert torch.allclose(scores, told.logits.softmax(1), atol=1e-6)
    assert torch.allclose(found, head.of_boxes.boxes(located, rois, stage).clamp(0, 128), atol=1e-4)


@pytest.mark.parametrize("config", [Timm(name="test_efficientnet", pretrained=False), ShuffleNet(size="tiny")])
def test_last_stages_go_on_from_stride_8(config):
    trunk = build_backbone(config, pretrained=False).eval()
    maps = trunk(torch.rand(1, 3, 64, 96))
    own = list(maps[:2])
    for stage in trunk.last_stages():
        own.append(stage(own[-1]))
    assert all(torch.equal(one, other) for one, other in zip(own, maps, strict=True))


def test_pyramids_of_branches_are_their_own():
    with pytest.raises(InputError, match="pyramids of their own"):
        replace(MODEL, neck=FPN(passes=2)).validate()


def test_a_nasnet_may_be_narrower_and_a_resnet_deeper():
    trunk = build_backbone(Timm(name="nasnetalarge", width=1 / 42, pretrained=False), pretrained=False)
    found = trunk(torch.rand(1, 3, 64, 96))
    shapes = [(channels, 64 // side, 96 // side) for channels, side in zip(trunk.channels, (4, 8, 16, 32), strict=True)]
    assert [tuple(own.shape[1:]) for own in found] == shapes
    assert trunk.channels == (4, 24, 48, 96)
    with pytest.raises(InputError, match="cut behind stride 8"):
        trunk.last_stages()
    with torch.device("meta"):
        deep = build_backbone(Timm(name="resnext101_32x8d", depths=(3, 8, 36, 3), pretrained=False), pretrained=False)
    assert [len(getattr(deep.net, f"layer{number}")) for number in (1, 2, 3, 4)] == [3, 8, 36, 3]


def test_the_scores_of_a_cascade_are_weighted_by_stage():
    """mmfruit-openimages2019, sec. 5.6: S = sum of w_i S_i over the sum of w_i."""
    four = Cascade(
        iou=(0.5, 0.5, 0.6, 0.7),
        std=((0.1, 0.1, 0.2, 0.2),) * 4,
        loss_weight=(1.0,) * 4,
        score_weight=(0.75, 1.0, 0.25, 0.25),
    )
    plain = tiny(Model())
    torch.manual_seed(0)
    config = replace(plain, cascade=four, head=replace(plain.head, class_agnostic=True))
    net = build(config, CLASSES, pretrained=False).eval()
    images, targets = batch(1)
    with torch.no_grad():
        pyramids = net.features(net._batch(images)[0])
        (_, scores), *_ = net.boxes.detect(pyramids, [targets[0].boxes], [(128, 128)])
        own = [out.logits.softmax(1) for out, _ in net.boxes.refine(pyramids, [targets[0].boxes], [(128, 128)])]
    expected = sum(w * one for w, one in zip(four.score_weight, own, strict=True)) / 2.25
    assert torch.allclose(scores, expected, atol=1e-6)
