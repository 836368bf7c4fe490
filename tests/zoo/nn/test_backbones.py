"""Backbones: maps, frozen stages, norms, ShuffleNetV2."""

# ruff: noqa: E402

import pytest

torch = pytest.importorskip("torch", reason="the extra zoo (torch) is not installed")
timm = pytest.importorskip("timm", reason="the extra zoo (timm) is not installed")

from torch import nn

from fusion.errors import InputError
from zoo.config import IMAGENET_MEAN, IMAGENET_STD, ShuffleNet, Timm, replace
from zoo.models import build
from zoo.nn.backbones import build_backbone, pixel_statistics
from zoo.nn.norms import convert, group_norm
from zoo.nn.shufflenet import ShuffleNetV2, shuffle_split
from zoo.registry import find, variants


def on_meta(config):
    with torch.device("meta"):
        return build_backbone(config, pretrained=False)


@pytest.mark.parametrize(
    ("config", "channels"),
    [
        (Timm(name="resnet50"), (256, 512, 1024, 2048)),
        (Timm(name="resnext101_64x4d"), (256, 512, 1024, 2048)),
        (Timm(name="senet154"), (256, 512, 1024, 2048)),
        (Timm(name="resnest50d"), (256, 512, 1024, 2048)),
        (Timm(name="hrnet_w18"), (128, 256, 512, 1024)),
        (Timm(name="tf_efficientnet_b0"), (24, 40, 112, 320)),
        (ShuffleNet(), (256, 512, 1024, 2048)),
        (ShuffleNet(size="exlarge"), (320, 640, 1280, 2560)),
    ],
)
def test_maps_of_an_odd_image(config, channels):
    net = on_meta(config)
    assert net.channels == channels
    height, width = (96, 160) if "hrnet" in getattr(config, "name", "") else (97, 161)
    maps = net(torch.zeros(1, 3, height, width, device="meta"))
    for level, (features, stride) in enumerate(zip(maps, (4, 8, 16, 32), strict=True)):
        assert features.shape == (1, channels[level], -(-height // stride), -(-width // stride))


@pytest.mark.parametrize("norm", ["frozen", "bn", "syncbn", "gn"])
@pytest.mark.parametrize("name", ["test_resnet", "test_efficientnet"])
def test_frozen_stages(norm, name):
    net = build_backbone(Timm(name=name, norm=norm, frozen_stages=2), pretrained=False)
    trained = {key for key, parameter in net.named_parameters() if parameter.requires_grad}
    stem = ("net.conv1", "net.bn1", "net.layer1", "net.conv_stem", "net.blocks.0", "net.blocks.1")
    assert trained
    assert not [key for key in trained if key.startswith(stem)]
    live = [key for key, module in net.named_modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    assert bool(live) == (norm in ("bn", "syncbn"))
    assert not [key for key in live if key.startswith(stem)]


HALF = (0.5, 0.5, 0.5)


@pytest.mark.parametrize(
    ("config", "mean", "std"),
    [
        (Timm(), IMAGENET_MEAN, IMAGENET_STD),
        (ShuffleNet(), IMAGENET_MEAN, IMAGENET_STD),
        (Timm(name="tf_efficientnet_lite0.in1k"), HALF, HALF),
        (Timm(name="efficientnet_lite0"), IMAGENET_MEAN, IMAGENET_STD),
        (Timm(name="tf_efficientnet_lite0", std=IMAGENET_STD), HALF, IMAGENET_STD),
        (Timm(name="test_resnet", mean=IMAGENET_MEAN), IMAGENET_MEAN, HALF),
    ],
)
def test_pixels_are_shown_as_the_weights_were_trained(config, mean, std):
    assert pixel_statistics(config) == (mean, std)


def test_the_variants_see_pixels_as_they_always_did():
    for variant in variants().values():
        for scale in ("full", "tiny"):
            nasnet = scale == "full" and variant.name.startswith("mm_nasnet")  # timm's: (2 x - 1)
            expected = (HALF, HALF) if nasnet else (IMAGENET_MEAN, IMAGENET_STD)
            assert pixel_statistics(variant.make(scale).backbone) == expected, variant.name


def test_models_take_the_pixels_of_their_backbone():
    config = find("md19_r50_fpn").make("tiny")
    config = replace(config, backbone=replace(config.backbone, mean=HALF, std=(0.5, 0.25, 0.125)))
    batch, _ = build(config, 1, pretrained=False)._batch([torch.full((3, 32, 32), 0.75)])
    assert batch[0, :, 0, 0].tolist() == [0.5, 1.0, 2.0]


def test_unknown_weights_are_refused():
    with pytest.raises(InputError, match="nowhere"):
        pixel_statistics(Timm(name="resnet50.nowhere"))


def test_nothing_frozen():
    net = build_backbone(Timm(name="test_resnet", norm="gn", frozen_stages=0), pretrained=False)
    assert all(parameter.requires_grad for parameter in net.parameters())


def test_unknown_networks_and_those_without_a_pyramid_are_refused():
    with pytest.raises(InputError, match="timm cannot build"):
        on_meta(Timm(name="resnet49"))
    with pytest.raises(InputError, match="strides"):
        on_meta(Timm(name="vit_tiny_patch16_224"))


def test_weights_that_cannot_be_had(monkeypatch):
    create = timm.create_model

    def offline(*given, pretrained, **rest):
        if pretrained:
            raise ConnectionError("no network")
        return create(*given, **rest)

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(InputError, match="no network") as found:
        build_backbone(Timm(name="test_resnet"))
    assert found.value.where == "backbone.pretrained"
    build_backbone(Timm(name="test_resnet"), pretrained=False)


def test_squeeze_and_excitation():
    assert sum("se.fc1" in key for key, _ in on_meta(Timm(squeeze=True)).named_modules()) == 16


@pytest.mark.parametrize("norm", ["syncbn", "frozen"])
@pytest.mark.parametrize("name", ["test_resnet", "test_efficientnet"])
def test_conversion_keeps_what_the_network_computes(norm, name):
    torch.manual_seed(0)
    plain = timm.create_model(name, features_only=True).eval()
    images = torch.randn(1, 3, 64, 64)
    before = [features.clone() for features in plain(images)]
    after = convert(plain, norm).eval()
    if norm == "syncbn":
        assert any(isinstance(module, nn.SyncBatchNorm) for module in after.modules())
    else:
        assert not any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in after.modules())
    for one, other in zip(before, after(images), strict=True):
        assert torch.allclose(one, other, atol=1e-5)


def test_group_norm_keeps_fused_activations():
    net = convert(timm.create_model("test_efficientnet", features_only=True), "gn")
    assert not [module for module in net.modules() if isinstance(module, nn.BatchNorm2d)]
    assert sum(isinstance(module, nn.SiLU) for module in net.modules()) > 5
    assert [group_norm(c).num_groups for c in (256, 2048, 64, 12, 6)] == [32, 32, 8, 1, 1]


def test_shuffle():
    features = torch.arange(8.0).view(1, 8, 1, 1)
    one, other = shuffle_split(features)
    assert one.flatten().tolist() == [0, 2, 4, 6]
    assert other.flatten().tolist() == [1, 3, 5, 7]


@pytest.mark.parametrize(("size", "millions"), [("large", 100.26), ("exlarge", 252.8)])
def test_size_of_the_published_networks(size, millions):
    # the large one is published as 140.7 M, of which 40.44 M are its classifiers
    with torch.device("meta"):
        net = ShuffleNetV2(size)
    assert sum(parameter.numel() for parameter in net.parameters()) / 1e6 == pytest.approx(millions, rel=0.01)


def test_global_information_reaches_every_position():
    torch.manual_seed(0)
    net = ShuffleNetV2("tiny").eval()
    image = torch.randn(1, 3, 128, 128)
    changed = image.clone()
    changed[..., -1, -1] += 5
    assert not torch.equal(net(image)[0][0, :, 0, 0], net(changed)[0][0, :, 0, 0])
