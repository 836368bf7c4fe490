"""Deformable convolution and its place in backbones."""

# ruff: noqa: E402

import pytest

torch = pytest.importorskip("torch", reason="the extra zoo (torch) is not installed")
pytest.importorskip("timm", reason="the extra zoo (timm) is not installed")

from torch import nn

from fusion.errors import InputError
from zoo.config import FPN, DeformConv, ShuffleNet, Timm
from zoo.nn.backbones import build_backbone
from zoo.nn.deform import DeformConv2d
from zoo.nn.fpn import Pyramid


@pytest.mark.parametrize(("groups", "stride", "bias"), [(1, 1, True), (2, 2, False)])
def test_starts_as_half_of_the_convolution(groups, stride, bias):
    torch.manual_seed(0)
    conv = nn.Conv2d(8, 6, 3, stride, 1, groups=groups, bias=bias)
    features = torch.randn(2, 8, 9, 11)
    expected = conv(features)
    rest = conv.bias[None, :, None, None] if bias else 0
    assert torch.allclose(DeformConv2d(conv)(features), 0.5 * (expected - rest) + rest, atol=1e-5)
    assert torch.allclose(DeformConv2d(conv, modulated=False)(features), expected, atol=1e-5)
    assert torch.allclose(DeformConv2d(conv, start="one")(features), expected, atol=1e-5)


def test_where_a_model_starts():
    features = [torch.randn(1, channels, 16, 16) for channels in (4, 4, 4, 4)]
    plain = Pyramid(FPN(channels=8), (4,) * 4)
    for start, share in (("half", 0.5), ("one", 1.0)):
        deform = Pyramid(FPN(channels=8, out="deform", mask_start=start), (4,) * 4)
        deform.laterals.load_state_dict(plain.laterals.state_dict())
        for one, other in zip(plain.outputs, deform.outputs, strict=True):
            other.conv.load_state_dict(one.state_dict())
        for one, other in zip(plain(features), deform(features), strict=True):
            assert torch.allclose(other, share * one, atol=1e-5)
    net = build_backbone(Timm(name="test_resnet", pretrained=False, deform=DeformConv(mask_start="one")))
    assert {module.most for module in net.modules() if isinstance(module, DeformConv2d)} == {2.0}


def test_a_shift_by_one_pixel_is_the_shifted_image():
    conv = nn.Conv2d(2, 3, 3, padding=1, bias=False)
    layer = DeformConv2d(conv, modulated=False)
    layer.offset.bias.data[1::2] = 1.0  # in x
    features = torch.randn(1, 2, 8, 8)
    moved = torch.roll(features, -1, 3)
    assert torch.allclose(layer(features)[..., 1:-2], conv(moved)[..., 1:-2], atol=1e-5)


def test_runs_under_autocast_and_learns_shifts():
    layer = DeformConv2d(nn.Conv2d(4, 4, 3, padding=1))
    with torch.autocast("cpu", torch.bfloat16):
        found = layer(torch.randn(1, 4, 6, 6).bfloat16())
    assert found.dtype == torch.float32
    found.square().sum().backward()
    assert layer.offset.weight.grad.abs().sum() > 0


@pytest.mark.parametrize(
    ("config", "count"),
    [
        (Timm(name="resnet50"), 13),
        (Timm(name="resnext101_64x4d"), 30),
        (Timm(name="senet154"), 47),
        (Timm(name="seresnext50_32x4d"), 13),
        (Timm(name="resnest50d"), 13),
        (Timm(name="resnest101e"), 30),
        (Timm(name="resnest14d", width=0.25), 3),
        (Timm(name="test_resnet"), 5),
        (ShuffleNet(size="tiny"), 8),
    ],
)
def test_how_many_convolutions_become_deformable(config, count):
    deform = DeformConv()
    with torch.device("meta"):
        net = build_backbone(type(config)(**{**vars(config), "deform": deform}), pretrained=False)
    assert sum(isinstance(module, DeformConv2d) for module in net.modules()) == count


def test_stages_without_convolutions_are_refused():
    with torch.device("meta"), pytest.raises(InputError, match="3x3"):
        build_backbone(Timm(name="test_convnext", deform=DeformConv()), pretrained=False)
