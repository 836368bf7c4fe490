"""Weights of other sources under our names: torchvision's models find the same either way."""

# ruff: noqa: E402

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
timm = pytest.importorskip("timm", reason="timm is not installed")
pytest.importorskip("torchvision", reason="torchvision is not installed")

from torchvision.models import get_model

from fusion.errors import InputError
from zoo.checkpoint import load_matching, load_weights
from zoo.config import DeformConv, Model, replace
from zoo.conversion import converted, converted_back, renamed_in_order, weight_sources
from zoo.models import build
from zoo.nn.backbones import names_in_order
from zoo.registry import find
from zoo.scale import tiny

PAIRS = {
    "torchvision_frcnn": "fasterrcnn_resnet50_fpn",
    "torchvision_mrcnn": "maskrcnn_resnet50_fpn",
    "torchvision_frcnn_v2": "fasterrcnn_resnet50_fpn_v2",
    "torchvision_mrcnn_v2": "maskrcnn_resnet50_fpn_v2",
}
CLASSES, SIZE = 3, 128
BOTH = ["torchvision_mrcnn", "torchvision_mrcnn_v2"]


def theirs_of(name):
    """torchvision's model with random weights, statistics of its norms and all, that finds many boxes."""
    torch.manual_seed(0)
    net = get_model(
        PAIRS[name],
        weights=None,
        weights_backbone=None,
        num_classes=CLASSES + 1,
        min_size=SIZE,
        max_size=SIZE,
        box_score_thresh=0.01,
        box_detections_per_img=30,
    )
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(std=0.05)
            module.running_var.uniform_(0.8, 1.2)
            torch.nn.init.uniform_(module.weight, 0.3, 0.6)
            torch.nn.init.normal_(module.bias, std=0.05)
    torch.nn.init.normal_(net.roi_heads.box_predictor.cls_score.weight, std=0.1)
    torch.nn.init.normal_(net.roi_heads.box_predictor.bbox_pred.weight, std=0.05)
    torch.nn.init.normal_(net.rpn.head.cls_logits.weight, std=0.1)
    return net.eval()


def ours_of(name):
    config = find(name).make()
    config = replace(
        config,
        backbone=replace(config.backbone, pretrained=False),
        infer=replace(config.infer, score=0.01, detections=30),
    )
    return build(config, CLASSES, pretrained=False).eval()


def pictures():
    return torch.rand(2, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(3))


def same(ours, theirs):
    """Boxes, scores and labels of both; and the masks that both have of their boxes before they are drawn."""
    images = list(pictures())
    with torch.inference_mode():
        found, expected = ours(images), theirs(images)
        for one, other in zip(found, expected, strict=True):
            assert len(one) == len(other["scores"]) > 5
            assert len(set(other["scores"].tolist())) > 5
            torch.testing.assert_close(one.scores, other["scores"], atol=1e-4, rtol=0)
            torch.testing.assert_close(one.boxes, other["boxes"], atol=1e-4 * SIZE, rtol=0)
            assert one.labels.tolist() == other["labels"].tolist()
        if ours.masks is not None:
            normal = torch.stack([(image - ours.mean) / ours.std for image in images])
            pyramid = ours.features(normal).masks
            maps = dict(zip(("0", "1", "2", "3", "pool"), pyramid, strict=True))
            boxes, labels = [one["boxes"] for one in expected], [one["labels"] for one in expected]
            heads = theirs.roi_heads
            pooled = heads.mask_roi_pool({k: v for k, v in maps.items() if k != "pool"}, boxes, [(SIZE, SIZE)] * 2)
            logits = heads.mask_predictor(heads.mask_head(pooled))
            logits = logits[torch.arange(len(logits)), torch.cat(labels)]
            rois = torch.cat([torch.cat([torch.full((len(b), 1), float(n)), b], 1) for n, b in enumerate(boxes)])
            mine = ours.masks(pyramid, rois, torch.cat(labels)).logits
            torch.testing.assert_close(mine.sigmoid(), logits.sigmoid(), atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", BOTH)
def test_torchvisions_weights_find_the_same_in_our_model_and_back(name):
    theirs = theirs_of(name)
    done = converted(theirs.state_dict(), "torchvision")
    assert [left for left in done.left if not left.endswith("num_batches_tracked")] == []
    ours = ours_of(name)
    said = load_matching(ours, done.weights)
    assert (said.missing, said.other_shape, said.unused) == ((), (), ())
    same(ours, theirs)
    back = converted_back(ours.state_dict(), "torchvision")
    again = theirs_of(name)
    for parameter in again.parameters():
        torch.nn.init.constant_(parameter, 0.1)
    again.load_state_dict(back.weights)
    assert back.left == ("passes",)
    same(ours, again.eval())


@pytest.mark.parametrize("name", PAIRS)
def test_torchvisions_models_map_whole(name):
    with torch.device("meta"):
        theirs = get_model(PAIRS[name], weights=None, weights_backbone=None, num_classes=CLASSES + 1)
    zeros = {key: torch.zeros(value.shape) + (value.dim() > 4) for key, value in theirs.state_dict().items()}
    done = converted(zeros, "torchvision")
    with torch.device("meta"):
        own = build(find(name).make(), CLASSES, device="meta").state_dict()
    del own["passes"]
    assert {key: tuple(value.shape) for key, value in done.weights.items()} == {
        key: tuple(value.shape) for key, value in own.items()
    }
    back = converted_back({key: torch.zeros(value.shape) for key, value in own.items()}, "torchvision").weights
    assert {k: tuple(v.shape) for k, v in back.items()} == {
        k: tuple(v.shape) for k, v in zeros.items() if not k.endswith("num_batches_tracked")
    }


def test_names_of_earlier_versions():
    done = converted(
        {
            "backbone.fpn.inner_blocks.2.weight": torch.zeros(4, 8, 1, 1),
            "rpn.head.conv.bias": torch.zeros(4),
            "roi_heads.mask_head.mask_fcn3.weight": torch.zeros(4, 4, 3, 3),
        },
        "torchvision",
    )
    assert set(done.weights) == {"neck.laterals.2.weight", "rpn.conv.bias", "masks.head.convs.4.weight"}


def test_a_network_of_timm_becomes_the_backbone():
    torch.manual_seed(0)
    net = timm.create_model("test_resnet", pretrained=False).eval()
    config = replace(tiny(Model()), backbone=replace(tiny(Model()).backbone, norm="bn"))
    own = build(config, CLASSES, pretrained=False).eval()
    done = converted(net.state_dict(), "timm")
    said = load_matching(own, done.weights)
    assert not [name for name in said.missing if name.startswith("backbone") and "tracked" not in name]
    assert said.unused == ()
    assert {name.split(".")[0] for name in done.left if "tracked" not in name} == {"fc"}
    images = torch.rand(1, 3, 64, 64)
    features = timm.create_model("test_resnet", pretrained=False, features_only=True).eval()
    features.load_state_dict({k: v for k, v in net.state_dict().items() if not k.startswith("fc")})
    with torch.inference_mode():
        for one, other in zip(own.backbone(images), features(images)[-4:], strict=True):
            assert torch.equal(one, other)


def under_other_names(net):
    return {f"_part{n}.{name.rpartition('.')[2]}": value for n, (name, value) in enumerate(net.state_dict().items())}


def test_entries_in_the_order_of_a_network_of_timm_get_its_names():
    net = timm.create_model("test_efficientnet", pretrained=False)
    given, names = under_other_names(net), names_in_order("test_efficientnet")
    found = renamed_in_order(given, names)
    assert list(found) == list(net.state_dict())
    assert all(torch.equal(value, found[name]) for name, value in net.state_dict().items())
    one, other = [name for name in given if name.endswith((".weight", ".bias"))][1:3]  # of a norm, as long as the other
    exchanged = {{one: other, other: one}.get(name, name): value for name, value in given.items()}
    transposed = {name: value.mT if value.dim() == 2 else value for name, value in given.items()}
    for wrong, problem in ((exchanged, "entry 2"), (transposed, "of shape"), (dict([*given.items()][:-1]), "entries")):
        with pytest.raises(InputError, match=problem):
            renamed_in_order(wrong, names)
    with pytest.raises(InputError, match="order-of"):
        names_in_order("efficientnet_lite_0")


def own_shapes(config):
    own = build(config, CLASSES, device="meta").state_dict()
    del own["passes"]
    return {key: tuple(value.shape) for key, value in own.items()}


def made(rules, shapes):
    """A state dict of another source: names by (ours, theirs) pairs of beginnings, shapes as ours."""
    found = {}
    for key, shape in shapes.items():
        other = key
        for ours, theirs in rules:
            if other.startswith(ours):
                other = theirs + other[len(ours) :]
                break
        found[other] = torch.rand(shape)
    return found


MMDET = [
    ("backbone.net.", "backbone."),
    *[(f"neck.laterals.{n}.", f"neck.lateral_convs.{n}.conv.") for n in range(4)],
    *[(f"neck.outputs.{n}.", f"neck.fpn_convs.{n}.conv.") for n in range(4)],
    ("rpn.conv.", "rpn_head.rpn_conv."),
    ("rpn.objectness.", "rpn_head.rpn_cls."),
    ("rpn.deltas.", "rpn_head.rpn_reg."),
    ("boxes.stages.0.branches.layers.0.", "roi_head.bbox_head.shared_fcs.0."),
    ("boxes.stages.0.branches.layers.2.", "roi_head.bbox_head.shared_fcs.1."),
    ("boxes.stages.0.classifier.linear.", "roi_head.bbox_head.fc_cls."),
    ("boxes.stages.0.predictor.", "roi_head.bbox_head.fc_reg."),
    *[(f"masks.head.convs.{2 * n}.", f"roi_head.mask_head.convs.{n}.conv.") for n in range(4)],
    ("masks.head.deconv.", "roi_head.mask_head.upsample."),
    ("masks.head.logits.", "roi_head.mask_head.conv_logits."),
]
DETECTRON2 = [
    ("backbone.net.conv1.", "backbone.bottom_up.stem.conv1."),
    ("backbone.net.bn1.", "backbone.bottom_up.stem.conv1.norm."),
    *[
        (f"backbone.net.layer{s}.{b}.{ours}.", f"backbone.bottom_up.res{s + 1}.{b}.{theirs}.")
        for s in range(1, 5)
        for b in range(6)
        for ours, theirs in [
            *[(f"conv{c}", f"conv{c}") for c in (1, 2, 3)],
            *[(f"bn{c}", f"conv{c}.norm") for c in (1, 2, 3)],
            ("downsample.0", "shortcut"),
            ("downsample.1", "shortcut.norm"),
        ]
    ],
    *[(f"neck.laterals.{n}.", f"backbone.fpn_lateral{n + 2}.") for n in range(4)],
    *[(f"neck.outputs.{n}.", f"backbone.fpn_output{n + 2}.") for n in range(4)],
    ("rpn.conv.", "proposal_generator.rpn_head.conv."),
    ("rpn.objectness.", "proposal_generator.rpn_head.objectness_logits."),
    ("rpn.deltas.", "proposal_generator.rpn_head.anchor_deltas."),
    ("boxes.stages.0.branches.layers.0.", "roi_heads.box_head.fc1."),
    ("boxes.stages.0.branches.layers.2.", "roi_heads.box_head.fc2."),
    ("boxes.stages.0.classifier.linear.", "roi_heads.box_predictor.cls_score."),
    ("boxes.stages.0.predictor.", "roi_heads.box_predictor.bbox_pred."),
    *[(f"masks.head.convs.{2 * n}.", f"roi_heads.mask_head.mask_fcn{n + 1}.") for n in range(4)],
    ("masks.head.deconv.", "roi_heads.mask_head.deconv."),
    ("masks.head.logits.", "roi_heads.mask_head.predictor."),
]


@pytest.mark.parametrize(("source", "rules"), [("mmdet", MMDET), ("detectron2", DETECTRON2)])
def test_mask_r_cnn_of_other_frameworks(source, rules):
    shapes = own_shapes(find("torchvision_mrcnn").make())
    given = made(rules, shapes)
    assert not [name for name in given if name.startswith(("rpn.", "boxes.", "masks.", "neck.laterals"))]
    done = converted(given, source)
    assert done.left == ()
    assert {key: tuple(value.shape) for key, value in done.weights.items()} == shapes
    scores = next(value for key, value in given.items() if key.endswith(("fc_cls.bias", "cls_score.bias")))
    mine = done.weights["boxes.stages.0.classifier.linear.bias"]
    assert mine.tolist() == [scores[-1], *scores[:-1]]  # theirs have the background last
    back = converted_back(done.weights, source).weights
    assert set(back) == set(given)
    for key, value in given.items():
        torch.testing.assert_close(back[key], value)


def test_detectron2s_first_layer_sees_the_same_picture():
    kernel = torch.rand(4, 3, 3, 3)
    mine = converted({"backbone.bottom_up.stem.conv1.weight": kernel}, "detectron2").weights[
        "backbone.net.conv1.weight"
    ]
    picture = torch.rand(1, 3, 8, 8)
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    theirs = 255 * picture.flip(1) - torch.tensor([103.53, 116.28, 123.675]).view(1, 3, 1, 1)
    conv = torch.nn.functional.conv2d
    torch.testing.assert_close(
        conv((picture - mean) / std, mine, padding=1), conv(theirs, kernel, padding=1), atol=1e-2, rtol=1e-4
    )


def test_deformable_layers_of_mmdet():
    done = converted(
        {"backbone.layer2.0.conv2.conv_offset.weight": torch.zeros(27, 4, 3, 3), "bbox_head.x": torch.zeros(1)}, "mmdet"
    )
    assert list(done.weights) == ["backbone.net.layer2.0.conv2.offset.weight"]
    assert done.left == ("bbox_head.x",)


def test_group_norms_of_mmdet():
    """Names of its backbone and pyramid with group norm; a convolution before a norm has no bias there, ours has."""
    config = find("torchvision_frcnn").make()
    config = replace(
        config, backbone=replace(config.backbone, norm="gn", frozen_stages=0), neck=replace(config.neck, norm="gn")
    )
    shapes = own_shapes(config)
    rules = [
        *[(f"neck.laterals.{n}.{at}.", f"neck.lateral_convs.{n}.{name}.") for n in range(4) for at, name in NORMED],
        *[(f"neck.outputs.{n}.{at}.", f"neck.fpn_convs.{n}.{name}.") for n in range(4) for at, name in NORMED],
        ("backbone.net.bn1.", "backbone.gn1."),
        *[
            (f"backbone.net.layer{s}.{b}.bn{c}.", f"backbone.layer{s}.{b}.gn{c}.")
            for s in range(1, 5)
            for b in range(6)
            for c in (1, 2, 3)
        ],
        *MMDET,
    ]
    given = {name: value for name, value in made(rules, shapes).items() if not without_bias(name)}
    assert sum(".gn" in name for name in given) > 100
    done = converted(given, "mmdet")
    assert done.left == ()
    assert {key: tuple(value.shape) for key, value in done.weights.items()} == {
        name: shape for name, shape in shapes.items() if not name.startswith("neck.") or not name.endswith(".0.bias")
    }
    back = converted_back(done.weights, "mmdet").weights
    assert set(back) == set(given)
    assert all(torch.equal(back[key], value) for key, value in given.items() if "fc_cls" not in key)


NORMED = ((0, "conv"), (1, "gn"))


def without_bias(name):
    return name.startswith("neck.") and name.endswith(".conv.bias")


def test_plain_kernels_go_into_deformable_ones_and_passes_are_not_taken():
    plain = tiny(Model())
    one = build(plain, CLASSES)
    one.passes.fill_(7)
    deformed = build(replace(plain, backbone=replace(plain.backbone, deform=DeformConv())), CLASSES)
    said = load_matching(deformed, one.state_dict())
    assert int(deformed.passes) == 0
    assert all(".offset." in name for name in said.missing)
    assert said.missing
    assert (said.other_shape, said.unused) == ((), ())
    theirs, mine = one.state_dict(), deformed.state_dict()
    moved = [
        name for name in mine if name.endswith(".conv.weight") and name.replace(".conv.weight", ".weight") in theirs
    ]
    assert moved
    for name in moved:
        assert torch.equal(mine[name], theirs[name.replace(".conv.weight", ".weight")])


def test_layers_begin_anew_by_name():
    one, other = build(tiny(Model()), CLASSES), build(tiny(Model()), CLASSES)
    before = other.rpn.conv.weight.clone()
    said = load_matching(other, one.state_dict(), ["rpn.conv", r"boxes.*predictor"])
    assert torch.equal(other.rpn.conv.weight, before)
    assert torch.equal(other.rpn.deltas.weight, one.rpn.deltas.weight)
    assert set(said.missing) == {
        f"{n}.{p}" for n in ("rpn.conv", "boxes.stages.0.predictor") for p in ("weight", "bias")
    }
    with pytest.raises(InputError, match="matches no name"):
        load_matching(other, one.state_dict(), ["head.typo"])


def test_norms_of_the_first_weights_have_no_eps():
    norm = torch.nn.BatchNorm2d(4, eps=0.0).eval()
    norm.running_var.uniform_(1e-5, 1e-3)
    features = torch.rand(2, 4, 3, 3)
    given = {f"backbone.body.bn1.{name}": tensor for name, tensor in norm.state_dict().items()}
    for sha256, same_as in (("258fb6c6" + "0" * 56, True), ("0" * 64, False)):
        own = torch.nn.BatchNorm2d(4).eval()
        weights = converted(given, "torchvision", sha256).weights
        own.load_state_dict({name.rpartition(".")[2]: tensor for name, tensor in weights.items()})
        assert torch.allclose(own(features), norm(features), rtol=1e-4) == same_as


def test_errors():
    assert weight_sources() == ("detectron2", "mmdet", "timm", "torchvision")
    with pytest.raises(InputError, match="expected one of detectron2, mmdet"):
        converted({}, "keras")
    with pytest.raises(InputError, match=r"none of their names is one of mmdet: head\.x"):
        converted({"head.x": torch.zeros(1)}, "mmdet")


def test_the_command_line(tmp_path, run):
    weights = {
        "rpn.head.cls_logits.bias": torch.arange(3.0),
        "odd": torch.zeros(1),
        "roi_heads.box_predictor.bbox_pred.bias": torch.arange(8.0),
    }
    torch.save({"model": weights}, tmp_path / "f.pth")
    out = tmp_path / "w.safetensors"
    code, _, said = run("zoo", "convert", tmp_path / "f.pth", "--from", "torchvision", "-o", out)
    assert code == 0
    said = said.replace("\n", " ")
    assert "2 tensors, 1 reshaped or reordered: roi_heads.box_predictor.bbox_pred.bias" in said
    assert "1 left out: odd" in said
    assert load_weights(out)["boxes.stages.0.predictor.bias"].tolist() == [4, 5, 6, 7]
    assert run("zoo", "convert", out, "--to", "torchvision", "-o", tmp_path / "back.pth")[0] == 0
    back = torch.load(tmp_path / "back.pth", weights_only=True)
    assert back["roi_heads.box_predictor.bbox_pred.bias"].tolist() == [0, 0, 0, 0, 4, 5, 6, 7]
    assert np.array_equal(back["rpn.head.cls_logits.bias"], weights["rpn.head.cls_logits.bias"])
    net = timm.create_model("test_efficientnet", pretrained=False)
    torch.save(under_other_names(net), tmp_path / "ordered.pth")
    ordered = ("zoo", "convert", tmp_path / "ordered.pth", "--order-of", "test_efficientnet", "-o", out, "--from")
    assert run(*ordered, "timm")[0] == 0
    assert torch.equal(load_weights(out)["backbone.net.conv_stem.weight"], net.conv_stem.weight)
    assert run(*ordered, "torchvision")[0] == 2
    for wrong in (("--from", "x", "-o", out), ("-o", out), ("--from", "timm", "-o", tmp_path / "x.pth")):
        assert run("zoo", "convert", tmp_path / "f.pth", *wrong)[0] == 2
