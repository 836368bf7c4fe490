"""The LVIS protocol against lvis-api, to the last bit of every array; fixed AP against a plain version."""

import copy
import json
import logging
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from evaluation import Lvis, prepare, read_coco
from evaluation.ground_truth import Labels
from fusion.errors import InputError
from fusion.table import DetectionTable, Metadata
from tests.evaluation.cases import arrays, ground_truth, random_case

LVIS_100 = Path(__file__).parents[3] / "shared" / "data" / "lvis100" / "lvis_val_100.json"


def federated_case(seed, **options):
    """A random data set with negative and not exhaustive categories, frequency groups and ignored annotations."""
    dataset, results = random_case(seed, **options)
    rng = np.random.default_rng(seed)
    ids = [category["id"] for category in dataset["categories"]]
    for image in dataset["images"]:
        image["neg_category_ids"] = rng.choice(ids, rng.integers(0, len(ids)), replace=False).tolist()
        image["not_exhaustive_category_ids"] = rng.choice(ids, rng.integers(0, len(ids)), replace=False).tolist()
    for category in dataset["categories"]:
        category["frequency"] = str(rng.choice(["r", "c", "f"]))
    for row in dataset["annotations"]:
        row["iscrowd"] = 0
        if rng.random() < 0.2:
            row["ignore"] = int(rng.random() < 0.5)
    return dataset, results


def official(dataset, results, *, iou_type="bbox", max_dets=300):
    """Run lvis-api on copies and return its LVISEval."""
    pytest.importorskip("lvis", reason="the package lvis (extra 'peers') is not installed")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from lvis import LVIS, LVISEval, LVISResults
    truth = LVIS.__new__(LVIS)
    truth.logger = logging.getLogger("lvis")
    truth.dataset = copy.deepcopy(dataset)
    truth._create_index()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # logger.warn
        found = LVISResults(truth, copy.deepcopy(results), max_dets=max_dets)
        run = LVISEval(truth, found, iou_type)
        run.evaluate()
        vars(np)["float"] = float  # lvis 0.5.3 was written for NumPy 1.19
        try:
            run.accumulate()
        finally:
            del vars(np)["float"]
        run.summarize()
    return run


def lvis_truth(dataset):
    """The same data set in columns, by way of the reader."""
    truth = ground_truth(dataset)
    images = {image["id"]: image for image in dataset["images"]}
    place = {i: k for k, i in enumerate(truth.category_id.tolist())}
    groups = {category["id"]: category["frequency"] for category in dataset["categories"]}

    def labels(field):
        rows = [sorted(place[k] for k in images[i][field]) for i in truth.image_id.tolist()]
        start = np.concatenate(([0], np.cumsum([len(row) for row in rows]))).astype(np.int64)
        return Labels(start, np.array([k for row in rows for k in row], np.int32))

    return replace(
        truth,
        frequency=tuple(groups[i] for i in truth.category_id.tolist()),
        negative=labels("neg_category_ids"),
        not_exhaustive=labels("not_exhaustive_category_ids"),
        ignore=np.array([bool(row.get("ignore")) for row in dataset["annotations"]]),
    )


def known(results, dataset):
    """Without results of categories the data set does not have: lvis-api takes them for no category of its own."""
    ids = {category["id"] for category in dataset["categories"]}
    return [row for row in results if row["category_id"] in ids]


def check_official(dataset, results, *, mask_areas=False, **options):
    protocol = Lvis(iou_type=options.get("iou_type", "bbox"), max_dets=options.get("max_dets", 300))
    result = prepare(lvis_truth(dataset), protocol).evaluate_arrays(**arrays(results), mask_areas=mask_areas)
    run = official(dataset, results, **options)
    np.testing.assert_array_equal(result.precision[..., 0], run.eval["precision"])
    np.testing.assert_array_equal(result.recall[..., 0], run.eval["recall"])
    assert list(result.stats.values()) == list(run.results.values())
    assert len(result.stats) == 13
    return result


@pytest.mark.parametrize("seed", range(12))
def test_boxes_equal_lvis_api(seed):
    dataset, results = federated_case(seed, scale=(1.0, 3.0, 9.7)[seed % 3], images=6, categories=8)
    check_official(dataset, results)


@pytest.mark.parametrize("seed", range(6))
def test_masks_equal_lvis_api(seed):
    dataset, results = federated_case(100 + seed, masks=True, images=6, categories=5)
    # lvis-api cannot compare masks of two sizes, nor areas of over 255 of them on NumPy 2
    height = {image["id"]: image["height"] for image in dataset["images"]}
    good = [row for row in results if row["segmentation"]["size"][0] == height[row["image_id"]]]
    check_official(dataset, good, iou_type="segm")
    bare = [{name: value for name, value in row.items() if name != "bbox"} for row in good]
    check_official(dataset, bare, iou_type="segm", mask_areas=True)


@pytest.mark.parametrize("seed", range(4))
def test_more_than_300_detections_in_an_image(seed):
    dataset, results = federated_case(200 + seed, images=2, categories=4, truths=60, results=1100)
    check_official(dataset, results)
    check_official(dataset, results, max_dets=7)


def test_annotation_id_0_is_never_matched():
    dataset, results = federated_case(5, first_id=0)
    result = check_official(dataset, results)
    assert any("id 0" in note for note in result.notes)


def test_annotation_without_area_does_not_make_its_category_known():
    dataset = {
        "images": [{"id": 1, "height": 9, "width": 9, "neg_category_ids": [], "not_exhaustive_category_ids": []}],
        "categories": [{"id": 1, "frequency": "r"}, {"id": 2, "frequency": "f"}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 1, "bbox": [0, 0, 4, 4], "area": 0.0, "iscrowd": 0},
            {"id": 2, "image_id": 1, "category_id": 2, "bbox": [0, 0, 4, 4], "area": 16.0, "iscrowd": 0},
        ],
    }
    results = [
        {"image_id": 1, "category_id": 1, "score": 0.9, "bbox": [0, 0, 4, 4]},
        {"image_id": 1, "category_id": 2, "score": 0.8, "bbox": [0, 0, 4, 4]},
        {"image_id": 1, "category_id": 2, "score": 0.9, "bbox": [0, 0, 4, 0]},
    ]
    result = check_official(dataset, results)
    assert pytest.approx(1.0) == result.AP
    assert result.detections.tolist() == [0, 1]
    assert (result.APr, result.APc) == (-1.0, -1.0)


@pytest.mark.skipif(not LVIS_100.exists(), reason="the test data is not at ../shared/data")
def test_real_ground_truth():
    truth = read_coco(LVIS_100)
    assert set(truth.frequency) == {"r", "c", "f"}
    rng = np.random.default_rng(0)
    rows = rng.integers(0, len(truth), 3000)
    xywh = (truth.xywh[rows] + rng.normal(0, 3, (3000, 4))).clip(0.5)
    own = truth.category_id[truth.category[rows]]
    category = np.where(rng.random(3000) < 0.3, rng.choice(truth.category_id, 3000), own)
    columns = {
        "image_id": truth.image_id[truth.image[rows]],
        "category_id": category,
        "score": rng.random(3000).round(2),
        "xywh": xywh,
    }
    dataset = json.loads(LVIS_100.read_text())
    listed = [
        {"image_id": int(i), "category_id": int(k), "score": float(s), "bbox": b.tolist()}
        for i, k, s, b in zip(*columns.values(), strict=True)
    ]
    result = prepare(truth, Lvis()).evaluate_arrays(**columns)
    run = official(dataset, listed)
    np.testing.assert_array_equal(result.precision[..., 0], run.eval["precision"])
    assert list(result.stats.values()) == list(run.results.values())
    table = result.to_frame()
    assert set(table.frequency) == {"r", "c", "f"}


@pytest.mark.parametrize("seed", range(3))
def test_fixed_ap_is_the_cut_by_category_then_no_cut_by_image(seed, monkeypatch):
    monkeypatch.setattr("evaluation.federated.FIXED_AP_DETECTIONS", 40)
    dataset, results = federated_case(300 + seed, images=2, categories=3, results=900)
    results = known(results, dataset)
    # in order of image, since that is a table's order, and of equal scores the earlier is kept
    ordered = sorted(results, key=lambda row: row["image_id"])
    best = []
    for category in dataset["categories"]:
        own = [row for row in ordered if row["category_id"] == category["id"]]
        best += sorted(own, key=lambda row: -row["score"])[:40]
    best = [row for row in ordered if any(row is kept for kept in best)]
    result = prepare(lvis_truth(dataset), Lvis(fixed_ap=True)).evaluate_arrays(**arrays(results))
    run = official(dataset, best, max_dets=-1)
    np.testing.assert_array_equal(result.precision[..., 0], run.eval["precision"])
    assert run.results["AP"] == result.AP
    capped = prepare(lvis_truth(dataset), Lvis()).evaluate_arrays(**arrays(results))
    assert capped.AP != result.AP


def test_coco_ground_truth_is_refused():
    dataset, _ = random_case(0)
    with pytest.raises(InputError, match="needs neg_category_ids and not_exhaustive_category_ids and frequency"):
        prepare(ground_truth(dataset), Lvis())


def test_table_and_empty_table():
    dataset, results = federated_case(1)
    prepared = prepare(lvis_truth(dataset), Lvis())
    columns = arrays(results)
    table = DetectionTable.from_arrays(**columns, metadata=Metadata())
    assert prepared.evaluate(table).stats == prepared.evaluate_arrays(**columns).stats
    empty = DetectionTable.from_arrays(**{name: values[:0] for name, values in columns.items()}, metadata=Metadata())
    assert prepared.evaluate(empty).AP == 0.0


def test_options_out_of_range():
    with pytest.raises(InputError, match="max_dets"):
        Lvis(max_dets=0)
    with pytest.raises(InputError, match="iou_type"):
        Lvis(iou_type="keypoints")


def test_version_1_file(tmp_path):
    path = tmp_path / "lvis_v1_val.json"
    image = {"id": 7, "height": 9, "width": 9, "coco_url": "http://images.cocodataset.org/val2017/000000000007.jpg"}
    document = {
        "images": [image | {"neg_category_ids": [2], "not_exhaustive_category_ids": [1]}],
        "categories": [
            {"id": 1, "frequency": "r", "name": "aerosol_can", "synset": "aerosol.n.02"},
            {"id": 2, "frequency": "f", "name": "air_conditioner", "synset": "air_conditioner.n.01"},
        ],
        "annotations": [
            {
                "id": 1,
                "image_id": 7,
                "category_id": 1,
                "bbox": [0, 0, 4, 4],
                "area": 16,
                "segmentation": [[0, 0, 4, 0, 4, 4]],
            }
        ],
    }
    path.write_text(json.dumps(document))
    truth = read_coco(path)
    assert truth.file_name.tolist() == ["000000000007.jpg"]
    assert truth.negative.category.tolist() == [1]
    assert truth.not_exhaustive.category.tolist() == [0]
