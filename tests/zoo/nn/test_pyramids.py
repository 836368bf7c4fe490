"""A pyramid per task, and a trunk that runs stage by stage."""

# ruff: noqa: E402

import pytest

torch = pytest.importorskip("torch", reason="the extra zoo (torch) is not installed")
pytest.importorskip("timm", reason="the extra zoo (timm) is not installed")

from fusion.errors import InputError
from tests.zoo.nn.cases import CLASSES, batch
from zoo.config import FPN, ConvHead, MaskHead, Model, ShuffleNet, Timm, replace
from zoo.models import build
from zoo.nn.backbones import build_backbone
from zoo.scale import tiny

PLAIN = tiny(Model(head=ConvHead(), mask=MaskHead()))


def model(config):
    torch.manual_seed(0)
    return build(config, CLASSES, pretrained=False)


def gradients(net, *names):
    losses = net.train()(*batch(1, 2))
    net.zero_grad()
    sum(losses[name] for name in names or losses).backward()
    return {
        name: parameter.grad is not None and bool(parameter.grad.abs().sum() > 0)
        for name, parameter in net.named_parameters()
    }


def test_tasks_share_one_pyramid_unless_they_ask_for_their_own():
    images, _ = batch(1)
    net = model(PLAIN)
    pyramids = net.features(net._batch(images)[0])
    assert all(pyramid is pyramids.boxes for pyramid in pyramids)
    net = model(replace(PLAIN, own_necks=("masks", "boxes")))
    pyramids = net.features(net._batch(images)[0])
    assert pyramids.classes is pyramids.proposals is pyramids.stuff
    assert len({id(pyramid) for pyramid in pyramids}) == 3
    assert all(net.state_dict()[f"own_necks.{task}.outputs.0.weight"].shape for task in ("masks", "boxes"))


@pytest.mark.parametrize(
    ("loss", "reached"), [("mask", {"masks"}), ("box", {"boxes"}), ("class", {"shared"}), ("rpn_box", {"shared"})]
)
def test_a_loss_reaches_the_pyramid_of_its_task_alone(loss, reached):
    net = model(replace(PLAIN, own_necks=("masks", "boxes")))
    found = gradients(net, loss)
    places = {"shared": "neck.", "masks": "own_necks.masks.", "boxes": "own_necks.boxes."}
    assert {place for place, start in places.items() if found[f"{start}outputs.0.weight"]} == reached
    gradients(net)
    assert all(parameter.grad is not None for parameter in net.parameters())


def test_layers_that_classes_and_boxes_share_have_one_pyramid():
    with pytest.raises(InputError, match="own_necks"):
        build(tiny(Model(own_necks=("boxes",))), CLASSES)


@pytest.mark.parametrize(
    "config",
    [
        Timm(name="test_resnet"),
        Timm(name="resnet50", squeeze=True),
        Timm(name="senet154"),
        Timm(name="resnest14d"),
        Timm(name="test_efficientnet"),
        ShuffleNet(size="tiny"),
    ],
    ids=lambda config: getattr(config, "name", "shufflenet"),
)
def test_stage_by_stage_a_trunk_computes_the_same(config):
    torch.manual_seed(0)
    net = build_backbone(replace(config, norm="gn", frozen_stages=0), pretrained=False).eval()
    assert net.runs_by_stages
    images = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        whole = net(images)
        nothing = [torch.zeros_like(features) for features in whole]
        assert all(map(torch.equal, net(images, nothing), whole))
        changed = net(images, [*nothing[:2], torch.ones_like(whole[2]), nothing[3]])
    assert torch.equal(changed[1], whole[1])
    assert torch.equal(changed[2], whole[2] + 1)
    assert not torch.equal(changed[3], whole[3])


def test_a_recursive_pyramid_begins_as_the_plain_one_and_learns():
    plain, recursive = model(PLAIN), model(replace(PLAIN, neck=replace(PLAIN.neck, passes=2)))
    back = {name for name in recursive.state_dict() if name.startswith("neck.back.")}
    assert len(back) == 8
    assert set(recursive.state_dict()) - back == set(plain.state_dict())
    recursive.load_state_dict(plain.state_dict(), strict=False)
    images, _ = batch(1)
    with torch.no_grad():
        one, two = (net.eval().features(net._batch(images)[0]).boxes for net in (plain, recursive))
    assert all(map(torch.equal, one, two))
    found = gradients(recursive)
    assert all(found.values()), [name for name, reached in found.items() if not reached]
    with torch.no_grad():
        recursive.neck.back[3].weight += 0.1
        after = recursive.eval().features(recursive._batch(images)[0]).boxes
    assert not torch.allclose(after[0], one[0])


def test_a_trunk_that_cannot_be_cut_is_refused():
    config = tiny(Model(neck=FPN(passes=2)))
    with pytest.raises(InputError, match=r"neck\.passes"):
        build(replace(config, backbone=Timm(name="hrnet_w18", norm="bn", frozen_stages=0)), CLASSES, pretrained=False)
