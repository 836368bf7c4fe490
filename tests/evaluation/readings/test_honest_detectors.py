"""Bad detectors are no misread files: the comparison with the ground truth does not cry wolf."""

import json
import random
from pathlib import Path

import numpy as np
import pytest

from evaluation import read_coco
from evaluation.readings import check_reading
from evaluation.readings.check import far_better
from fusion.coco_results import AS_FOUND, gather_coco_results
from tests.evaluation.readings.cases import data_set, results, write

DATA = Path(__file__).parents[4] / "shared" / "data"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="the real files are not beside the checkout (../shared/data)")


def check(truth, path):
    known = read_coco(truth)
    return check_reading(gather_coco_results(path, vocabulary=known.vocabulary), known, AS_FOUND)


def checked(tmp_path, truth, records):
    return check(*write(tmp_path, truth, records))


@needs_data
@pytest.mark.parametrize("name", sorted(p.name for p in (DATA / "mvor/detections_results").glob("*.json")))
def test_detectors_of_mvor(name):
    """AP .5042 to .0557; four of them give boxes that are too tight by a fifth."""
    assert check(DATA / "mvor/annotations/camma_mvor_2018.json", DATA / "mvor/detections_results" / name) == []


@needs_data
@pytest.mark.parametrize(
    ("truth", "pattern"),
    [
        ("coco_fake100/instances_val2014_100.json", "coco_fake100/*results.json"),
        ("voc100/gts/coco_format_v1/instances_default.json", "voc100/dets/coco_format/*.json"),
        ("yolact/gt_person_boxes_groupA.json", "yolact/group_a/coco_format/*.json"),  # 80 categories, one annotated
    ],
)
def test_other_real_files(truth, pattern):
    paths = sorted(DATA.glob(pattern))
    assert paths
    for path in paths:
        assert check(DATA / truth, path) == []


@pytest.mark.parametrize("seed", range(20))
def test_random_boxes(tmp_path, seed):
    rng = random.Random(seed)
    truth = data_set(seed)

    def anywhere(annotation, image, record):
        x, y = rng.uniform(0, image["width"] * 0.8), rng.uniform(0, image["height"] * 0.8)
        return [x, y, rng.uniform(5, image["width"] - x), rng.uniform(5, image["height"] - y)]

    (note,) = checked(tmp_path, truth, results(truth, bbox=anywhere) * 5)
    assert "a poor detector, or another data set" in note


@pytest.mark.parametrize("seed", range(10))
def test_loose_and_tight_boxes(tmp_path, seed):
    factor = random.Random(seed).choice([0.6, 0.7, 0.8, 1.2, 1.3, 1.5])
    truth = data_set(seed)

    def grown(annotation, image, record):
        x, y, w, h = annotation["bbox"]
        return [x + w * (1 - factor) / 2, y + h * (1 - factor) / 2, w * factor, h * factor]

    checked(tmp_path, truth, results(truth, bbox=grown))


@pytest.mark.parametrize("seed", range(10))
def test_a_detector_of_another_class_set(tmp_path, seed):
    """It calls all objects by the few categories that it knows, several by one."""
    truth = data_set(seed, categories=8)
    ids = [category["id"] for category in truth["categories"]]
    known = dict(zip(ids, random.Random(seed).choices(ids[:3], k=8), strict=True))
    checked(tmp_path, truth, results(truth, category_id=lambda a, i, r: known[r["category_id"]]))


@pytest.mark.parametrize("seed", range(10))
def test_a_detector_that_mixes_categories_up(tmp_path, seed):
    rng = random.Random(seed)
    truth = data_set(seed)
    ids = [category["id"] for category in truth["categories"]]
    checked(tmp_path, truth, results(truth, category_id=lambda a, i, r: rng.choice([r["category_id"], *ids])))
    # one category is taken for another, which itself is known
    checked(tmp_path, truth, results(truth, category_id=lambda a, i, r: max(r["category_id"], ids[1])))


def test_no_detections(tmp_path):
    truth = data_set(0)
    assert checked(tmp_path, truth, []) == []


@pytest.mark.parametrize("factor", [1, 1 / 2000, 4])
def test_a_ground_truth_without_objects(tmp_path, run, factor):
    truth = data_set(1)
    records = [record | {"bbox": [value * factor for value in record["bbox"]]} for record in results(truth)]
    truth["annotations"] = []
    gt, path = write(tmp_path, truth, records)
    code, _, err = run("import", path, "-g", gt, "-o", tmp_path / "t.parquet")
    assert code == (2 if factor < 1 else 0)
    assert ("--box-format xywh_normalized" in err) == (factor < 1)
    assert ("lie inside their image" in err) == (factor > 1)


def test_masks_without_boxes_are_compared_by_their_bounds(tmp_path, run):
    from pycocotools import mask as codec

    truth = data_set(2)
    shape = {image["id"]: (image["height"], image["width"]) for image in truth["images"]}

    def mask(annotation, image, record):
        x, y, w, h = annotation["bbox"]
        pixels = np.zeros(shape[annotation["image_id"]], np.uint8, order="F")
        pixels[y : y + h, x : x + w] = 1
        rle = codec.encode(pixels)
        return {"size": rle["size"], "counts": rle["counts"].decode()}

    ids = [category["id"] for category in truth["categories"]]
    turned = dict(zip(ids, ids[1:] + ids[:1], strict=True))
    truth["info"]["noise"] = False
    masks = results(truth, bbox=lambda a, i, r: None, segmentation=mask)
    assert checked(tmp_path, truth, masks) == []
    gt, path = write(tmp_path, truth, [r | {"category_id": turned[r["category_id"]]} for r in masks])
    code, _, err = run("import", path, "-g", gt, "-o", tmp_path / "t.parquet")
    assert code == 2
    assert "--label-map" in err


def test_what_is_said_is_not_questioned(tmp_path, run):
    truth = data_set(4)
    gt, path = write(tmp_path, truth, results(truth))
    for said in (["--box-format", "cxcywh"], ["--picture", "0.5"], ["--as-is"]):
        code, _, err = run("import", path, "-g", gt, "-o", tmp_path / "t.parquet", *said)
        assert code == 0, err
    ids = [category["id"] for category in truth["categories"]]
    turned = ",".join(f"{a}={b}" for a, b in zip(ids, ids[1:] + ids[:1], strict=True))
    code, _, err = run("import", path, "-g", gt, "-o", tmp_path / "t.parquet", "--label-map", turned)
    assert code == 0, err
    assert json.loads(gt.read_text())["categories"]


def test_the_rule():
    def shares(after, before, n=400):
        return far_better(np.arange(n) < after * n, np.arange(n) < before * n)

    assert shares(0.7, 0.004)
    assert shares(0.31, 0.01)
    assert not shares(0.29, 0.01)  # hardly any box is right otherwise, either
    assert not shares(0.9, 0.5)  # not twice as many
    assert not shares(1, 0, n=5)  # five boxes may be chance
    assert shares(1, 0, n=7)
