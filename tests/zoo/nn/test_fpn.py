"""The feature pyramid."""

# ruff: noqa: E402

import pytest

torch = pytest.importorskip("torch", reason="the extra zoo (torch) is not installed")
pytest.importorskip("timm", reason="the extra zoo (timm) is not installed")

from torchvision.ops import FeaturePyramidNetwork
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

from zoo.config import FPN
from zoo.nn.fpn import Pyramid

CHANNELS = (6, 8, 10, 12)


@pytest.fixture
def maps():
    torch.manual_seed(0)
    return [torch.randn(2, c, 36 // s, 44 // s) for c, s in zip(CHANNELS, (1, 2, 4, 8), strict=True)]


def test_equals_torchvision(maps):
    own = Pyramid(FPN(channels=16), CHANNELS)
    other = FeaturePyramidNetwork(CHANNELS, 16, LastLevelMaxPool())
    for n in range(4):
        other.inner_blocks[n][0].load_state_dict(own.laterals[n].state_dict())
        other.layer_blocks[n][0].load_state_dict(own.outputs[n].state_dict())
    expected = other(dict(zip("abcd", maps, strict=True))).values()
    for found, level in zip(own(maps), expected, strict=True):
        assert torch.equal(found, level)


def test_deformable_outputs_start_as_half(maps):
    plain, deform = Pyramid(FPN(channels=16), CHANNELS), Pyramid(FPN(channels=16, out="deform"), CHANNELS)
    deform.laterals.load_state_dict(plain.laterals.state_dict())
    for one, other in zip(plain.outputs, deform.outputs, strict=True):
        other.conv.load_state_dict(one.state_dict())
    for one, other in zip(plain(maps), deform(maps), strict=True):
        assert torch.allclose(other, one / 2, atol=1e-5)


def test_context_is_the_same_everywhere(maps):
    plain, context = Pyramid(FPN(channels=16), CHANNELS), Pyramid(FPN(channels=16, context="c5_add"), CHANNELS)
    context.load_state_dict(plain.state_dict(), strict=False)
    for net in (plain, context):
        for output in net.outputs:
            torch.nn.init.dirac_(output.weight)
    change = context(maps)[3] - plain(maps)[3]
    assert torch.allclose(change, change[:, :, :1, :1].expand_as(change), atol=1e-5)
    assert change.abs().sum() > 0
    expected = context.context(maps[3].mean((2, 3), keepdim=True))
    assert torch.allclose(change[:, :, :1, :1], expected, atol=1e-5)


@pytest.mark.parametrize("config", [FPN(channels=16, norm="gn"), FPN(channels=16, lateral="deform3x3", context="gc")])
def test_sizes(maps, config):
    found = Pyramid(config, CHANNELS)(maps)
    assert [tuple(level.shape[1:]) for level in found] == [
        (16, 36, 44),
        (16, 18, 22),
        (16, 9, 11),
        (16, 4, 5),
        (16, 2, 3),
    ]
