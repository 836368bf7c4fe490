import itertools
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pycocotools import mask as mask_codec

from fusion.coco_results import Reading, read_coco_results, write_coco_results
from fusion.coco_results.vocabulary import Vocabulary
from fusion.errors import InputError
from fusion.table import DetectionTable, Metadata
from tests.fusion.careful import only_careful

DATA = Path(__file__).parents[3] / "shared" / "data"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="the real files are not beside the checkout (../shared/data)")

KNOWN = Vocabulary(
    image_ids=np.array([10, 7, 2**40]),
    category_ids=np.array([1, 2, 90], np.int32),
    category_names=("person", "bicycle", "toothbrush"),
    file_names=("val/a.jpg", "val/b.jpg", "train/c.png"),
    sizes=np.array([[20, 30], [40, 50], [5, 6]], np.int32),
    where="gt.json",
)


READING = ("images", "image_offset", "categories", "category_offset", "label_map", "box_format", "picture")


def detection(**changes):
    record = {"image_id": 7, "category_id": 1, "bbox": [1.5, 2, 3.25, 4], "score": 0.5, **changes}
    return {name: value for name, value in record.items() if value is not ...}


def rle(height, width, low=0, high=0):
    pixels = np.zeros((height, width), np.uint8, order="F")
    pixels[low:high, low:high] = 1
    mask = mask_codec.encode(pixels)
    return {"size": [height, width], "counts": mask["counts"].decode()}


@pytest.fixture(params=[False, True], ids=["plain", "careful"])
def read(request, tmp_path):
    """Read results given as an object or as text, with either path of the reader."""

    def call(content, **options):
        path = tmp_path / "results.json"
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            path.write_text(content if isinstance(content, str) else json.dumps(content))
        said = {name: options.pop(name) for name in READING if name in options}
        with only_careful(request.param):
            return read_coco_results(path, reading=Reading(**said), **options)

    return call


def notes(table):
    return "\n".join(table.metadata.made_by["notes"])


def refused(read, content, *parts, **options):
    with pytest.raises(InputError) as caught:
        read(content, **options)
    for part in parts:
        assert part in str(caught.value)


def test_a_plain_list_keeps_every_bit_and_the_order(read):
    records = [
        detection(image_id=9, score=0.1 + 0.2, bbox=[1e-7, 123456789.123456789, 5e-324, 1.7976931348623157e308]),
        detection(image_id=3, score=-0.0, bbox=[-0.0, -1.5, 0, 12345678901234567890]),
        detection(image_id=9, category_id=80, score=9007199254740993, bbox=[0.1, 0.2, 0.3, 2.5e-3]),
    ]
    table = read(records)
    assert table.image_id.tolist() == [3, 9, 9]
    assert table.category_id.tolist() == [1, 1, 80]
    expected = [records[1], records[0], records[2]]
    assert table.score.tobytes() == np.array([r["score"] for r in expected], float).tobytes()
    assert table.xywh.tobytes() == np.array([r["bbox"] for r in expected], float).tobytes()
    assert table.mask is None
    assert table.metadata.boxes == "given"


def test_white_space_key_order_and_escapes_do_not_matter(read):
    text = '\n [ {"sc\\u006fre" : 1E-2 ,\t"bbox":[ 1 ,2.0,3e0 , 4 ] , "category_id":3,"image_id": 5 } \r\n ] \n'
    table = read(text)
    assert (table.image_id[0], table.category_id[0], table.score[0]) == (5, 3, 0.01)
    assert table.xywh.tolist() == [[1, 2, 3, 4]]


def test_a_key_given_twice_counts_as_the_last_one(read):
    assert read('[{"score":1,"image_id":1,"category_id":1,"bbox":[1,2,3,4],"score":0.25}]').score.tolist() == [0.25]


def test_blocks_smaller_than_a_record(tmp_path):
    records = [detection(image_id=i % 17, score=i / 7, segmentation=rle(30, 40, 3, i % 20 + 4)) for i in range(200)]
    path = tmp_path / "a.json"
    path.write_text(json.dumps(records))
    whole = read_coco_results(path)
    for block in (64, 333, 4096):
        assert read_coco_results(path, block=block).arrow.equals(whole.arrow)
        with only_careful():
            assert read_coco_results(path, block=block).arrow.equals(whole.arrow)


def test_progress_ends_at_the_size_of_the_file(tmp_path):
    path = tmp_path / "a.json"
    path.write_text(json.dumps([detection()] * 100))
    calls = []
    read_coco_results(path, block=1024, progress=lambda done, total: calls.append((done, total)))
    size = path.stat().st_size
    assert calls[-1] == (size, size)
    assert all(a <= b for a, b in itertools.pairwise(calls))


def test_no_results_are_a_table_of_no_rows(read):
    for content in ([], {"images": [], "annotations": [], "categories": []}):
        table = read(content, vocabulary=KNOWN)
        assert len(table) == 0
        assert "no detections" in notes(table)


def test_extra_keys_are_named_once(read):
    table = read([detection(area=3, id=1, tags=["a", 1, None], more={"x": [1]}), detection(area=True, id=2)])
    assert "ignored keys: area, id, more, tags" in notes(table)
    assert notes(table).count("area") == 1


def test_byte_order_mark(read):
    assert "byte order mark" in notes(read(b"\xef\xbb\xbf" + json.dumps([detection()]).encode()))


# masks


def test_masks_of_all_kinds(read):
    uncompressed = {"size": [20, 30], "counts": [100, 50, 450]}
    polygon = [[1, 1, 10, 1, 10, 8, 1, 8]]
    masks = [rle(20, 30, 3, 9), uncompressed, polygon, rle(20, 30), [], None, ...]
    table = read([detection(image_id=10, segmentation=mask) for mask in masks], vocabulary=KNOWN)
    found = table.mask.to_pylist()
    assert found[0] == {"height": 20, "width": 30, "counts": masks[0]["counts"].encode()}
    assert found[1]["counts"] == mask_codec.frPyObjects(uncompressed, 20, 30)["counts"]
    assert found[2]["counts"] == mask_codec.merge(mask_codec.frPyObjects(polygon, 20, 30))["counts"]
    assert mask_codec.area({"size": [20, 30], "counts": found[3]["counts"]}) == 0
    assert found[4:] == [None, None, None]
    assert "1 masks are polygons" in notes(table)


def test_polygons_need_a_size(read):
    polygons = [detection(segmentation=[[1, 1, 5, 1, 5, 5]])]
    refused(read, polygons, "image 7", "polygons", "size of the image")
    own = {"annotations": polygons, "categories": [], "images": [{"id": 7, "height": 10, "width": 12}]}
    assert read(own).mask[0].as_py()["height"] == 10


def test_many_long_polygon_masks_fit_in_the_batch(read):
    zigzag = [float(v) for i in range(60) for v in (i * 16, 3000 if i % 2 else 5)] + [959.0, 3.0, 0.0, 3.0]
    own = {"categories": [], "images": [{"id": 7, "height": 3001, "width": 1000}]}
    records = [detection(segmentation=[zigzag]), detection(), detection(segmentation=[zigzag])] * 4
    table = read(own | {"annotations": records}, block=2048)
    assert len({str(mask) for mask in table.mask.to_pylist()}) == 2
    expected = mask_codec.merge(mask_codec.frPyObjects([zigzag], 3001, 1000))["counts"]
    assert table.mask[0].as_py()["counts"] == expected


def test_backslashes_in_runs(read):
    for height in range(1, 200):
        mask = rle(height, 37, height // 3, height)
        if "\\" in mask["counts"]:
            assert read([detection(segmentation=mask)]).mask[0].as_py()["counts"] == mask["counts"].encode()


def test_boxes_from_masks(read):
    records = [detection(bbox=..., segmentation=rle(20, 30, 3, 9)), detection(bbox=None, segmentation=rle(20, 30))]
    table = read(records)
    assert table.metadata.boxes == "from_masks"
    assert table.xywh.tolist() == [[3, 3, 6, 6], [0, 0, 0, 0]]
    table = read([*records, detection()])
    assert table.metadata.boxes == "given"
    assert "2 of 3 detections have no bbox" in notes(table)


@pytest.mark.parametrize(
    "mask",
    [
        {"size": [20, 30], "counts": "5"},
        {"size": [20, 30], "counts": ""},
        {"size": [0, 0], "counts": ""},
        {"size": [20, 30], "counts": "b'abc'"},
        {"size": [20, 30], "counts": rle(20, 30, 2, 5)["counts"] + "o"},
        {"size": [30, 30], "counts": rle(20, 30, 2, 5)["counts"]},
        {"size": [20, 30], "counts": [100, 50]},
        {"size": [20, 30], "counts": [-1, 601]},
        {"size": [20, 30], "counts": []},
        {"size": [20, 30, 3], "counts": "x"},
        {"size": [20.5, 30], "counts": "x"},
        {"size": [2**40, 30], "counts": "x"},
        {"size": [60000, 60000000], "counts": "x"},
        {"size": [20, 30], "counts": "é"},
        {"counts": "x"},
        "text",
        [[1, 2, 3, 4]],
        [[1, 2, 3, 4, 5, "6"]],
        [[1, 2, 3, 4, 5, 1e300]],
        [3],
    ],
)
def test_bad_masks(read, mask):
    refused(read, [detection(), detection(segmentation=mask)], "record 1", "segmentation", vocabulary=KNOWN)


def test_masks_of_another_size_than_the_image(read):
    records = [detection(segmentation=rle(40, 50, 1, 3)), detection(image_id=10, segmentation=rle(40, 50, 1, 3))]
    refused(read, records, "record 1", "[40, 50]", "[20, 30]", vocabulary=KNOWN)


# values that are not allowed


@pytest.mark.parametrize("token", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999", "1" + "0" * 400])
def test_values_that_are_not_finite(read, token):
    text = json.dumps([detection()] * 9)
    text = text[:-1] + "," + json.dumps(detection(score=77)).replace("77", token) + ","
    text += ",".join([json.dumps(detection()).replace("1.5", token)] * 6) + "]"
    refused(read, text, "record 9, field 'score'", "a finite number", "6 more times", "record 10 (bbox:", "3 others")


def test_extreme_but_finite_numbers(read):
    tokens = ["1e-400", "0.0000e99999", "-0e-999", "4.9e-324", "1" + "0" * 300, "0." + "0" * 330 + "1", "1e308", "-0"]
    text = ",".join(json.dumps(detection(score=77)).replace("77", token) for token in tokens)
    expected = np.array([float(json.loads(token)) for token in tokens])
    assert read(f"[{text}]").score.tobytes() == expected.tobytes()


@pytest.mark.parametrize(
    ("changes", "field", "got"),
    [
        ({"score": "0.5"}, "score", '"0.5"'),
        ({"score": None}, "score", "null"),
        ({"score": True}, "score", "true"),
        ({"score": [0.5]}, "score", "[0.5]"),
        ({"score": ...}, "score", "only image_id"),
        ({"bbox": [1, 2, 3]}, "bbox", "[1, 2, 3]"),
        ({"bbox": [1, 2, 3, 4, 5]}, "bbox", "[1, 2, 3, 4, 5]"),
        ({"bbox": [1, 2, 3, "4"]}, "bbox", '"4"'),
        ({"bbox": [1, 2, 3, None]}, "bbox", "null"),
        ({"bbox": []}, "bbox", "[]"),
        ({"bbox": {"x": 1}}, "bbox", '{"x": 1}'),
        ({"bbox": 3}, "bbox", "3"),
        ({"bbox": ...}, "bbox", "neither"),
        ({"bbox": [1, 2, -3, 4]}, "bbox", "width -3"),
        ({"bbox": [1, 2, 3, -0.5]}, "bbox", "height -0.5"),
        ({"image_id": ...}, "image_id", "only category_id"),
        ({"image_id": 1.5}, "image_id", "1.5"),
        ({"image_id": None}, "image_id", "null"),
        ({"image_id": True}, "image_id", "true"),
        ({"image_id": 2**63}, "image_id", "9223372036854775808"),
        ({"category_id": ...}, "category_id", "only image_id"),
        ({"category_id": [1]}, "category_id", "[1]"),
        ({"category_id": 2**70}, "category_id", "64 bits"),
        ({"category_id": ""}, "category_id", "empty"),
    ],
)
def test_one_bad_field(read, changes, field, got):
    refused(read, [detection(), detection(), detection(**changes)], "record 2", f"field '{field}'", got)


def test_a_lone_surrogate_is_no_id(read):
    refused(read, '[{"image_id":"\\ud800","category_id":1,"bbox":[1,2,3,4],"score":1}]', "record 0", "Unicode")


def test_records_that_are_no_objects(read):
    refused(read, [detection(), 5, "a", None, [detection()]], "record 1", "expected an object", "3 more times")


def test_several_kinds_of_faults(read):
    records = [detection(), detection(score="1"), detection(bbox=[1, 2, -1, 2]), detection(image_id=None)]
    parts = ("record 1, field 'score'", "record 2, field 'bbox'", "box_format='xyxy'", "record 3, field 'image_id'")
    refused(read, records, *parts)
    records += [detection(image_id=8), detection(category_id=5)]
    refused(read, records, *parts, "1 detection is on 1 image", "1 of its categories", vocabulary=KNOWN)


def test_largest_ids(read):
    table = read([detection(image_id=2**63 - 1), detection(image_id=-(2**63)), detection(image_id=10**18)])
    assert table.image_id.tolist() == [-(2**63), 10**18, 2**63 - 1]
    refused(read, [detection(category_id=2**31)], "32 bits")
    refused(read, [detection(image_id=2**63 - 1)], "64 bits", image_offset=1)


# options and quirks


def test_text_category_ids(read):
    table = read([detection(category_id="1"), detection(category_id=2)], vocabulary=KNOWN)
    assert table.category_id.tolist() == [1, 2]
    assert "category ids are texts, read as integers" in notes(table)
    refused(read, [detection(category_id="person")], "'person'", "Give the ground truth")
    table = read([detection(category_id="person"), detection(category_id="Tooth_Brush")], vocabulary=KNOWN)
    assert table.category_id.tolist() == [1, 90]
    assert "2 categories joined by name" in notes(table)
    assert "'Tooth_Brush' for 'toothbrush'" in notes(table)
    refused(read, [detection(category_id="01")], "'01'")


def test_whole_floats_as_ids(read):
    table = read([detection(image_id=5.0, category_id=1.0)])
    assert (table.image_id[0], table.category_id[0]) == (5, 1)
    assert "2 ids are written as floats" in notes(table)


def test_text_image_ids(read):
    table = read([detection(image_id="b/é"), detection(image_id="a"), detection(image_id="b/é", score=0.1)])
    assert table.image_id.tolist() == ["a", "b/é", "b/é"]
    assert table.score.tolist() == [0.5, 0.5, 0.1]
    refused(read, [detection(), detection(image_id="7")], "record 1, field 'image_id'", "an integer", "a text")
    table = read([detection(image_id="7"), detection(image_id="10")], vocabulary=KNOWN)
    assert table.image_id.tolist() == [7, 10]
    assert "read as integers" in notes(table)


def test_integer_ids_where_the_ground_truth_has_texts(read):
    known = Vocabulary(np.array(["7", "x"], object), KNOWN.category_ids, KNOWN.category_names)
    table = read([detection()], vocabulary=known)
    assert table.image_id.tolist() == ["7"]
    assert "read as texts" in notes(table)


def test_categories_by_name(read):
    records = [detection(category_id="toothbrush"), detection(category_id="person")]
    assert read(records, vocabulary=KNOWN, categories="name").category_id.tolist() == [90, 1]
    refused(read, records, "option categories", categories="name")
    refused(read, [detection()], "no name", vocabulary=KNOWN, categories="name")
    refused(read, [detection(category_id="cat")], "none of its categories", "cat", vocabulary=KNOWN, categories="name")


def test_label_map(read):
    records = [detection(category_id=5), detection(category_id="bike"), detection(category_id="6")]
    mapped = {5: "person", "bike": 2, "6": "toothbrush"}
    assert read(records, vocabulary=KNOWN, label_map=mapped).category_id.tolist() == [1, 2, 90]
    assert read(records, vocabulary=KNOWN, label_map={"5": 1, "bike": 2, 6: 90}).category_id.tolist() == [1, 2, 90]
    del mapped["bike"]
    refused(read, records, "label map", "bike", vocabulary=KNOWN, label_map=mapped)
    table = read(records, vocabulary=KNOWN, label_map=mapped, unknown_categories="drop")
    assert table.category_id.tolist() == [1, 90]
    assert "dropped: 1 detections" in notes(table)
    refused(read, records, "label_map", "'cat'", vocabulary=KNOWN, label_map={5: "cat"})


def test_offsets(read):
    table = read([detection(image_id=6, category_id=0)], vocabulary=KNOWN, image_offset=1, category_offset=1)
    assert (table.image_id[0], table.category_id[0]) == (7, 1)
    assert "1 added to image ids" in notes(table)
    assert "1 added to category ids" in notes(table)
    assert read([detection()], image_offset=-3).image_id[0] == 4
    near = Vocabulary(KNOWN.image_ids, np.array([1, 2, 3], np.int32), KNOWN.category_names)
    refused(read, [detection(category_id=0), detection(category_id=1)], "category_offset=1", vocabulary=near)
    # no offset is right for all of 1, 2 and 90
    refused(read, [detection(category_id=0), detection(category_id=1)], "categories='order'", vocabulary=KNOWN)
    refused(read, [detection()], "category_offset", category_offset=1, label_map={1: 1})


def test_unknown_images(read):
    records = [detection(), detection(image_id=8), detection(image_id=9), detection(image_id=9)]
    refused(read, records, "3 detections", "2 images", "8, 9", "unknown_images='drop'", vocabulary=KNOWN)
    table = read(records, vocabulary=KNOWN, unknown_images="drop")
    assert table.image_id.tolist() == [7]
    assert "3 detections are on 2 images" in notes(table)
    for option in ("error", "drop"):
        refused(read, records[1:], "no image in common", "gt.json", vocabulary=KNOWN, unknown_images=option)


def test_unknown_categories(read):
    records = [detection(), detection(category_id=3)]
    refused(read, records, "1 of its categories", "unknown_categories='drop'", vocabulary=KNOWN)
    assert len(read(records, vocabulary=KNOWN, unknown_categories="drop")) == 1
    refused(read, records[1:], "none of its categories", vocabulary=KNOWN, unknown_categories="drop")


def test_images_by_file_name(read):
    records = [detection(image_id="val/a.jpg"), detection(image_id="x\\b.jpg"), detection(image_id="c")]
    table = read(records, vocabulary=KNOWN, images="file_name")
    assert table.image_id.tolist() == [7, 10, 2**40]
    assert "1 as they are, 1 without folders, 1 without folders and suffixes" in notes(table)
    refused(read, [*records, detection(image_id="a.png")], "both file names fit", vocabulary=KNOWN, images="file_name")
    refused(read, [detection()], "no image in common", "val/a.jpg", vocabulary=KNOWN, images="file_name")
    refused(read, records, "option images", images="file_name")
    two = Vocabulary(np.array([1, 2]), KNOWN.category_ids, KNOWN.category_names, ("x/a.jpg", "y/a.jpg"))
    refused(read, [detection(image_id="a.jpg")], "several images", vocabulary=two, images="file_name")
    assert read([detection(image_id="y/a.jpg")], vocabulary=two, images="file_name").image_id.tolist() == [2]


def test_images_that_are_counted(read):
    records = [detection(image_id=i, score=i / 4) for i in range(3)]  # KNOWN lists 10, 7 and 2**40
    for how, ids in (("order", [10, 7, 2**40]), ("id_order", [7, 10, 2**40]), ("name_order", [2**40, 10, 7])):
        table = read(records, vocabulary=KNOWN, images=how)
        assert dict(zip(table.score.tolist(), table.image_id.tolist(), strict=True)) == dict(
            zip((0.0, 0.25, 0.5), ids, strict=True)
        )
        assert "image ids count the images" in notes(table)
        one = [record | {"image_id": record["image_id"] + 1} for record in records]
        assert read(one, vocabulary=KNOWN, images=how, image_offset=-1).arrow.equals(table.arrow)
    refused(read, [*records, detection(image_id=3)], "1 image that", "3", vocabulary=KNOWN, images="order")


def test_text_ids_with_leading_zeros(read):
    bare = Vocabulary(KNOWN.image_ids, KNOWN.category_ids, KNOWN.category_names)
    table = read([detection(image_id="0007"), detection(image_id="00010")], vocabulary=bare)
    assert table.image_id.tolist() == [7, 10]
    assert "texts, read as integers" in notes(table)


def test_names_beside_ids_or_in_their_place(read):
    named = [
        detection(image_id=..., file_name="C:\\x\\val\\a.jpg", category_id=..., category_name="Person"),
        detection(image_id=10, image_name="b", category_id=90, category_name="bicycle"),
    ]
    table = read(named, vocabulary=KNOWN)
    assert table.image_id.tolist() == [7, 10]
    assert table.category_id.tolist() == [2, 1]
    refused(read, named, "names and no ids", "Give the ground truth")
    refused(read, [detection(image_id=...)], "record 0, field 'image_id'", vocabulary=KNOWN)
    refused(read, [detection(category_id=None)], "record 0, field 'category_id'", vocabulary=KNOWN)
    # names that the ground truth does not have say nothing
    other = [detection(file_name="z.jpg", category_name="cat")]
    table = read(other, vocabulary=KNOWN)
    assert (table.image_id.tolist(), table.category_id.tolist()) == ([7], [1])
    assert "joined by id" in notes(table)


def test_dictionary_with_its_own_lists_in_any_order(read):
    own_images = [{"id": 0, "file_name": "b.jpg"}, {"id": 1, "file_name": "a.jpg"}]
    own_categories = [{"id": 2, "name": "person"}, {"id": 1, "name": "bicycle"}]
    records = [detection(image_id=1, category_id=2, id=0), detection(image_id=0, category_id=1, id=1)]
    parts = {"info": {"a": [1, {"b": 2}]}, "annotations": records, "images": own_images, "categories": own_categories}
    for keys in (["info", "images", "categories", "annotations"], ["annotations", "categories", "info", "images"]):
        content = {key: parts[key] for key in keys}
        table = read(content, vocabulary=KNOWN, images="file_name", categories="name")
        assert table.image_id.tolist() == [7, 10]
        assert table.category_id.tolist() == [2, 1]
        assert read(content).image_id.tolist() == [0, 1]


def test_names_win_over_ids_that_mean_something_else(read):
    content = {"images": [], "categories": [{"id": 1, "name": "bicycle"}], "annotations": [detection()]}
    table = read(content, vocabulary=KNOWN)
    assert table.category_id.tolist() == [2]
    assert "category 1 is 'bicycle' here; 'person' there" in notes(table)
    assert read(content, vocabulary=KNOWN, categories="id").category_id.tolist() == [1]
    content = {"images": [{"id": 7, "file_name": "a.jpg"}], "categories": [], "annotations": [detection()]}
    table = read(content, vocabulary=KNOWN)
    assert table.image_id.tolist() == [10]
    assert "image 7 is 'a.jpg' here and 'val/b.jpg' there" in notes(table)
    assert read(content, vocabulary=KNOWN, images="id").image_id.tolist() == [7]


def test_corners(read):
    table = read([detection(bbox=[10, 20, 15.5, 20])], box_format="xyxy")
    assert table.xywh.tolist() == [[10, 20, 5.5, 0]]
    assert "xyxy" in notes(table)
    refused(read, [detection(bbox=[10, 20, 5, 30])], "record 0", "width -5", box_format="xyxy")
    refused(read, [detection(bbox=[-1.7e308, 0, 1.7e308, 1])], "record 0", "finite", box_format="xyxy")


def test_scores_beyond_one(read):
    records = [detection(score=495.7), detection(score=-2), detection(score=1)]
    assert "scores from -2 to 495.7" in notes(read(records))
    refused(read, records, "record 0, field 'score'", "[0, 1]", "495.7", "record 1", scores="unit")
    assert "scores" not in notes(read([detection()]))


@pytest.mark.parametrize("option", ["images", "categories", "unknown_images", "unknown_categories", "box_format"])
def test_bad_options(read, option):
    refused(read, [detection()], f"option {option}", "'x'", **{option: "x"})


def test_metadata_is_kept(read):
    table = read([detection()], metadata=Metadata(member="m", dataset="d", made_by={"checkpoint": "c"}))
    assert (table.metadata.member, table.metadata.dataset) == ("m", "d")
    assert table.metadata.made_by["checkpoint"] == "c"
    assert table.metadata.made_by["source"] == "results.json"


# files that are something else

WHOLE = json.dumps(
    [detection(segmentation=rle(20, 30, 2, 9), note='a\\"b é', extra=[1, {"x": None}]), detection(), detection()]
)


def test_truncated_at_every_byte(read):
    for end in range(len(WHOLE)):
        refused(read, WHOLE[:end], "results.json")
    refused(read, WHOLE[:-10], "record 2", "truncated")


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (b"", "empty"),
        (b"  \n", "white space"),
        (b"hello", "no JSON"),
        (b"<html></html>", "XML or HTML"),
        (b'<?xml version="1.0"?>\n<annotation/>', "XML"),
        (b"\x80\x04\x95\x0b.", "a pickle"),
        ("\x80\x04\x95\x0b.".encode(), "a pickle"),
        (b"\x89HDF\r\n\x1a\n", "HDF5"),
        (b"image_id,label,xmin\n12,person,4\n", "`quorum import`"),
        (b"0 0.5 0.5 0.2 0.1 0.9\n", "YOLO"),
        (b"5", "got 5"),
        (b"null", "got null"),
        (b'"text"', 'got "text"'),
        (b"{}", "empty dictionary"),
        (b"[[", "truncated"),
        (b"[1 2]", "byte 3"),
        (b"[1,]", "is not JSON"),
        (b"[,1]", "byte 1"),
        (b"[}", "byte 1"),
        (b"[]]", "byte 2"),
        (b"[{]", "byte"),
        (b"[{}} ]", "byte 3"),
        (b'[{"image_id":}]', "record 0"),
        (b'[{"image_id":01}]', "record 0, byte"),
        (b'[{"image_id":1.}]', "record 0, byte"),
        (b'[{"a":tru}]', "record 0, byte"),
        (b'[{"a":"\t"}]', "record 0, byte 7"),
        (b'[{"a":"\\x"}]', "record 0, byte"),
        (b"[{'a':1}]", "record 0, byte 2"),
        (b'[{"a":"\xff\xfe"}]', "byte 7"),
        (b"\xff\xfe[\0]\0", "UTF-16"),
        (b"\x1f\x8b\x08\x00", "gzip"),
        (b"PK\x03\x04zip", "zip"),
        (b"PAR1abc", "Parquet"),
        (b"[" * 100000, "deep"),
        (b'[{"a":' * 5000, "deep"),
        (b"[" + b"9" * 5000 + b"]", "digits"),
        (b'{"annotations":5}', "expected a list"),
        (b'{"images":[],"annotations":[}', "byte"),
        (b'{"images":[5],"annotations":[]}', "'id'"),
        (b'{"images" [],"annotations":[]}', "delimiter"),
        (b'{"annotations":[] "images":[]}', "delimiter"),
        (b"{5:1}", "byte 1"),
        (b'{"image_id":1,"score":2}\n{"image_id":1}', "one list"),
        (b'{"info":{},"images":[{"image_id":1,"id":1,"dets":[]}]}', "annotations"),
        (b"[]garbage", "byte 2"),
    ],
)
def test_files_that_are_no_results(read, content, part):
    refused(read, content, "results.json", part)


def test_other_kinds_of_results(read):
    refused(read, [{"image_id": 1, "category_id": 1, "keypoints": [1, 2, 2], "score": 1}], "keypoint")
    refused(read, [{"image_id": 1, "segments_info": [], "file_name": "a"}], "panoptic")
    truth = {"images": [{"id": 7}], "categories": [], "annotations": [detection(score=..., iscrowd=0, area=2, id=1)]}
    refused(read, truth, "no score", "ground truth")
    refused(read, truth["annotations"], "no score", "ground truth")


def test_places_that_cannot_be_read(tmp_path):
    with pytest.raises(InputError, match="directory"):
        read_coco_results(tmp_path)
    with pytest.raises(InputError, match="no such file"):
        read_coco_results(tmp_path / "none.json")


# writing


def test_round_trip_of_every_bit(tmp_path):
    rng = np.random.default_rng(5)
    n = 70000  # more than two blocks
    xywh = np.abs(rng.standard_normal((n, 4))) * 10.0 ** rng.integers(-300, 300, (n, 4))
    table = DetectionTable.from_arrays(
        image_id=np.sort(rng.integers(-(2**62), 2**62, n // 10))[rng.integers(0, n // 10, n)],
        category_id=rng.integers(-5, 90, n),
        score=rng.standard_normal(n),
        xywh=xywh,
    )
    path = tmp_path / "a.json"
    write_coco_results(table, path)
    assert read_coco_results(path).arrow.equals(table.arrow)
    records = json.loads(path.read_text())
    assert [r["score"] for r in records] == table.score.tolist()
    assert [r["bbox"] for r in records] == table.xywh.tolist()
    assert [r["image_id"] for r in records] == table.image_id.tolist()
    assert all(isinstance(r["category_id"], int) for r in records[:100])


def test_round_trip_of_masks_and_text_ids(read, tmp_path):
    records = [
        detection(image_id=f'i"{i % 5}\\é,\n', score=i / 7, segmentation=rle(30, 41, i % 20, 25) if i % 3 else None)
        for i in range(50)
    ]
    table = read(records)
    write_coco_results(table, tmp_path / "b.json")
    again = json.loads((tmp_path / "b.json").read_text())
    expected = sorted(records, key=lambda r: r["image_id"])
    assert again == [{k: v for k, v in r.items() if v is not None} for r in expected]
    assert read_coco_results(tmp_path / "b.json").arrow.equals(table.arrow)


def test_boxes_from_masks_are_left_out_unless_changed(read, tmp_path):
    records = [detection(bbox=..., segmentation=rle(20, 30, 3, 9)), detection(bbox=..., segmentation=rle(20, 30))]
    table = read(records)
    write_coco_results(table, tmp_path / "b.json")
    assert json.loads((tmp_path / "b.json").read_text()) == records
    moved = table.arrow.set_column(table.arrow.column_names.index("x"), "x", pa.array([3.0, 1.0]))
    write_coco_results(DetectionTable.from_arrow(moved, table.metadata), tmp_path / "c.json")
    assert json.loads((tmp_path / "c.json").read_text())[1]["bbox"] == [1, 0, 0, 0]


def test_float32_columns_are_written_as_the_numbers_they_equal(tmp_path):
    score = np.array([0.1, 1 / 3], np.float32)
    table = DetectionTable.from_arrays(
        image_id=[1, 1], category_id=[1, 1], score=score, xywh=np.full((2, 4), 0.7, np.float32)
    )
    write_coco_results(table, tmp_path / "a.json")
    again = read_coco_results(tmp_path / "a.json")
    assert again.score.tolist() == score.astype(np.float64).tolist()
    assert np.array_equal(again.xywh, table.xywh)


def test_writing_nothing_and_writing_where_one_cannot(read, tmp_path):
    table = read([])
    write_coco_results(table, tmp_path / "e.json")
    assert json.loads((tmp_path / "e.json").read_text()) == []
    with pytest.raises(InputError, match="directory"):
        write_coco_results(table, tmp_path)
    with pytest.raises(InputError, match="pixels"):
        write_coco_results(table.with_metadata(unit="normalized"), tmp_path / "n.json")


def test_an_interrupted_write_leaves_the_old_file(read, tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    path = folder / "a.json"
    path.write_text("old")
    table = read([detection()])

    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_coco_results(table, path, progress=stop)
    assert path.read_text() == "old"
    assert [file.name for file in folder.iterdir()] == ["a.json"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full to stand for a full disk")
def test_a_full_disk(read, tmp_path, monkeypatch):
    table = read([detection()])
    monkeypatch.setattr("fusion.atomic._make", lambda target, folder, stack: Path("/dev/full"))
    monkeypatch.setattr("fusion.atomic.Path.unlink", lambda self, missing_ok: None)
    with pytest.raises(InputError, match="No space left"):
        write_coco_results(table, tmp_path / "a.json")
    assert not (tmp_path / "a.json").exists()


# real files


def oracle(records):
    """Return the records, sorted by image, as the plain lists that a table should hold."""
    rows = sorted(records, key=lambda r: r["image_id"])
    return (
        [r["image_id"] for r in rows],
        [int(r["category_id"]) for r in rows],
        [float(r["score"]) for r in rows],
        [[float(x) for x in r["bbox"]] if "bbox" in r else mask_codec.toBbox(r["segmentation"]).tolist() for r in rows],
        [r["segmentation"]["counts"].encode() if r.get("segmentation") else None for r in rows],
    )


@needs_data
@pytest.mark.parametrize(
    ("pattern", "count"),
    [
        ("mvor/detections_results/*.json", 33427),
        ("coco_fake100/*results.json", 1468),
        ("yolact/group_a/coco_format/*.json", 13525),
        ("voc100/dets/coco_format/*.json", 452),
    ],
)
def test_real_files(pattern, count, tmp_path):
    total = 0
    for path in sorted(DATA.glob(pattern)):
        content = json.loads(path.read_text())
        expected = oracle(content["annotations"] if isinstance(content, dict) else content)
        for careful, block in ((False, 8 << 20), (False, 4000), (True, 100000)):
            with only_careful(careful):
                table = read_coco_results(path, block=block)
            counts = [m and m["counts"] for m in (table.mask.to_pylist() if table.mask else [None] * len(table))]
            columns = (table.image_id, table.category_id, table.score, table.xywh)
            assert (*(column.tolist() for column in columns), counts) == expected
        write_coco_results(table, tmp_path / "out.json")
        assert read_coco_results(tmp_path / "out.json").arrow.equals(table.arrow)
        total += len(table)
    assert total == count


@needs_data
def test_voc100_joins_by_file_name_and_category_name():
    truth = json.loads((DATA / "voc100/gts/coco_format_v1/instances_default.json").read_text())
    known = Vocabulary(
        np.array([image["id"] for image in truth["images"]]),
        np.array([category["id"] for category in truth["categories"]], np.int32),
        tuple(category["name"] for category in truth["categories"]),
        tuple(image["file_name"] for image in truth["images"]),
    )
    path = DATA / "voc100/dets/coco_format/coco_dets.json"
    own = json.loads(path.read_text())
    table = read_coco_results(path, vocabulary=known)
    assert table.arrow.equals(
        read_coco_results(path, vocabulary=known, reading=Reading(images="file_name", categories="name")).arrow
    )
    image_of = {image["file_name"]: image["id"] for image in truth["images"]}
    category_of = {category["name"]: category["id"] for category in truth["categories"]}
    file_name = {image["id"]: image["file_name"] for image in own["images"]}
    name = {category["id"]: category["name"] for category in own["categories"]}
    expected = sorted(
        (image_of[file_name[r["image_id"]]], category_of[name[r["category_id"]]], r["score"])
        for r in own["annotations"]
    )
    columns = zip(table.image_id.tolist(), table.category_id.tolist(), table.score.tolist(), strict=True)
    assert sorted(columns) == expected


@needs_data
def test_a_ground_truth_is_not_results():
    for name in ("coco_fake100/instances_val2014_100.json", "lvis100/lvis_val_100.json"):
        with pytest.raises(InputError, match="no score"):
            read_coco_results(DATA / name)
    with pytest.raises(InputError, match="annotations"):
        read_coco_results(DATA / "yolact/group_a/web_dets/yolact_base.json")
