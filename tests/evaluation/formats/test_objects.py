"""Detections of other libraries' objects: every kind is taken, joined and given back."""

import sys
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from evaluation import read_objects, to_objects
from evaluation.ground_truth import GroundTruth
from fusion.errors import InputError
from tests.oracles.masks import decoded

NAMES = ["a.jpg", "b.jpg"]
BOXES = {"a.jpg": [[1.0, 2.0, 11.25, 22.0], [5.0, 5.0, 50.0, 40.0]], "b.jpg": [[0.1, 0.2, 0.30000000000000004, 9.0]]}
SCORES = {"a.jpg": [0.5, 0.25], "b.jpg": [0.75]}
LABELS = {"a.jpg": [7, 3], "b.jpg": [7]}
TITLES = {3: "dog", 7: "big cat"}


@pytest.fixture
def truth():
    return GroundTruth.from_arrays(
        image_id=[10, 20],
        file_name=NAMES,
        width=[100, 100],
        height=[80, 80],
        category_id=[3, 7],
        category_name=["dog", "big cat"],
        annotation_image_id=[10],
        annotation_category_id=[3],
        xywh=[[1, 2, 3, 4]],
    )


class Tensor:
    """An array that, as a tensor on a GPU, has to be fetched."""

    def __init__(self, values):
        self._values = values

    def detach(self):
        return self

    def cpu(self):
        return SimpleNamespace(numpy=lambda: np.array(self._values))


def torchvision():
    return {n: {"boxes": Tensor(BOXES[n]), "scores": Tensor(SCORES[n]), "labels": Tensor(LABELS[n])} for n in NAMES}


def pipeline():
    """What pipelines of Hugging Face answer, by image."""
    sides = ("xmin", "ymin", "xmax", "ymax")
    return {
        n: [
            {"score": s, "label": TITLES[c], "box": dict(zip(sides, b, strict=True))}
            for b, s, c in zip(BOXES[n], SCORES[n], LABELS[n], strict=True)
        ]
        for n in NAMES
    }


def supervision():
    return {
        n: SimpleNamespace(
            xyxy=np.array(BOXES[n]),
            confidence=np.array(SCORES[n]),
            class_id=np.arange(len(LABELS[n])),  # numbers of their own: the names count
            mask=None,
            data={"class_name": np.array([TITLES[c] for c in LABELS[n]])},
        )
        for n in NAMES
    }


class Sample(dict):
    field_names = ("id", "ground_truth", "found")

    @property
    def filepath(self):
        return self["path"]


def fiftyone():
    def detection(b, s, c):
        x1, y1, x2, y2 = b
        box = [x1 / 100, y1 / 80, (x2 - x1) / 100, (y2 - y1) / 80]
        return SimpleNamespace(bounding_box=box, confidence=s, label=TITLES[c])

    samples = [
        Sample(
            path=f"/data/{n}",
            id=n,
            ground_truth=SimpleNamespace(detections=[SimpleNamespace(confidence=None)]),
            found=SimpleNamespace(detections=list(map(detection, BOXES[n], SCORES[n], LABELS[n]))),
        )
        for n in NAMES
    ]
    return SimpleNamespace(iter_samples=lambda: iter(samples))


def frame():
    rows = [(n, c, s, *b) for n in NAMES for b, s, c in zip(BOXES[n], SCORES[n], LABELS[n], strict=True)]
    return pd.DataFrame(rows, columns=["image", "class", "confidence", "xmin", "ymin", "xmax", "ymax"])


@pytest.mark.parametrize("make", [torchvision, pipeline, supervision, fiftyone, frame])
def test_every_kind_is_taken(truth, make):
    table = read_objects(make(), truth, member="m", as_is=True)
    assert table.image_id.tolist() == [10, 10, 20]
    assert table.category_id.tolist() == [7, 3, 7]
    assert table.score.tolist() == [0.5, 0.25, 0.75]
    corners = [[x, y, far_x, far_y] for (x, y, *_), far_x, far_y in
               zip(table.xywh.tolist(), table.far("x").tolist(), table.far("y").tolist(), strict=True)]  # fmt: skip
    expected = [box for name in NAMES for box in BOXES[name]]
    if make is fiftyone:
        np.testing.assert_allclose(corners, expected, rtol=0, atol=1e-12)
    else:
        assert corners == expected
    assert table.metadata.member == "m"


def test_masks_of_arrays(truth):
    masks = np.zeros((1, 1, 80, 100), np.float32)
    masks[0, 0, 2:5, 7:10] = 0.9
    one = {"boxes": [[0, 0, 1, 1]], "scores": [0.5], "labels": [3], "masks": masks}
    table = read_objects({"a.jpg": one}, truth, as_is=True)
    [mask] = table.mask.to_pylist()
    size = [mask["height"], mask["width"]]
    assert (decoded({"size": size, "counts": mask["counts"]}) == (masks[0, 0] > 0.5)).all()


@pytest.mark.parametrize(
    ("objects", "words"),
    [
        ([{"boxes": [], "scores": [], "labels": []}], "expected a mapping from images"),
        ({1: {"boxes": [[0, 0, 1, 1]], "scores": [0.5, 0.5], "labels": [1]}}, "image 1: expected as many boxes"),
        ({1: {"boxes": [[0, 0, np.nan, 1]], "scores": [0.5], "labels": [1]}}, "image 1: a box is not finite"),
        ({1: {"boxes": [[5, 0, 1, 1]], "scores": [0.5], "labels": [1]}}, "image 1, detection 0"),
        (pd.DataFrame({"image": [1], "score": [0.5]}), "expected columns of boxes"),
        (pd.DataFrame({"x": [1.0], "y": [1.0], "w": [1.0], "h": [1.0], "image_id": [1]}), "column of scores"),
        (pd.DataFrame({"x": ["a"], "y": [1], "w": [1], "h": [1], "image_id": [1], "score": [1]}), "expected numbers"),
    ],
)
def test_what_cannot_be_read_is_named(objects, words):
    with pytest.raises(InputError, match=words.replace("(", r"\(")):
        read_objects(objects)


@pytest.fixture
def libraries(monkeypatch):
    """Stand-ins for what is not installed: they keep what they are given."""

    def keep(**values):
        return SimpleNamespace(**values)

    monkeypatch.setitem(sys.modules, "supervision", SimpleNamespace(Detections=keep))
    monkeypatch.setitem(sys.modules, "fiftyone", SimpleNamespace(Detection=keep, Detections=keep))


@pytest.mark.parametrize("name", ["torchvision", "supervision", "fiftyone", "pandas"])
def test_what_is_given_is_what_was_taken(truth, libraries, name):
    table = read_objects(torchvision(), truth, as_is=True)
    objects = to_objects(table, name, truth)
    if name == "fiftyone":
        samples = [Sample(path=n, id=n, ground_truth=None, found=found) for n, found in objects.items()]
        objects = SimpleNamespace(iter_samples=lambda: iter(samples))
    again = read_objects(objects, truth, as_is=True)
    one, two = (t.arrow.select(["image_id", "category_id", "score"]).to_pylist() for t in (table, again))
    assert one == two
    bound = 1e-12 if name == "fiftyone" else 0
    np.testing.assert_allclose(again.xywh, table.xywh, rtol=0, atol=bound)


def test_a_library_that_is_not_there_is_named(truth, monkeypatch):
    monkeypatch.setitem(sys.modules, "supervision", None)
    table = read_objects(torchvision(), truth, as_is=True)
    with pytest.raises(InputError, match="pip install supervision"):
        to_objects(table, "supervision", truth)


def test_readings_and_names_are_checked_as_in_files(truth):
    wrong = {"c.jpg": {"boxes": [[0, 0, 1, 1]], "scores": [0.5], "labels": [3]}}
    with pytest.raises(InputError, match="no image in common"):
        read_objects(wrong, truth)
    mixed = torchvision() | wrong
    with pytest.raises(InputError, match="unknown_images='drop'"):
        read_objects(mixed, truth)
    assert len(read_objects(mixed, truth, unknown_images="drop", as_is=True)) == 3
