"""Each check on a file made for it, and the figures that it says against pycocotools."""

import copy
import json
from pathlib import Path

import numpy as np
import pytest
from pycocotools import mask as rle

from evaluation import Coco, Lvis, read_coco
from evaluation.checks import check_names
from evaluation.checks.splits import plain_name
from evaluation.mended_reading import read_mended
from evaluation.truth_check import PERFECT, check_truth
from fusion.errors import InputError
from tests.evaluation.cases import official


def box(number, image, category, xywh, **more):
    return {
        "id": number,
        "image_id": image,
        "category_id": category,
        "bbox": xywh,
        "area": xywh[2] * xywh[3],
        "iscrowd": 0,
    } | more


@pytest.fixture
def clean():
    """Ten objects in each of two categories, nothing to find."""
    images = [{"id": i, "width": 100, "height": 80, "file_name": f"{i}.jpg"} for i in (1, 2)]
    rows = [box(n, 1 + n % 2, 1 + n // 11, [3.0 * n, 2.0 * n, 20.0, 30.0]) for n in range(1, 21)]
    categories = [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]
    return {"images": images, "annotations": rows, "categories": categories}


@pytest.fixture
def checked(tmp_path):
    """Write a data set and check it: findings by name of the check."""

    def check(dataset, **options):
        path = tmp_path / "gt.json"
        path.write_text(json.dumps(dataset))
        truth, refused = read_mended(path)
        result = check_truth(truth, refused=refused, **options)
        found = {}
        for finding in result.findings:
            found.setdefault(finding.check, []).append(finding)
        found.pop("reading", None)
        assert result.changes == any(one.changes for ones in found.values() for one in ones)
        return found

    return check


def only(found, check, *, changes, count, words):
    """The one finding there is."""
    assert list(found) == [check]
    [finding] = found[check]
    assert (finding.changes, finding.count) == (changes, count)
    assert words in finding.what
    return finding


def perfect_ap(dataset, objects):
    """AP by pycocotools of objects as detections, on a data set."""
    rows = [
        {"image_id": row["image_id"], "category_id": row["category_id"], "bbox": row["bbox"], "score": 1.0}
        for row in objects
    ]
    return official(dataset, rows).stats[0]


def test_nothing_to_find(clean, checked):
    assert checked(clean) == {}


def test_annotation_id_zero(clean, checked):
    clean["annotations"][4]["id"] = 0
    finding = only(checked(clean), "annotation_id_zero", changes=True, count=1, words="id 0")
    assert finding.measured[PERFECT]["AP"] == (perfect_ap(clean, clean["annotations"]), 1.0)
    assert finding.measured[PERFECT]["AP"][0] < 1


def test_duplicate_boxes(clean, checked):
    objects = list(clean["annotations"])
    clean["annotations"].append({**objects[3], "id": 99})
    finding = only(
        checked(clean), "duplicate_boxes", changes=True, count=1, words="same box as another of their category"
    )
    assert finding.examples == [{"annotation": 99, "image": 1, "category": "cat"}]
    assert finding.measured[PERFECT]["AP"] == (perfect_ap(clean, objects), 1.0)
    assert finding.measured[PERFECT]["AP"][0] < 1


def test_a_box_of_two_categories(clean, checked):
    clean["annotations"][-1] |= {"bbox": clean["annotations"][1]["bbox"], "image_id": 1}
    only(checked(clean), "duplicate_boxes", changes=False, count=1, words="of another category")


def test_empty_and_thin_boxes(clean, checked):
    clean["annotations"][0] |= {"bbox": [5, 5, 0, 10], "area": 0}
    clean["annotations"][1] |= {"bbox": [5, 5, 0.5, 10], "area": 5}
    found = checked(clean)
    assert list(found) == ["empty_boxes"]
    empty, thin = found["empty_boxes"]
    assert (empty.changes, empty.count, thin.changes, thin.count) == (True, 1, False, 1)
    assert empty.measured[PERFECT]["AP"] == (perfect_ap(clean, clean["annotations"][1:]), 1.0)


def test_boxes_outside_and_over_the_border(clean, checked):
    clean["annotations"][0] |= {"bbox": [200, 5, 20, 30]}
    clean["annotations"][1] |= {"bbox": [90, 5, 20, 30]}
    clean["annotations"][2] |= {"bbox": [80.5, 5, 20, 30]}  # half a pixel is rounding
    found = checked(clean)
    assert list(found) == ["boxes_outside"]
    gone, over = found["boxes_outside"]
    assert (gone.changes, gone.count, over.changes, over.count) == (True, 1, True, 1)
    cut = copy.deepcopy(clean["annotations"])
    cut[1]["bbox"] = [90, 5, 10, 30]
    assert over.measured[PERFECT]["AP"][0] == perfect_ap(clean, cut)


def with_masks(dataset):
    for row in dataset["annotations"]:
        x, y, w, h = row["bbox"]
        row["segmentation"] = [[x, y, x + w, y, x + w, y + h, x, y + h]]
    return dataset


def test_masks_that_fit_are_nothing_to_find(clean, checked):
    assert checked(with_masks(clean)) == {}


def test_masks_and_boxes_that_differ(clean, checked):
    with_masks(clean)["annotations"][2]["bbox"] = [9, 6, 20, 15]
    finding = only(checked(clean), "masks_and_boxes", changes=True, count=1, words="does not fit their mask")
    given, mended = finding.measured[PERFECT]["AP"]
    assert given < mended == 1


def test_empty_masks_and_masks_of_another_size(clean, checked):
    rows = with_masks(clean)["annotations"]
    for row, bitmap in ((rows[0], np.zeros((80, 100), np.uint8)), (rows[1], np.zeros((40, 50), np.uint8))):
        x, y, w, h = (int(v) for v in row["bbox"])
        bitmap[y : y + h, x : x + w] = row is rows[1]
        text = rle.encode(np.asfortranarray(bitmap))
        row["segmentation"] = {"size": text["size"], "counts": text["counts"].decode()}
    found = checked(clean)
    assert [finding.count for finding in found["masks_and_boxes"]] == [1, 1]
    assert "without a pixel" in found["masks_and_boxes"][0].what
    assert "another size" in found["masks_and_boxes"][1].what


def test_masks_that_cannot_be_read(clean, checked):
    with_masks(clean)["annotations"][2]["segmentation"] = {"size": [80, 100], "counts": "nonsense!"}
    finding = only(checked(clean), "masks_and_boxes", changes=True, count=1, words="annotation 2")
    assert "mended" in finding.effect


def test_areas(clean, checked):
    clean["annotations"][0]["area"] = 2000.0  # medium instead of small
    clean["annotations"][1]["area"] = 700.0
    found = checked(clean)
    assert list(found) == ["areas"]
    moved, off = found["areas"]
    assert (moved.changes, moved.count, off.changes, off.count) == (True, 1, False, 1)
    assert list(moved.measured[PERFECT]) == ["APs", "APm", "APl"]
    assert moved.measured[PERFECT]["APm"][1] != moved.measured[PERFECT]["APm"][0]


def test_categories_without_objects_and_of_one_name(clean, checked):
    clean["categories"] += [
        {"id": 3, "name": "cow"},
        {"id": 4, "name": "Traffic_Light"},
        {"id": 5, "name": "traffic light"},
    ]
    clean["annotations"][0]["category_id"] = 4
    clean["annotations"] += [box(50, 1, 5, [60, 40, 20, 30], iscrowd=1)]
    found = checked(clean)
    twice, bare, crowded = found["categories"]
    assert (bare.count, bare.examples) == (1, [{"category_id": 3, "category": "cow"}])
    assert (crowded.count, crowded.changes) == (1, False)
    assert (twice.count, twice.changes) == (2, True)


def test_imbalance(clean, checked):
    clean["annotations"] = clean["annotations"][:12]
    finding = only(checked(clean), "imbalance", changes=False, count=1, words="'cat' has 10, 'dog' 2")
    assert finding.examples == [{"category": "dog", "objects": 2}]


def test_images(clean, checked):
    clean["images"] += [{"id": 3, "file_name": "2.jpg"}, {"id": 4, "file_name": "4.jpg", "width": 10, "height": 10}]
    found = checked(clean)
    assert list(found) == ["images"]
    shared, sizeless, bare = found["images"]
    assert (sizeless.count, sizeless.changes) == (1, False)
    assert (shared.count, shared.changes) == (2, True)
    assert [one["image"] for one in bare.examples] == [3, 4]


def test_crowds(clean, checked):
    first = clean["annotations"][0]
    clean["annotations"] += [{**first, "id": 50, "iscrowd": 1}, box(51, 1, 1, [1, 1, 0, 4], iscrowd=1)]
    found = checked(clean)
    assert list(found) == ["crowds"]
    both, empty = found["crowds"]
    assert (both.count, both.changes, empty.count, empty.changes) == (1, True, 1, False)


def test_many_objects(clean, checked):
    finding = only(
        checked(clean, protocol=Coco(max_dets=(1, 4))), "many_objects", changes=True, count=4, words="more than 4"
    )
    assert "4 objects are missed" in finding.effect
    assert finding.examples[0]["objects"] == 5


def test_labels(clean, checked):
    for image in clean["images"]:
        image |= {"neg_category_ids": [1] if image["id"] == 1 else [], "not_exhaustive_category_ids": []}
    for category in clean["categories"]:
        category["frequency"] = "c"
    only(checked(clean, protocol=Lvis()), "labels", changes=False, count=5, words="said not to have")


def test_splits(clean, checked):
    beside = {"train": ["1.jpg", "2_flip.PNG", "x.jpg"], "val": ["x.jpg"]}
    found = checked(clean, beside=beside)
    assert list(found) == ["splits"]
    whats = [(finding.changes, finding.count) for finding in found["splits"]]
    assert sorted(whats) == [(False, 1), (True, 1), (True, 1)]
    near = next(finding for finding in found["splits"] if not finding.changes)
    assert near.examples == [{"file_name": "2.jpg", "other": "2_flip.PNG"}]


def test_frames_of_a_video_in_two_lists(clean, checked):
    clean["images"] = [
        {"id": n, "width": 100, "height": 80, "file_name": f"video{n // 10}/{n:06d}.jpg"} for n in range(1, 40)
    ]
    for n, row in enumerate(clean["annotations"] + clean["annotations"]):
        row["image_id"] = 1 + n % 39
    clean["annotations"] += [box(100 + n, n, 1, [4, 4, 20, 30]) for n in range(1, 40)]
    lists = {"a.txt": np.arange(0, 15), "b.txt": np.arange(15, 39)}
    [finding] = checked(clean, lists=lists)["splits"]
    assert finding.count == 1
    assert finding.examples == [{"group": "video1"}]


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("a/IMG_1.JPG", "a/img_1"),
        ("img_1_jpg.rf.0123456789abcdef.jpg", "img_1"),
        ("img_1 (2).png", "img_1"),
        ("img_1_flip_rot90.png", "img_1"),
        ("000017.png", "000017"),
    ],
)
def test_plain_names(name, plain):
    assert plain_name(name) == plain


def test_annotation_ids_that_occur_twice_are_counted_as_pycocotools_does(clean, checked, tmp_path):
    clean["annotations"][0]["id"] = clean["annotations"][5]["id"]
    with pytest.raises(InputError, match="occurs more than once"):
        read_coco(write(tmp_path / "gt.json", clean))
    finding = only(
        checked(clean), "unusable_entries", changes=True, count=1, words="annotation id 6 occurs more than once"
    )
    assert finding.measured[PERFECT]["AP"] == (perfect_ap(clean, clean["annotations"]), 1.0)
    assert finding.measured[PERFECT]["AP"][0] < 1


def test_other_entries_that_the_reader_refuses(clean, checked):
    clean["images"].append({**clean["images"][0], "width": 101})
    clean["categories"].append({"id": 2, "name": "hound"})
    clean["annotations"][0]["image_id"] = 77
    clean["annotations"][1]["category_id"] = 78
    clean["annotations"][2]["bbox"] = [5, 5, -3, 4]
    found = checked(clean)["unusable_entries"]
    for finding, words in zip(
        found,
        ("image id 1", "category id 2", "there is no image 77", "there is no category 78", "negative"),
        strict=True,
    ):
        assert words in finding.what
        assert (finding.count, finding.changes) == (1, True)


def test_the_page_lists_all_checks():
    page = (Path(__file__).parents[3] / "docs" / "check.md").read_text()
    assert [name for name in check_names() if f"| `{name}` |" not in page] == []


def write(path, document):
    path.write_text(json.dumps(document))
    return path


def test_the_command(clean, tmp_path, run):
    path = write(tmp_path / "gt.json", clean)
    code, out, err = run("check", path)
    assert (code, "Nothing changes the official figures." in out) == (0, True), err
    clean["annotations"][0]["id"] = 0
    write(path, clean)
    rows = [{**row, "score": 0.5} for row in clean["annotations"]]
    results = write(
        tmp_path / "r.json", [{k: r[k] for k in ("image_id", "category_id", "bbox", "score")} for r in rows]
    )
    assert run("import", results, "-g", path, "-o", tmp_path / "r.parquet")[0] == 0
    other = write(tmp_path / "train.json", clean)
    code, out, err = run("check", path, tmp_path / "r.parquet", "--beside", other, "--format", "json")
    assert code == 1, err
    said = json.loads(out)
    assert said["changes_figures"]
    assert said["checks"] == list(check_names())
    zero = next(finding for finding in said["findings"] if finding["check"] == "annotation_id_zero")
    assert zero["measured"]["r"]["AP"]["as_it_is"] < zero["measured"]["r"]["AP"]["mended"] == 1
    assert any(finding["check"] == "splits" for finding in said["findings"])
    code, out, err = run("check", path, "--format", "markdown")
    assert code == 1
    assert "| annotation id zero |" in out
    code, out, err = run("check", path)
    assert "CHANGES FIGURES: annotation id zero" in out
    lists = [tmp_path / "a.txt", tmp_path / "b.txt"]
    for one in lists:
        one.write_text("1\n")
    assert "are in" in run("check", path, "--beside", *lists)[1]
    lists[0].write_text("9\n")
    assert "no image 9" in run("check", path, "--beside", *lists)[2]
    path.write_text("{")
    assert run("check", path)[0] == 2
