"""Images of which only labels are known, boxes of masks, dropped groups and boxes over whole images (Open Images)."""

# ruff: noqa: E402

import base64
import zlib

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra zoo (torch) is not installed")
pytest.importorskip("torchvision", reason="the extra zoo (torchvision) is not installed")

from PIL import Image
from pycocotools import mask as rle

from fusion.errors import InputError
from zoo.data import open_data
from zoo.data.mixtures import joined_target

CLASSES = "/m/1,Grape\n/m/2,Torch\n/m/3,Person\n"
LABELS = "ImageID,LabelName,Confidence\na,/m/1,1\na,/m/2,0\nb,/m/2,1\nb,/m/3,1\nc,/m/3,0\n"
BOXES = (
    "ImageID,LabelName,XMin,XMax,YMin,YMax,IsGroupOf\n"
    "a,/m/1,0.25,0.75,0.25,0.75,0\na,/m/1,0,0.5,0,0.5,1\na,/m/3,0,0.5,0,0.5,1\nc,,,,,,\n"
)


@pytest.fixture
def files(tmp_path):
    for name, size in {"a": (40, 20), "b": (20, 40), "c": (20, 20), "d": (20, 20)}.items():
        Image.new("RGB", size).save(tmp_path / f"{name}.png")
    (tmp_path / "classes.csv").write_text(CLASSES)
    (tmp_path / "labels.csv").write_text(LABELS)
    (tmp_path / "boxes.csv").write_text(BOXES)
    return tmp_path


def opened(files, kind, first, *more):
    return open_data(",".join((f"{kind}:{files / first}", str(files), f"classes={files / 'classes.csv'}", *more)))


def mask_rows(*rows):
    """Rows (image, label, corners, box of pixels in a mask of 10 x 10) of a file of masks."""
    lines = ["ImageID,LabelName,XMin,XMax,YMin,YMax,ImageWidth,ImageHeight,Mask"]
    for image, label, (x1, x2, y1, y2), (left, top, right, bottom) in rows:
        plane = np.zeros((10, 10), np.uint8)
        plane[top:bottom, left:right] = 1
        text = base64.b64encode(zlib.compress(rle.encode(np.asfortranarray(plane))["counts"])).decode()
        lines.append(f"{image},{label},{x1},{x2},{y1},{y2},10,10,{text}")
    return "\n".join(lines) + "\n"


def test_images_with_labels_only_are_ignored_as_a_whole(files):
    data = opened(files, "labels", "labels.csv")
    assert data.image_ids == ["a", "b", "c"]
    targets = [data.load(index)[1] for index in range(3)]
    for target in targets:
        target.check()
        assert target.labels_only
        assert len(target.boxes) == 0
        assert target.ignore_boxes.tolist() == [[0, 0, target.size[1], target.size[0]]]
        assert target.ignore_labels is None
    assert [target.image_labels.tolist() for target in targets] == [[1, 0, 0], [0, 1, 1], [0, 0, 0]]
    assert [target.verified.tolist() for target in targets] == [[1, 1, 0], [0, 1, 1], [0, 0, 1]]
    assert [target.neg_classes.tolist() for target in targets] == [[2], [], [3]]
    assert data.image_categories.start.tolist() == [0, 1, 3, 3]
    assert data.image_categories.category.tolist() == [0, 1, 2], "sampled by the labels that are present"


def test_only_images_without_any_box_of_what_is_present_have_labels_only(files):
    boxes = opened(files, "openimages", "boxes.csv", f"labels={files / 'labels.csv'}")
    assert [boxes.load(index)[1].labels_only for index in range(3)] == [False, True, False]
    assert boxes.image_categories.category.tolist() == [0, 1, 2]
    assert len(boxes.load(2)[1].ignore_boxes) == 0, "an image in which nobody found anything is background"
    assert not opened(files, "openimages", "boxes.csv").load(1)[1].labels_only
    pair = [boxes.load(index)[1] for index in (1, 0)]
    joined = joined_target(pair, [(0, 0), (40, 0)], (60, 40))
    assert not joined.labels_only
    assert joined.ignore_boxes.tolist()[0] == [0, 0, 20, 40], "of the other picture everything still counts"
    assert joined_target(pair[:1] * 2, [(0, 0), (40, 0)], (80, 20)).labels_only


def test_a_crawled_image_is_one_box(files):
    data = opened(files, "labels", "labels.csv", "boxes=whole", "name=crawled")
    first, second, last = (data.load(index)[1] for index in range(3))
    assert (first.boxes.tolist(), first.labels.tolist()) == ([[0, 0, 40, 20]], [1])
    assert (second.boxes.tolist(), second.labels.tolist()) == ([[0, 0, 20, 40]] * 2, [2, 3])
    assert not first.labels_only
    assert first.source == "crawled"
    assert len(last.boxes) == len(last.ignore_boxes) == 0
    with pytest.raises(InputError, match="boxes must be none or whole"):
        opened(files, "labels", "labels.csv", "boxes=some")


def test_boxes_of_masks_are_added_and_groups_dropped(files):
    (files / "masks.csv").write_text(
        mask_rows(
            ("a", "/m/1", (0.25, 0.75, 0.25, 0.75), (3, 3, 7, 7)),  # of the box that is there
            ("a", "/m/1", (0, 0.5, 0, 0.5), (1, 2, 5, 4)),  # of the group
            ("a", "/m/1", (0, 1, 0, 1), (6, 0, 10, 5)),
            ("a", "/m/2", (0, 1, 0, 1), (0, 0, 5, 5)),  # of another category
            ("d", "/m/1", (0, 1, 0, 1), (0, 0, 5, 5)),  # of an image whose other objects nobody knows
            ("a", "/m/1", (0, 1, 0, 1), (5, 5, 5, 5)),  # without pixels
        )
    )
    data = opened(files, "openimages", "boxes.csv", f"masks={files / 'masks.csv'}", "extend=Grape", "drop_groups=/m/1")
    target = data.load(0)[1]
    target.check()
    assert target.boxes.tolist() == [[10, 5, 30, 15], [4, 4, 20, 8], [24, 0, 40, 10]]
    assert target.labels.tolist() == [1, 1, 1]
    assert target.ignore_labels.tolist() == [3], "the group of another category stays"
    assert data.image_ids == ["a", "c"]
    assert not data.has_masks
    assert any("2 boxes of masks are added" in note for note in data.notes)
    every = opened(files, "openimages", "boxes.csv", f"masks={files / 'masks.csv'}", "extend=all", "drop_groups=all")
    assert sorted(every.load(0)[1].labels.tolist()) == [1, 1, 1, 2]
    assert len(every.load(0)[1].ignore_boxes) == 0
    for wrong, problem in (("extend=Apple", "no category 'Apple'"), ("drop_groups=1+9", "no category '9'")):
        with pytest.raises(InputError, match=problem):
            opened(files, "openimages", "boxes.csv", f"masks={files / 'masks.csv'}", wrong)
    with pytest.raises(InputError, match="takes boxes from masks"):
        opened(files, "openimages", "boxes.csv", "extend=all")
