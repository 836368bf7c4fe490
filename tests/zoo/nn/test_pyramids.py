"""A pyramid per task, and recursive pyramids."""

# ruff: noqa: E402

import pytest

torch = pytest.importorskip("torch", reason="the extra zoo (torch) is not installed")
pytest.importorskip("timm", reason="the extra zoo (timm) is not installed")

from torch import nn

from fusion.errors import InputError
from tests.zoo.nn.cases import CLASSES, batch
from zoo.config import FPN, ConvHead, DeformConv, MaskHead, Model, ShuffleNet, Timm, replace
from zoo.models import build
from zoo.nn.backbones import build_backbone
from zoo.nn.recursion import Recursion
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
        Timm(name="test_resnet", squeeze=True, deform=DeformConv()),
        Timm(name="resnest14d", width=0.25),
        ShuffleNet(size="tiny"),
    ],
    ids=["resnet", "squeezed", "resnest", "shufflenet"],
)
def test_what_is_fed_back_is_added_before_the_last_activation_of_a_stages_first_block(config):
    """The same stages run by hand, the first block of each without its last activation."""
    torch.manual_seed(0)
    net = build_backbone(replace(config, norm="gn", frozen_stages=0), pretrained=False).eval()
    assert net.takes_feedback
    images = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        whole = net(images)
        more = [torch.randn_like(features) for features in whole[1:]]
        found = net(images, more)
        assert all(map(torch.equal, net(images), whole))  # nothing of it stays
        features = whole[0]
        assert torch.equal(found[0], features)
        names = (
            ["stages.1", "stages.2", "stages.3"] if isinstance(config, ShuffleNet) else ["layer2", "layer3", "layer4"]
        )
        for name, own, expected in zip(names, more, found[1:], strict=True):
            first, *rest = net.net.get_submodule(name)
            last = next(key for key in ("act3", "act2", "last") if hasattr(first, key))
            kept = getattr(first, last)
            setattr(first, last, Sum(own))
            features = first(features)
            setattr(first, last, kept)
            for block in rest:
                features = block(features)
            assert torch.allclose(features, expected, atol=1e-5)


class Sum(nn.Module):
    """The rectified sum with something."""

    def __init__(self, more):
        super().__init__()
        self.more = more

    def forward(self, features):
        return (features + self.more).clamp(min=0)


def test_each_pass_has_its_own_trunk_and_shares_begin_at_a_half():
    net = model(replace(PLAIN, neck=replace(PLAIN.neck, passes=3))).eval()
    images, _ = batch(1)
    inputs, _ = net._batch(images)
    trunks = [net.backbone, *net.backbone_again]
    with torch.no_grad():
        one, two, three = (net.neck(trunk(inputs)) for trunk in trunks)
        found = net.features(inputs).boxes
        for a, b, c, own in zip(one, two, three, found, strict=True):
            assert torch.allclose(own, c / 2 + b / 4 + a / 4, atol=1e-6)
        assert not torch.allclose(one[0], two[0])
        torch.nn.init.constant_(net.neck_recursion.gate.bias, 30.0)
        assert all(torch.allclose(own, c, atol=1e-5) for own, c in zip(net.features(inputs).boxes, three, strict=True))
    assert [len(layers) for layers in net.neck_recursion.back] == [3, 3]
    net.freeze(("backbone", "neck"))
    assert not any(
        parameter.requires_grad for key, parameter in net.named_parameters() if key.startswith(("backbone", "neck"))
    )


def test_a_recursive_pyramid_of_one_trunk_begins_as_the_plain_one_and_learns():
    plain, recursive = model(PLAIN), model(replace(PLAIN, neck=replace(PLAIN.neck, passes=2, share=True)))
    added = {name for name in recursive.state_dict() if name.startswith("neck_recursion.")}
    assert set(recursive.state_dict()) - added == set(plain.state_dict())
    recursive.load_state_dict(plain.state_dict(), strict=False)
    images, _ = batch(1)
    with torch.no_grad():
        one, two = (net.eval().features(net._batch(images)[0]).boxes for net in (plain, recursive))
    assert all(map(torch.equal, one, two))
    found = gradients(recursive)
    silent = {name for name, reached in found.items() if not reached}  # behind zeros, and between equal pyramids
    assert silent == {name for name in found if name.startswith(("neck_recursion.context", "neck_recursion.gate"))}
    with torch.no_grad():
        recursive.neck_recursion.back[0][2].weight += 0.1
    assert all(gradients(recursive).values())


def test_context_of_a_pixel_by_hand():
    torch.manual_seed(0)
    net = Recursion(FPN(channels=4, passes=2, aspp=2), (8,) * 4)
    level = torch.randn(1, 4, 9, 11)
    found = net.context(level)[0, :, 4, 6]
    layers = dict(net.context.named_children())
    expected = [layers["point"].weight[:, :, 0, 0] @ level[0, :, 4, 6] + layers["point"].bias]
    for reach, conv in zip((3, 6), layers["wide"], strict=True):
        total = conv.bias.clone()
        for row in (-1, 0, 1):
            for column in (-1, 0, 1):
                y, x = 4 + reach * row, 6 + reach * column
                if 0 <= y < 9 and 0 <= x < 11:
                    total += conv.weight[:, :, row + 1, column + 1] @ level[0, :, y, x]
        expected.append(total)
    expected.append(layers["whole"].weight[:, :, 0, 0] @ level[0].mean((1, 2)) + layers["whole"].bias)
    assert torch.allclose(found, torch.cat(expected).clamp(min=0), atol=1e-5)


def test_a_trunk_that_cannot_be_cut_is_refused():
    config = tiny(Model(neck=FPN(passes=2)))
    with pytest.raises(InputError, match=r"neck\.passes"):
        build(replace(config, backbone=Timm(name="hrnet_w18", norm="bn", frozen_stages=0)), CLASSES, pretrained=False)
