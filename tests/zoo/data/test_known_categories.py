"""Data sets of which some categories are known (`only=`), and Open Images' expanded by the class tree or not."""

# ruff: noqa: E402

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra zoo (torch) is not installed")
pytest.importorskip("torchvision", reason="the extra zoo (torchvision) is not installed")

from PIL import Image

from fusion.errors import InputError
from tests.oracles.hierarchy import ancestors
from tests.zoo.data.cases import Blank, truth_of
from zoo.config import Stream
from zoo.data import AnnotatedImages, epoch_order, open_data
from zoo.data.counts import category_counts

PARENTS = {"dog": ["pet"], "cat": ["pet", "wild"], "pet": ["animal"], "wild": ["animal"], "animal": [], "car": []}
TREE = {
    "LabelName": "root",
    "Subcategory": [
        {
            "LabelName": "animal",
            "Subcategory": [
                {"LabelName": "pet", "Subcategory": [{"LabelName": "dog"}, {"LabelName": "cat"}]},
                {"LabelName": "wild", "Subcategory": [{"LabelName": "cat"}]},
            ],
        },
        {"LabelName": "car"},
    ],
}
BOXES = [("a", "dog", 0), ("a", "cat", 1), ("b", "pet", 0), ("b", "car", 0), ("c", "cat", 0)]
LABELS = [("a", "dog", 1), ("a", "car", 0), ("b", "animal", 0), ("c", "cat", 1), ("c", "wild", 1), ("d", "car", 1)]


@pytest.fixture
def spec(tmp_path):
    for name in "abcd":
        Image.new("RGB", (40, 20)).save(tmp_path / f"{name}.png")
    boxes = [f"{image},{label},0.{n},0.9,0.1,0.8,{group}" for n, (image, label, group) in enumerate(BOXES, 1)]
    head = "ImageID,LabelName,XMin,XMax,YMin,YMax,IsGroupOf"
    (tmp_path / "boxes.csv").write_text("\n".join([head, *boxes]) + "\n")
    rows = [",".join(map(str, row)) for row in LABELS]
    (tmp_path / "labels.csv").write_text("\n".join(["ImageID,LabelName,Confidence", *rows]) + "\n")
    (tmp_path / "classes.csv").write_text("".join(f"{label},{label.title()}\n" for label in sorted(PARENTS)))
    (tmp_path / "tree.json").write_text(json.dumps(TREE))
    files = [f"{tmp_path}/boxes.csv", str(tmp_path), f"classes={tmp_path}/classes.csv", f"labels={tmp_path}/labels.csv"]
    return f"openimages:{','.join(files)}"


def told(data):
    """Objects, ignored groups and labels of each image, by the names of the categories."""
    names = [name.lower() for name in data.category_names]
    found = {}
    for index, image in enumerate(data.image_ids):
        target = data.load(index)[1]
        target.check()
        boxes = [(names[k - 1], round(x / 4)) for k, (x, *_) in zip(target.labels, target.boxes.tolist(), strict=True)]
        groups = [] if target.ignore_labels is None else [names[k - 1] for k in target.ignore_labels]
        present = [name for name, there in zip(names, target.image_labels.tolist(), strict=True) if there]
        found[image] = (sorted(boxes), sorted(groups), present, [names[k - 1] for k in target.neg_classes])
    return found


@pytest.mark.parametrize("expanded", [False, True])
def test_boxes_and_labels_are_those_of_the_file_or_of_all_above(spec, tmp_path, expanded):
    def up(label):
        return [label, *ancestors(PARENTS, label)] if expanded else [label]

    def down(label):
        return [one for one in PARENTS if one == label or (expanded and label in ancestors(PARENTS, one))]

    data = open_data(f"{spec},hierarchy={tmp_path}/tree.json" if expanded else spec)
    expected = {}
    for image in "abcd":
        rows = [(n, *row) for n, row in enumerate(BOXES, 1) if row[0] == image]
        labels = [row for row in LABELS if row[0] == image]
        expected[image] = (
            sorted((label, n) for n, _, own, group in rows if not group for label in up(own)),
            sorted(label for _, _, own, group in rows if group for label in up(own)),
            sorted({label for _, own, there in labels if there for label in up(own)}),
            sorted({label for _, own, there in labels if not there for label in down(own)}),
        )
    assert told(data) == expected
    assert data.image_categories.start[-1] == sum(
        len({label for label, _ in boxes} or (set(present) if not groups else set()))
        for boxes, groups, present, _ in expected.values()
    )


def test_only_some_categories_are_known(spec, tmp_path):
    (tmp_path / "own.txt").write_text("2\tCar\n3\tCat\n")
    whole = told(open_data(spec))
    for only in ("2+3", "Car+Cat", "car+3", str(tmp_path / "own.txt")):
        data = open_data(f"{spec},only={only}")
        assert data.category_ids.tolist() == [2, 3], "ids stay"
        assert data.category_names == ("Car", "Cat")
        some = {
            image: tuple(
                [one for one in part if (one if isinstance(one, str) else one[0]) in ("car", "cat")] for part in parts
            )
            for image, parts in whole.items()
        }
        assert told(data) == some
    assert [data.load(index)[1].labels_only for index in range(4)] == [False, False, False, True]
    # images are chosen by all categories, and what is not known is background then
    data = open_data(f"{spec},having=5,only=Car")
    assert data.image_ids == ["b"]
    assert data.load(0)[1].labels.tolist() == [1]
    data = open_data(f"{spec},only=Pet")
    assert [data.load(index)[1].labels_only for index in range(4)] == [False, False, False, True], (
        "an image in which nobody has drawn boxes stays one, though none of its labels is known"
    )
    with pytest.raises(InputError, match="no category 'Cow'"):
        open_data(f"{spec},only=Cow")


def test_samplers_by_category_also_draw_what_is_to_be_told_apart(spec):
    data = open_data(f"{spec},only=Cat,against=Car+Dog")  # a has a dog, b a car and d its label, c a cat
    assert len(data.category_ids) == 1
    for sampler in ("class_aware", "full_class"):
        stream = Stream(images=3, sampler=sampler)
        drawn = [one for epoch in range(9) for one in epoch_order(data, stream, 0, epoch)]
        shares = [sum(index in of for index, _ in drawn) / len(drawn) for of in ((0,), (1, 3), (2,))]
        assert shares == pytest.approx([1 / 3] * 3, abs=0.1), sampler
        assert {label for image, label in drawn if image == 2} == {1}
        assert {label for image, label in drawn if image != 2} == {0}
    assert [len(data.load(index)[1].labels) for index in range(3)] == [0, 0, 1]
    assert category_counts(data).images.tolist() == [1]
    plain = open_data(f"{spec},only=Cat")
    assert {image for image, _ in epoch_order(plain, Stream(images=3, sampler="class_aware"), 0, 0)} == {2}


def test_what_the_annotations_lack_is_known_by_the_same_categories():
    truth, missing = truth_of([[1, 2], [3]]), truth_of([[3, 1], [2]])
    data = AnnotatedImages(truth, Blank(truth), name="x", loss_weight=0.5, missing=missing).only([3, 1])
    first, second = data.load(0)[1], data.load(1)[1]
    assert (first.labels.tolist(), second.labels.tolist()) == ([1], [2])
    assert (first.ignore_labels.tolist(), second.ignore_labels.tolist()) == ([2, 1], [])
    assert first.loss_weight == 0.5
    assert np.array_equal(data.category_ids, [1, 3])
