"""Models in ONNX files as members."""

# ruff: noqa: E402

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
pytest.importorskip("timm", reason="timm is not installed")
onnx = pytest.importorskip("onnx", reason="onnx, which makes the models of these tests, is not installed")
runtime = pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")

from fusion.errors import InputError
from tests.zoo.members.cases import pictures, rows, table
from zoo.data import View
from zoo.data.masks import unpack

NAMES = 'categories = ["checked violet star", "Red Disc"]\n'


def made(path, nodes, inputs, outputs, constants):
    """Write a model of these nodes; inputs and outputs are (name, shape)."""
    kind = onnx.TensorProto.FLOAT
    graph = onnx.helper.make_graph(
        nodes,
        "tiny",
        [onnx.helper.make_tensor_value_info(name, kind, shape) for name, shape in inputs],
        [onnx.helper.make_tensor_value_info(name, kind, shape) for name, shape in outputs],
        [onnx.numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())


@pytest.fixture
def dense(tmp_path):
    """A 'detector': a random linear map of the means of the colours gives six boxes and their scores."""
    rng = np.random.default_rng(0)
    node = onnx.helper.make_node
    nodes = [
        node("ReduceMean", ["image"], ["mean"], axes=[2, 3], keepdims=0),
        node("MatMul", ["mean", "w"], ["flat"]),
        node("Sigmoid", ["flat"], ["shares"]),
        node("Reshape", ["shares", "shape"], ["rows"]),
        node("Split", ["rows", "parts"], ["boxes", "scores"], axis=2),
    ]
    constants = {
        "w": rng.normal(size=(3, 36)).astype(np.float32),
        "shape": np.array([1, 6, 6], np.int64),
        "parts": np.array([4, 2], np.int64),
    }
    made(
        tmp_path / "dense.onnx",
        nodes,
        [("image", [1, 3, None, None])],
        [("boxes", [1, 6, 4]), ("scores", [1, 6, 2])],
        constants,
    )
    return tmp_path / "dense.onnx"


def ran(path, image):
    return runtime.InferenceSession(str(path)).run(None, {"image": image[None].astype(np.float32)})


def corners(boxes, width, height):
    cx, cy, w, h = boxes[0].T
    return np.stack([cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2], axis=1) * [width, height, width, height]


def expected(boxes, scores, ids, floor=0.001):
    """Every box with every category: the plain reading of dense scores."""
    every = [(float(scores[r, c]), r, c) for r in range(len(scores)) for c in range(2) if scores[r, c] > floor]
    every.sort(key=lambda one: -one[0])
    return [boxes[r] for _, r, _ in every], [s for s, *_ in every], [ids[c] for *_, c in every]


def test_rows_are_what_onnxruntime_returns(dense, tmp_path):
    dense.with_suffix(".toml").write_text(
        NAMES + "[input]\nmean = [0.4, 0.5, 0.6]\nstd = [0.2, 0.3, 0.4]\n"
        '[outputs]\nboxes = "boxes"\nscores = "scores"\nbox_format = "cxcywh"\nnormalized = true\n'
    )
    data, pixels = pictures()
    found = table(f"onnx:{dense}", tmp_path / "t.parquet")
    for index, picture in enumerate(pixels):
        image = (picture / 255 - [0.4, 0.5, 0.6]) / [0.2, 0.3, 0.4]
        boxes, scores = ran(dense, image.transpose(2, 0, 1))
        height, width = picture.shape[:2]
        wanted = expected(corners(boxes, width, height), scores[0], (3, 1))
        xyxy, score, categories, _ = rows(found, data, index)
        assert len(score) == 12
        np.testing.assert_allclose(score, wanted[1], atol=1e-5)
        assert categories.tolist() == wanted[2]
        np.testing.assert_allclose(xyxy, wanted[0], atol=1e-2)


def test_a_fixed_size_filled_up_in_the_order_of_blue(dense, tmp_path):
    dense.with_suffix(".toml").write_text(
        NAMES + '[input]\nsize = [96, 128]\nfit = "pad"\nfill = 0.5\nscale = 255\nbgr = true\n'
        '[outputs]\nboxes = "boxes"\nscores = "scores"\nbox_format = "cxcywh"\nnormalized = true\nscore = 0.4\n'
    )
    data, pixels = pictures()
    found = table(f"onnx:{dense}", tmp_path / "t.parquet", views=(View(32, 40),))
    height, width = pixels[0].shape[:2]
    scale = min(96 / height, 128 / width)
    resized = torch.nn.functional.interpolate(
        torch.from_numpy(pixels[0]).permute(2, 0, 1)[None] / 255,
        size=(round(height * scale), round(width * scale)),
        mode="bilinear",
        antialias=True,
        align_corners=False,
    )[0]
    frame = np.full((3, 96, 128), 0.5, np.float32)
    frame[:, : resized.shape[1], : resized.shape[2]] = resized
    boxes, scores = ran(dense, frame[::-1] * 255)
    wanted = expected(
        corners(boxes, 128, 96) / ([resized.shape[2] / width, resized.shape[1] / height] * 2), scores[0], (3, 1), 0.4
    )
    xyxy, score, categories, _ = rows(found, data, 0, "32")
    np.testing.assert_allclose(score, wanted[1], atol=1e-4)
    np.testing.assert_allclose(xyxy, wanted[0], atol=0.05)
    assert categories.tolist() == wanted[2]


def test_labels_masks_and_suppression(tmp_path):
    """A model that answers two boxes that overlap, one apart, with labels and masks."""
    node = onnx.helper.make_node
    masks = np.zeros((3, 8, 8), np.float32)
    masks[0, :4, :4], masks[1, :4, :5], masks[2, 5:, 5:] = 1, 1, 1
    constants = {
        "b": np.array([[0, 0, 4, 4], [0, 0, 5, 4], [5, 5, 8, 8]], np.float32),
        "s": np.array([0.5, 0.75, 0.25], np.float32),
        "l": np.array([1, 1, 2], np.float32),
        "m": masks,
        "zero": np.array(0, np.float32),
    }
    nodes = [node("ReduceMean", ["image"], ["mean"], keepdims=0), node("Mul", ["mean", "zero"], ["none"])]
    nodes += [
        node("Add", [name, "none"], [long])
        for name, long in (("b", "boxes"), ("s", "scores"), ("l", "labels"), ("m", "masks"))
    ]
    made(
        tmp_path / "m.onnx",
        nodes,
        [("image", [8, 8, 3])],
        [("boxes", [3, 4]), ("scores", [3]), ("labels", [3]), ("masks", [3, 8, 8])],
        constants,
    )
    text = (
        NAMES + '[input]\nsize = [8, 8]\nlayout = "hwc"\n[outputs]\nboxes = "boxes"\nscores = "scores"\n'
        'labels = "labels"\nmasks = "masks"\nfirst = 1\n'
    )
    (tmp_path / "other.toml").write_text(text)
    data, pixels = pictures()
    height, width = pixels[0].shape[:2]
    name = f"onnx:{tmp_path / 'm.onnx'}"
    boxes, scores, categories, found = rows(
        table(name, tmp_path / "t.parquet", description=str(tmp_path / "other.toml")), data, 0
    )
    scale = [width / 8, height / 8] * 2
    np.testing.assert_allclose(boxes / scale, [[0, 0, 5, 4], [0, 0, 4, 4], [5, 5, 8, 8]], atol=1e-5)
    assert (scores.tolist(), categories.tolist()) == ([0.75, 0.5, 0.25], [3, 3, 1])
    assert np.array_equal(unpack(found[1]), np.kron(masks[0], np.ones((height // 8, width // 8))))
    (tmp_path / "m.toml").write_text(text + "nms_iou = 0.5\ndetections = 1\n")
    assert rows(table(name, tmp_path / "u.parquet"), data, 0)[1].tolist() == [0.75]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "no such file or folder"),
        ("categories = [", "does not describe a model"),
        (
            NAMES + '[outputs]\nboxes = "boxes"\nscores = "logits"\n',
            "names the output 'logits', dense.onnx has boxes, scores",
        ),
        (NAMES + '[outputs]\nboxes = "boxes"\nscores = "scores"\nfloor = 1\n', "unknown field `floor`"),
        (NAMES + '[outputs]\nboxes = "scores"\nscores = "scores"\n', r"must be \[n, 4\]"),
    ],
)
def test_errors(text, said, dense, tmp_path):
    if text is not None:
        dense.with_suffix(".toml").write_text(text)
    with pytest.raises(InputError, match=said):
        table(f"onnx:{dense}", tmp_path / "t.parquet")
    (tmp_path / "no.onnx").write_bytes(b"no model")
    (tmp_path / "no.toml").write_text(NAMES + '[outputs]\nboxes = "b"\nscores = "s"\n')
    with pytest.raises(InputError, match="cannot be read as an ONNX model"):
        table(f"onnx:{tmp_path / 'no.onnx'}", tmp_path / "t.parquet")
