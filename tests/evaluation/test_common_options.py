"""What the commands share: lists of images, tables of other categories, numbers on the command line."""

import json

import numpy as np
import pytest

from evaluation.cli.image_lists import read_image_list
from evaluation.cli.members import read_member
from evaluation.cli.protocols import ProtocolOptions, protocol_of
from evaluation.cli.truth import read_truth
from fusion.errors import InputError
from fusion.storage import write_table
from fusion.table import DetectionTable, Metadata
from tests.evaluation.cases import ground_truth

DATASET = {
    "images": [{"id": i, "width": 10, "height": 10} for i in (1, 2, 3)],
    "categories": [{"id": 1, "name": "[cat]"}],
    "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [0, 0, 5, 5], "area": 25, "iscrowd": 0}],
}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("1\nfoo\n", "integer image ids .* got 'foo'"),
        ("--1\n", "got '--1'"),
        ("9223372036854775808\n", "integer image ids"),
        ("²\n", "integer image ids"),
        (" \n", "an empty one"),
    ],
)
def test_lists_of_images_that_cannot_be_used(tmp_path, text, words):
    (tmp_path / "list.txt").write_text(text)
    with pytest.raises(InputError, match=words):
        read_image_list(tmp_path / "list.txt", ground_truth(DATASET))


def test_a_list_of_other_images_is_named(tmp_path):
    (tmp_path / "gt.json").write_text(json.dumps(DATASET))
    (tmp_path / "list.txt").write_text("1\n9\n")
    with pytest.raises(InputError, match=r"list.txt: .*gt.json: it has no image 9"):
        read_truth(tmp_path / "gt.json", tmp_path / "list.txt")


def test_ground_truth_without_annotations_is_noted(tmp_path, capsys):
    (tmp_path / "gt.json").write_text(json.dumps(DATASET | {"annotations": []}))
    read_truth(tmp_path / "gt.json", None)
    assert "there are no annotations" in capsys.readouterr().err


def test_a_table_of_other_categories_is_noted(tmp_path, capsys):
    truth = ground_truth(DATASET)
    for categories, noted in ((None, False), (truth.categories_fingerprint, False), ("others", True)):
        table = DetectionTable.from_arrays(
            image_id=np.array([1, 2]),
            category_id=np.array([1, 1]),
            score=np.array([0.5, 0.6]),
            xywh=np.ones((2, 4)),
            metadata=Metadata(categories=categories),
        )
        write_table(table, tmp_path / "t.parquet")
        read = read_member(tmp_path / "t.parquet", truth, None)
        assert (len(read), read.metadata.member) == (2, "t")
        assert ("other categories" in capsys.readouterr().err) == noted


@pytest.mark.parametrize(("protocol", "caps"), [("coco", "²"), ("coco", ""), ("coco", "1,x"), ("lvis", "100,300")])
def test_caps_that_cannot_be_used(protocol, caps):
    with pytest.raises(InputError, match="option --max-dets"):
        protocol_of(protocol, "bbox", ProtocolOptions(max_dets=caps))
