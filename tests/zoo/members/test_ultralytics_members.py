"""Ultralytics' models as members, built from the package's own .yaml files with random weights."""

# ruff: noqa: E402

import importlib.util

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
pytest.importorskip("timm", reason="timm is not installed")
if importlib.util.find_spec("ultralytics") is None:
    pytest.skip("the extra ultralytics is not installed", allow_module_level=True)

from fusion.errors import InputError
from tests.zoo.members.cases import SCENES, pictures, rows, table
from zoo.data import View, open_data
from zoo.data.masks import unpack

pytestmark = pytest.mark.filterwarnings("default")
SETTINGS = {"imgsz": 96, "conf": 1e-7, "max_det": 7}


@pytest.fixture(scope="module")
def yolo():
    import os

    os.environ["YOLO_OFFLINE"] = "true"
    from ultralytics import YOLO

    return YOLO


@pytest.mark.parametrize("kind", ["yolo11n.yaml", "yolo11n-seg.yaml"])
def test_rows_are_what_ultralytics_finds(kind, yolo, tmp_path):
    torch.manual_seed(0)
    theirs = yolo(kind, verbose=False)
    with torch.no_grad():
        for level in getattr(theirs.model.model[-1], "cv4", []):  # else all masks are empty, and left out
            level[-1].bias.fill_(1)
    torch.save(theirs.model.state_dict(), tmp_path / "net.pth")
    theirs.save(tmp_path / "net.pt")
    data, pixels = pictures()
    ids = {number: 1 + number % 3 for number in theirs.names}
    by_yaml = table(
        f"ultralytics:{kind}", tmp_path / "t.parquet", weights=tmp_path / "net.pth", label_map=ids, **SETTINGS
    )
    by_pt = table(f"ultralytics:{tmp_path / 'net.pt'}", tmp_path / "u.parquet", label_map=ids, **SETTINGS)
    for found, source in ((by_yaml, kind), (by_pt, tmp_path / "net.pt")):  # a .pt file has halves of its numbers
        one = yolo(source, verbose=False)
        if found is by_yaml:
            one.model.load_state_dict(torch.load(tmp_path / "net.pth"))
        for index, picture in enumerate(pixels):
            answer = one.predict(
                [picture[..., ::-1]], verbose=False, save=False, iou=0.7, retina_masks=True, **SETTINGS
            )
            answer = answer[0]
            order = np.argsort(-answer.boxes.conf.numpy(), kind="stable")
            boxes, scores, categories, masks = rows(found, data, index)
            assert len(scores) == len(order) > 2
            np.testing.assert_allclose(scores, answer.boxes.conf.numpy()[order], rtol=1e-4)
            np.testing.assert_allclose(boxes, answer.boxes.xyxy.numpy()[order], atol=1e-2)
            assert categories.tolist() == [ids[int(c)] for c in answer.boxes.cls.numpy()[order]]
            assert (masks is not None) == ("seg" in kind)
            for mask, pixels_of in zip(masks or [], answer.masks.data.numpy()[order] if masks else [], strict=True):
                assert np.array_equal(unpack(mask), pixels_of > 0)


def test_views(yolo, tmp_path):
    torch.manual_seed(0)
    theirs = yolo("yolo11n.yaml", verbose=False)
    torch.save(theirs.model.state_dict(), tmp_path / "net.pth")
    data, pixels = pictures()
    ids = dict.fromkeys(theirs.names, 1)
    found = table(
        "ultralytics:yolo11n.yaml",
        tmp_path / "t.parquet",
        weights=tmp_path / "net.pth",
        label_map=ids,
        views=(View(100, 160, True),),
        **SETTINGS,
    )
    answer = theirs.predict(
        [np.ascontiguousarray(pixels[0][:, ::-1, ::-1])],
        verbose=False,
        save=False,
        iou=0.7,
        **SETTINGS | {"imgsz": 160},
    )[0]
    np.testing.assert_allclose(rows(found, data, 0, "100-flip")[1], np.sort(answer.boxes.conf.numpy())[::-1], rtol=1e-4)


def test_errors(yolo, tmp_path):
    data = open_data(SCENES)
    for name, given, said in (
        ("net.txt", {}, "expected a .pt or a .yaml"),
        ("yolo11n.yaml", {}, "needs its weights"),
        (tmp_path / "absent.pt", {}, "nothing is downloaded"),
        ("yolo11n-cls.yaml", {"weights": tmp_path / "net.pth"}, "is a model to classify"),
        ("yolo11n.yaml", {"weights": tmp_path / "net.pth"}, "not those of yolo11n.yaml"),
        (tmp_path / "net.pt", {}, "has 80 categories|80 of its 80 categories are not in"),
        (tmp_path / "net.pt", {"label_map": dict.fromkeys(range(80), 1), "konf": 1}, "konf"),
    ):
        if not (tmp_path / "net.pt").exists():
            yolo("yolo11n.yaml", verbose=False).save(tmp_path / "net.pt")
            torch.save({"odd": torch.zeros(1)}, tmp_path / "net.pth")
        with pytest.raises(InputError, match=said):
            table(f"ultralytics:{name}", tmp_path / "t.parquet", data=data, **given)
