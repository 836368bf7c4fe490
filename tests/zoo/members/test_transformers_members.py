"""Models of transformers as members, built from tiny configurations with random weights."""

# ruff: noqa: E402

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
pytest.importorskip("timm", reason="timm is not installed")
transformers = pytest.importorskip("transformers", reason="the extra transformers is not installed")

from fusion.errors import InputError
from tests.zoo.members.cases import pictures, rows, table
from zoo.data import View
from zoo.data.masks import unpack

NAMES = {0: "red disc", 1: "striped green square", 2: "N/A", 3: "checked violet star"}
LABELS = {"id2label": NAMES, "label2id": {name: number for number, name in NAMES.items()}}
IDS = {0: 1, 1: 2, 3: 3}


def yolos(folder):
    torch.manual_seed(0)
    config = transformers.YolosConfig(
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        image_size=[64, 96],
        num_detection_tokens=12,
        **LABELS,
    )
    net = transformers.YolosForObjectDetection(config).eval()
    processor = transformers.YolosImageProcessor(size={"shortest_edge": 64, "longest_edge": 96})
    net.save_pretrained(folder)
    processor.save_pretrained(folder)
    return net, processor


def rf_detr(folder):
    torch.manual_seed(0)
    backbone = transformers.RfDetrDinov2Config(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=56,
        patch_size=14,
        num_windows=1,
        out_features=["stage1", "stage2"],
        window_block_indexes=[],
    )
    config = transformers.RfDetrConfig(
        backbone_config=backbone,
        d_model=32,
        decoder_layers=1,
        decoder_ffn_dim=32,
        num_queries=9,
        group_detr=1,
        decoder_self_attention_heads=2,
        decoder_cross_attention_heads=2,
        intermediate_size=32,
        **LABELS,
    )
    net = transformers.RfDetrForObjectDetection(config).eval()
    processor = transformers.RfDetrImageProcessor(size={"height": 56, "width": 56})
    net.save_pretrained(folder)
    processor.save_pretrained(folder)
    return net, processor


def mask2former(folder):
    torch.manual_seed(0)
    backbone = transformers.SwinConfig(
        embed_dim=8,
        depths=[1, 1, 1, 1],
        num_heads=[1, 1, 1, 1],
        window_size=2,
        image_size=64,
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )
    config = transformers.Mask2FormerConfig(
        backbone_config=backbone,
        hidden_dim=32,
        feature_size=32,
        mask_feature_size=32,
        encoder_feedforward_dim=16,
        dim_feedforward=16,
        encoder_layers=1,
        decoder_layers=2,
        num_attention_heads=2,
        num_queries=8,
        **LABELS,
    )
    net = transformers.Mask2FormerForUniversalSegmentation(config).eval()
    processor = transformers.Mask2FormerImageProcessor(size={"shortest_edge": 64, "longest_edge": 96})
    net.save_pretrained(folder)
    processor.save_pretrained(folder)
    return net, processor


def answer(net, processor, picture, task, **settings):
    with torch.inference_mode():
        output = net(**{k: v for k, v in processor(picture, return_tensors="pt").items() if k.startswith("pixel")})
    return getattr(processor, task)(output, threshold=0.0, target_sizes=[picture.shape[:2]], **settings)[0]


@pytest.mark.parametrize("made", [yolos, rf_detr])
def test_boxes_are_what_transformers_finds(made, tmp_path):
    net, processor = made(tmp_path / "model")
    data, pixels = pictures()
    found = table(f"transformers:{tmp_path / 'model'}", tmp_path / "t.parquet")
    for index, picture in enumerate(pixels):
        one = answer(net, processor, picture, "post_process_object_detection")
        order = [row for row in torch.argsort(-one["scores"], stable=True).tolist() if int(one["labels"][row]) in IDS]
        assert len(order) > 2
        boxes, scores, categories, masks = rows(found, data, index)
        np.testing.assert_allclose(boxes, one["boxes"][order].numpy(), atol=1e-3)
        np.testing.assert_allclose(scores, one["scores"][order].numpy(), atol=1e-6)
        assert categories.tolist() == [IDS[int(one["labels"][row])] for row in order]
        assert masks is None


def test_masks_are_what_transformers_finds(tmp_path):
    net, processor = mask2former(tmp_path / "model")
    data, pixels = pictures()
    found = table(f"transformers:{tmp_path / 'model'}", tmp_path / "t.parquet")
    seen = 0
    for index, picture in enumerate(pixels):
        one = answer(net, processor, picture, "post_process_instance_segmentation", return_binary_maps=True)
        parts = [
            (p["score"], IDS[p["label_id"]], m.numpy() > 0)
            for p, m in zip(one["segments_info"], one["segmentation"], strict=True)
            if p["label_id"] in IDS
        ]
        boxes, scores, categories, masks = rows(found, data, index)
        parts.sort(key=lambda part: -part[0])
        np.testing.assert_allclose(scores, [part[0] for part in parts], atol=1e-6)
        assert categories.tolist() == [part[1] for part in parts]
        for box, mask, (_, _, pixels_of) in zip(boxes, masks, parts, strict=True):
            assert np.array_equal(unpack(mask), pixels_of)
            y, x = np.nonzero(pixels_of)
            assert box.tolist() == [x.min(), y.min(), x.max() + 1, y.max() + 1]
            seen += 1
    assert seen > 3


def test_views_of_processors_that_make_squares(tmp_path):
    net, _ = rf_detr(tmp_path / "model")
    data, pixels = pictures()
    found = table(f"transformers:{tmp_path / 'model'}", tmp_path / "t.parquet", views=(View(84, 120),))
    larger = transformers.RfDetrImageProcessor(size={"height": 84, "width": 84})
    one = answer(net, larger, pixels[0], "post_process_object_detection")
    real = [s for s, n in zip(one["scores"].tolist(), one["labels"].tolist(), strict=True) if n in IDS]
    np.testing.assert_allclose(rows(found, data, 0, "84")[1], sorted(real, reverse=True), atol=1e-6)


def test_views_take_the_place_of_the_processors_size(tmp_path):
    net, _ = yolos(tmp_path / "model")
    data, pixels = pictures()
    name = f"transformers:{tmp_path / 'model'}"
    found = table(name, tmp_path / "t.parquet", views=(View(96, 128),), threshold=0.0)
    larger = transformers.YolosImageProcessor(size={"shortest_edge": 96, "longest_edge": 128})
    one = answer(net, larger, pixels[0], "post_process_object_detection")
    expected = sorted(
        (s for s, n in zip(one["scores"].tolist(), one["labels"].tolist(), strict=True) if n in IDS), reverse=True
    )
    np.testing.assert_allclose(rows(found, data, 0, "96")[1], expected, atol=1e-6)


@pytest.mark.parametrize(
    ("setting", "said"),
    [({"threshhold": 0.1}, "no setting 'threshhold'; it has threshold"), ({}, "cannot be read as a model")],
)
def test_errors(setting, said, tmp_path):
    yolos(tmp_path / "model")
    if not setting:
        for path in (tmp_path / "model").glob("preprocessor*"):
            path.unlink()
        for path in (tmp_path / "model").glob("processor*"):
            path.unlink()
    with pytest.raises(InputError, match=said):
        table(f"transformers:{tmp_path / 'model'}", tmp_path / "t.parquet", **setting)
    with pytest.raises(InputError, match="no such file or folder, and nothing is downloaded"):
        table("transformers:facebook/detr-resnet-50", tmp_path / "t.parquet")
