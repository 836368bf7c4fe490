"""Lists of images: COCO files without annotations, CSV files, text files."""

import json

import numpy as np
import pytest

from evaluation.submissions import ImageList, read_image_list
from fusion.errors import InputError
from tests.fusion.test_text import FORMS


def test_an_image_info_file_without_annotations(tmp_path):
    path = tmp_path / "image_info.json"
    images = [{"id": 7, "width": 640, "height": 480, "coco_url": "x"}, {"id": 3}]
    path.write_text(json.dumps({"info": {}, "images": images, "categories": [{"id": 5, "name": "boat"}]}))
    found = read_image_list(path)
    assert found.image_id.tolist() == [7, 3]  # as they are in the file
    assert found.width.tolist() == [640, 0]
    assert found.category_id.tolist() == [5]
    assert not found.federated
    assert found.places(np.array([3, 7, 8, 2])).tolist() == [1, 0, -1, -1]
    assert found.places(np.array(["3"], dtype=object)).tolist() == [-1]
    path.write_text(json.dumps({"images": images}))
    assert read_image_list(path).category_id is None


@pytest.mark.parametrize(
    ("text", "ids", "sizes"),
    [
        ("5\n3\n", [5, 3], [(0, 0), (0, 0)]),
        ("000a\n0001\n\n", ["000a", "0001"], [(0, 0), (0, 0)]),
        ("ImageID,Subset\nb,test\na,test\n", ["b", "a"], [(0, 0), (0, 0)]),
        ("ImageID,ImageWidth,ImageHeight,PredictionString\nb,10,20,\n", ["b"], [(10, 20)]),
        ("ImageId,PredictionString\nb,/m/1 0.5 0 0 1 1\n", ["b"], [(0, 0)]),
    ],
)
def test_csv_and_text_files(tmp_path, text, ids, sizes):
    (tmp_path / "list").write_text(text)
    found = read_image_list(tmp_path / "list")
    assert found.image_id.tolist() == ids
    assert list(zip(found.width.tolist(), found.height.tolist(), strict=True)) == sizes
    as_text = read_image_list(tmp_path / "list", text_ids=True)
    assert as_text.image_id.tolist() == [str(name) for name in ids]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty"),
        ("1\n2\n1\n", "more than once"),
        ("a,b\n", "a column ImageID"),
        ("ImageID,ImageWidth,ImageHeight\na,wide,2\n", "whole numbers"),
        ('{"images": []}', "no images"),
        ('{"images": [{"id": 1}, {"id": "1"}]}', "some are texts"),
        ('{"annotations": []}', "expected a list of images"),
        ('{"images": [', "expected a list of images"),
        ('{"images": [{"id": 1}], "x": ' + "[" * 100_000, "expected a list of images"),
        (
            '{"images": [{"id": 1, "width": 3000000000}]}',
            r"image 0: expected a width and height in pixels, got 3e\+09 x 0",
        ),
        ('{"images": [{"id": ' + "7" * 30 + "}]}", "at most 64 bits"),
        ('{"images": [{"id": ' + "7" * 5000 + "}]}", "."),
        ('{"images": [{"id": 1}], "categories": [{"id": 3000000000}]}', "expected a list of images"),
        ("ImageID,ImageWidth,ImageHeight\na,3000000000,2\n", "image 0: expected a width and height in pixels"),
        ("ImageID,ImageWidth,ImageHeight\na," + "7" * 5000 + ",2\n", "whole numbers"),
    ],
)
def test_files_that_are_no_lists(tmp_path, text, message):
    (tmp_path / "list").write_text(text)
    with pytest.raises(InputError, match=message):
        read_image_list(tmp_path / "list")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("text", ['{"images": [{"id": 7}]}', "ImageID\nb\n"])
def test_compressed_files(tmp_path, form, text):
    (tmp_path / "list").write_bytes(FORMS[form](text))
    assert read_image_list(tmp_path / "list").image_id.tolist() == ([7] if text.startswith("{") else ["b"])


def test_no_file(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read_image_list(tmp_path / "list")
    with pytest.raises(InputError, match="got a directory"):
        read_image_list(tmp_path)


def test_classes():
    labels = ("/m/011k07", "/m/012074")
    images = ImageList(np.array(["a"], dtype=object), np.zeros(1, np.int32), np.zeros(1, np.int32)).with_classes(labels)
    assert images.category_id.tolist() == [1, 2]
    assert images.category_label == labels


def test_integer_ids_are_texts_in_a_csv_file():
    images = ImageList(np.array([7, 10]), np.ones(2, np.int32), np.ones(2, np.int32))
    assert images.with_text_ids().places(np.array(["10", "7", "07"], dtype=object)).tolist() == [1, 0, -1]
