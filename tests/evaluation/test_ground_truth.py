import copy
import itertools
import json
import pickle

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as rle

from evaluation import Coco, GroundTruth, prepare, read_coco
from fusion.errors import InputError

GOOD = {
    "images": [{"id": 7, "height": 20, "width": 30, "file_name": "b.jpg"}, {"id": 3, "height": 20, "width": 30}],
    "categories": [{"id": 2, "name": "cat"}, {"id": 1, "name": "dog"}],
    "annotations": [
        {"id": 5, "image_id": 7, "category_id": 2, "bbox": [1, 2, 3, 4], "area": 11.5, "iscrowd": 0,
         "segmentation": [[1, 1, 9, 1, 9, 9]], "more": {"x": [1]}},
        {"id": 9, "image_id": 3, "category_id": 1, "bbox": [0, 0, 5.5, 2], "area": 4, "iscrowd": 1,
         "segmentation": {"size": [20, 30], "counts": [3, 4, 593]}},
    ],
    "info": {"year": 2014},
}  # fmt: skip


def write(tmp_path, document):
    path = tmp_path / "truth.json"
    text = document if isinstance(document, str) else json.dumps(document)
    path.write_text(text, encoding="utf-8", errors="surrogateescape")
    return path


def changed(change):
    document = copy.deepcopy(GOOD)
    change(document)
    return document


def spoilt(**fields):
    """The good file with fields of its second annotation changed."""
    return changed(lambda document: document["annotations"][1].update(fields))


def test_reads_columns_sorted_by_id(tmp_path):
    truth = read_coco(write(tmp_path, GOOD))
    assert truth.image_id.tolist() == [3, 7]
    assert truth.file_name.tolist() == ["", "b.jpg"]
    assert (truth.height.tolist(), truth.width.tolist()) == ([20, 20], [30, 30])
    assert truth.category_id.tolist() == [1, 2]
    assert truth.category_id.dtype == np.int32
    assert truth.category_name == ("dog", "cat")
    assert truth.annotation_id.tolist() == [5, 9]
    assert truth.image.tolist() == [1, 0]
    assert truth.category.tolist() == [1, 0]
    assert truth.xywh.tolist() == [[1, 2, 3, 4], [0, 0, 5.5, 2]]
    assert truth.area.tolist() == [11.5, 4]
    assert truth.crowd.tolist() == [False, True]
    assert truth.notes == ()
    assert truth.frequency is truth.negative is truth.not_exhaustive is None
    assert len(truth) == 2


def test_masks_are_those_of_pycocotools(tmp_path):
    truth = read_coco(write(tmp_path, GOOD))
    polygon = rle.merge(rle.frPyObjects([[1.0, 1.0, 9.0, 1.0, 9.0, 9.0]], 20, 30))["counts"]
    runs = rle.frPyObjects({"size": [20, 30], "counts": [3, 4, 593]}, 20, 30)["counts"]
    assert truth.masks.to_pylist() == [{"height": 20, "width": 30, "counts": text} for text in (polygon, runs)]
    compressed = changed(lambda d: d["annotations"][1].update(segmentation={"size": [20, 30], "counts": runs.decode()}))
    assert read_coco(write(tmp_path, compressed)).masks.equals(truth.masks)


@pytest.mark.parametrize(
    ("change", "note"),
    [
        (
            lambda d: [d["categories"][0].update(id="2"), d["annotations"][0].update(category_id="2")],
            "category ids are text",
        ),
        (lambda d: d["annotations"][0].pop("area"), "area is missing in 1"),
        (lambda d: [row.pop("iscrowd") for row in d["annotations"]], "iscrowd is missing in 2"),
        (lambda d: d["annotations"][0].pop("segmentation"), "segmentation is missing in 1"),
        (lambda d: d["annotations"][0].update(segmentation=[]), "segmentation is missing in 1"),
        (lambda d: d["annotations"][0].update(id=0), "id 0"),
    ],
)
def test_quirks_are_read_and_noted(tmp_path, change, note):
    truth = read_coco(write(tmp_path, changed(change)))
    assert len(truth.notes) == 1
    assert note in truth.notes[0]
    assert truth.category.tolist() == [1, 0]
    assert truth.area.tolist() in ([11.5, 4], [12, 4])


def test_missing_masks_are_null(tmp_path):
    one = read_coco(write(tmp_path, changed(lambda d: d["annotations"][0].pop("segmentation"))))
    assert one.masks.is_valid().to_pylist() == [False, True]
    none = read_coco(write(tmp_path, changed(lambda d: [row.pop("segmentation") for row in d["annotations"]])))
    assert none.masks is None
    for truth in (one, none):
        with pytest.raises(InputError, match="have no segmentation"):
            prepare(truth, Coco(iou_type="segm"))


def test_nan_in_ignored_fields_does_no_harm(tmp_path):
    truth = read_coco(write(tmp_path, changed(lambda d: d["annotations"][0].update(more=float("nan")))))
    assert len(truth) == 2


@pytest.mark.parametrize(
    ("document", "parts"),
    [
        (json.dumps(GOOD)[:-30], ["not complete JSON", "cut off"]),
        ("", ["the file is empty"]),
        ("[1]", ["expected a COCO ground truth object, got JSON list", "results file"]),
        *[
            (changed(lambda d, key=key: d.pop(key)), [f"'{key}' is missing"])
            for key in ("images", "annotations", "categories")
        ],
        (spoilt(image_id=99), ["annotation 1", "'image_id'", "no image 99"]),
        (spoilt(category_id=99), ["annotation 1", "'category_id'", "no category 99"]),
        (spoilt(bbox=[0, float("nan"), 1, 1]), ["annotation 1", "'bbox'", "finite", "NaN"]),
        (spoilt(bbox=[0, 0, float("inf"), 1]), ["annotation 1", "'bbox'", "Infinity"]),
        (spoilt(bbox=[0, 0, -2, 1]), ["annotation 1", "'bbox'", "negative", "-2.0"]),
        (spoilt(bbox=[0, 0, 1]), ["annotation 1", "'bbox'", "four", "[0, 0, 1]"]),
        (spoilt(bbox="x"), ["annotation 1", "'bbox'", "'x'"]),
        (spoilt(area="x"), ["annotation 1", "'area'", "'x'"]),
        (spoilt(id=5), ["annotation id 5 occurs more than once"]),
        (changed(lambda d: d["images"][1].update(id=7)), ["image id 7 occurs more than once"]),
        (changed(lambda d: d["categories"][1].update(id=2)), ["category id 2 occurs more than once"]),
        (changed(lambda d: d["images"][1].update(id="a")), ["image ids", "of one kind"]),
        (changed(lambda d: d["annotations"][1].pop("bbox")), ["annotation 1", "'bbox'", "is missing"]),
        (changed(lambda d: d["annotations"].__setitem__(1, 5)), ["annotation 1", "expected object"]),
        (spoilt(category_id="one"), ["annotation 1", "'category_id'", "whole number", "'one'"]),
        (spoilt(category_id=2**40), ["no category 1099511627776"]),
        (changed(lambda d: d["categories"][1].update(id=2**40)), ["category ids must be integers of 32 bits"]),
        (changed(lambda d: d["categories"][1].update(frequency="r")), ["category 0", "'frequency'"]),
        (changed(lambda d: d["images"][1].update(neg_category_ids=[77])), ["'neg_category_ids'", "no category 77"]),
        *[
            (changed(lambda d, size=size: d["images"][1].update(width=size)), ["image 1", "'width'", str(size)])
            for size in (10**12, 3 * 10**9)
        ],
        (changed(lambda d: d["images"][0].update(width=10**25)), ["image 0", "'width'"]),
        ("[" * 100_000, ["nested hundreds of lists or objects deep"]),
        (json.dumps(GOOD)[:-1] + ', "more": ' + "[" * 100_000 + "]" * 100_000 + "}", ["nested hundreds"]),
        *[
            (json.dumps(GOOD).replace(f'"{field}": {old}', f'"{field}": {"7" * 5000}'), [where, field, "5,000 digits"])
            for field, old, where in (
                ("image_id", 3, "annotation 1"),
                ("id", 7, "image 0"),
                ("area", 4, "annotation 1"),
            )
        ],
        (spoilt(category_id="7" * 5000), ["annotation 1", "'category_id'", "whole number", "'777"]),
        (
            json.dumps(GOOD).replace('"area": 4', '"area": 1e400'),
            ["annotation 1", "'area'", "number of 64 bits", "1e400"],
        ),
        # two faults, of which the first is met first
        (json.dumps(spoilt(bbox="x"))[:-30], ["not complete JSON", "cut off"]),
        (json.dumps(spoilt(bbox="x")).replace('"year": 2014', f'"year": {"7" * 5000}'), ["annotation 1", "'bbox'"]),
        (
            json.dumps(dict(reversed(spoilt(bbox="x").items()))).replace("b.jpg", "b\udcff.jpg"),
            ["not UTF-8 text", "b\\xff.jpg"],
        ),
    ],
)
def test_errors_name_the_place(tmp_path, document, parts):
    path = write(tmp_path, document)
    with pytest.raises(InputError) as caught:
        read_coco(path)
    message = str(caught.value)
    assert "truth.json" in message
    for part in parts:
        assert part in message


def test_missing_file_and_directory(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read_coco(tmp_path / "absent.json")
    with pytest.raises(InputError, match="directory"):
        read_coco(tmp_path)


@pytest.mark.parametrize(
    "segmentation",
    [
        [[1, 2, 3]],
        [5],
        {"size": [20, 30]},
        {"size": [20, 30], "counts": [700]},
        {"counts": "a"},
        [["a", 1, 2, 3]],
        "text",
        [[1, 1, 1e15, 1, 9, 9]],
        [[1, 1, 1e8, 1, 9, 9]],
        [[1, 1, 9, float("inf"), 9, 9]],
        [[1, 1, 9, float("nan"), 9, 9]],
        {"size": [3 * 10**9, 2], "counts": "00"},
        {"size": [10**6, 10**6], "counts": [0, 10**12]},
        {"size": [-1, -30], "counts": [30]},
    ],
)
def test_unreadable_segmentation_is_named(tmp_path, segmentation):
    truth = read_coco(write(tmp_path, changed(lambda d: d["annotations"][1].update(segmentation=segmentation))))
    with pytest.raises(InputError, match="annotation 1, field 'segmentation'"):
        _ = truth.masks


def test_a_number_too_long_in_a_field_that_is_not_read_does_no_harm(tmp_path):
    text = json.dumps(GOOD).replace('"year": 2014', f'"year": {"7" * 5000}')
    assert read_coco(write(tmp_path, text)).fingerprint == read_coco(write(tmp_path, GOOD)).fingerprint


def test_masks_of_more_pixels_than_run_lengths_count(tmp_path):
    truth = read_coco(write(tmp_path, changed(lambda d: d["images"][0].update(width=2 * 10**9))))
    with pytest.raises(InputError, match=r"annotation 0, field .segmentation.: .*20 x 2000000000 pixels"):
        _ = truth.masks


def test_polygons_need_image_sizes(tmp_path):
    truth = read_coco(write(tmp_path, changed(lambda d: d["images"][0].pop("height"))))
    with pytest.raises(InputError, match="no width and height"):
        _ = truth.masks


def test_string_image_ids(tmp_path):
    def change(document):
        for row in (*document["images"], *document["annotations"]):
            key = "id" if "height" in row else "image_id"
            row[key] = f"i{row[key]}"

    truth = read_coco(write(tmp_path, changed(change)))
    assert truth.image_id.tolist() == ["i3", "i7"]
    assert truth.image.tolist() == [1, 0]
    assert truth.subset(["i7"]).annotation_id.tolist() == [5]


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_entries_in_blocks_are_those_of_the_file(tmp_path_factory, data):
    """Columns against the file's own entries, whatever kinds of ids the blocks have."""
    names = data.draw(st.booleans())
    ids = data.draw(st.lists(st.integers(-9, 2**40), max_size=7, unique=True))
    lists = st.none() | st.lists(st.sampled_from([4, 5]), max_size=3)
    images = [
        {"id": str(key) if names else key, "width": 9, "neg_category_ids": data.draw(lists)}
        | data.draw(st.sampled_from([{}, {"file_name": "f.jpg"}, {"coco_url": "http://x/u.jpg"}]))
        for key in ids
    ]
    fields = st.fixed_dictionaries(
        {"category_id": st.sampled_from([4, 5, "5"])},
        optional={"area": st.none() | st.floats(0, 9), "iscrowd": st.sampled_from([0, 1, None]),
                  "ignore": st.sampled_from([0, True]), "segmentation": st.sampled_from([[], [[1, 1, 2, 1, 2, 2]]])},
    )  # fmt: skip
    count = data.draw(st.integers(0, 7)) if images else 0
    annotations = [
        {"id": row, "image_id": data.draw(st.sampled_from(images))["id"], "bbox": [row, 1, 2, 3]} | data.draw(fields)
        for row in range(count)
    ]
    path = tmp_path_factory.getbasetemp() / "blocks.json"
    categories = [{"id": 4, "name": "a"}, {"id": 5, "name": "b"}]
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("evaluation.coco_entries._BLOCK", data.draw(st.integers(1, 8)))
        truth = read_coco(path)
    by_id = {image["id"]: image for image in images}
    assert truth.image_id.tolist() == sorted(by_id)
    named = [i.get("file_name") or i.get("coco_url", "").rpartition("/")[2] for _, i in sorted(by_id.items())]
    assert truth.file_name.tolist() == named
    assert truth.image_id[truth.image].tolist() == [a["image_id"] for a in annotations]
    assert truth.category_id[truth.category].tolist() == [int(a["category_id"]) for a in annotations]
    assert truth.area.tolist() == [6.0 if a.get("area") is None else a["area"] for a in annotations]
    assert truth.crowd.tolist() == [bool(a.get("iscrowd")) for a in annotations]
    ignore = [bool(a.get("ignore")) for a in annotations]
    assert (truth.ignore is None) == (not any(ignore))
    assert truth.ignore is None or truth.ignore.tolist() == ignore
    masks = [bool(a.get("segmentation")) for a in annotations]
    assert (truth.segmentation is None) == (not any(masks))
    assert truth.segmentation is None or [len(bytes(text)) > 2 for text in truth.segmentation] == masks
    listed = [image["neg_category_ids"] for _, image in sorted(by_id.items())]
    if any(one is not None for one in listed):
        start, category = truth.negative
        found = [truth.category_id[category[low:high]].tolist() for low, high in itertools.pairwise(start)]
        assert found == [sorted(set(one or ())) for one in listed]
    else:
        assert truth.negative is None


def test_subset(tmp_path):
    truth = read_coco(write(tmp_path, GOOD))
    part = truth.subset([7])
    assert part.image_id.tolist() == [7]
    assert part.image.tolist() == [0]
    assert part.category_id.tolist() == [1, 2]
    assert part.category.tolist() == [1]
    assert part.masks.to_pylist() == truth.masks.to_pylist()[:1]
    assert truth.subset([7]).masks.to_pylist() == truth.masks.to_pylist()[:1]
    assert truth.subset([]).annotation_id.tolist() == []
    with pytest.raises(InputError, match="no image 8"):
        truth.subset([7, 8])


def test_fingerprint_depends_on_content_alone(tmp_path):
    truth = read_coco(write(tmp_path, GOOD))
    assert truth.fingerprint == read_coco(write(tmp_path, json.dumps(GOOD, indent=2))).fingerprint
    assert truth.fingerprint == "16a98e6824b98c50d0aefb009a5d8ead056bece8eb0a56cbe4e50539c82fcfe3"
    others = [
        changed(lambda d: d["annotations"][0].update(bbox=[1, 2, 3, 4.0000001])),
        changed(lambda d: d["categories"][0].update(name="cow")),
        changed(lambda d: d["annotations"][0].update(id=6)),
        changed(lambda d: d["images"].append({"id": 8})),
    ]
    seen = {read_coco(write(tmp_path, other)).fingerprint for other in others}
    assert len(seen | {truth.fingerprint}) == 5


def test_pickles(tmp_path):
    truth = pickle.loads(pickle.dumps(read_coco(write(tmp_path, GOOD))))
    assert truth.masks.to_pylist() == read_coco(write(tmp_path, GOOD)).masks.to_pylist()
    assert truth.fingerprint == read_coco(write(tmp_path, GOOD)).fingerprint


def test_arrays_of_different_lengths_are_refused():
    columns = {"image_id": [1], "category_id": [1], "annotation_image_id": [1], "annotation_category_id": [1]}
    with pytest.raises(InputError, match="column area has 2 rows"):
        GroundTruth.from_arrays(**columns, xywh=[[0, 0, 1, 1]], area=[1, 2])
    with pytest.raises(InputError, match="column segmentation has 2 rows"):
        GroundTruth.from_arrays(**columns, xywh=[[0, 0, 1, 1]], segmentation=[None, None])
    masks = pa.array([{"height": 2, "width": 2, "counts": b"04"}])
    assert GroundTruth.from_arrays(**columns, xywh=[[0, 0, 1, 1]], segmentation=masks).masks is masks


VALUES = (
    None,
    -1,
    0,
    2**31,
    2**63,
    10**30,
    1e300,
    float("nan"),
    "",
    "7",
    "\ud800",
    True,
    [],
    {},
    [[]],
    [None],
    {"size": 3},
)


def places(value, path=()):
    """The path of each value in a document."""
    yield path
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in inside:
        yield from places(part, (*path, key))


@settings(max_examples=400, deadline=None)
@given(data=st.data())
def test_a_damaged_file_is_read_or_refused_in_words(tmp_path_factory, data):
    document = copy.deepcopy(GOOD)
    for _ in range(data.draw(st.integers(0, 2))):
        *path, last = data.draw(st.sampled_from([path for path in places(document) if path]))
        holder = document
        for key in path:
            holder = holder[key]
        holder[last] = copy.deepcopy(data.draw(st.sampled_from(VALUES)))
    text = bytearray(json.dumps(document).encode())
    for _ in range(data.draw(st.integers(0, 2))):
        at = data.draw(st.integers(0, len(text) - 1))
        text[at : at + data.draw(st.integers(0, 3))] = bytes(data.draw(st.lists(st.integers(0, 255), max_size=3)))
    path = tmp_path_factory.mktemp("damaged") / "truth.json"
    path.write_bytes(bytes(text[: data.draw(st.just(len(text)) | st.integers(0, len(text)))]))
    message = "truth.json"
    try:
        truth = read_coco(path)
        _ = truth.masks, truth.fingerprint
        prepare(truth, Coco())
    except InputError as error:
        message = str(error)
    assert "truth.json" in message
    assert len(message) < 1000
