"""What detections are worth, against what the official codes say of each of them."""

import numpy as np
import pytest

from evaluation import Coco, Lvis, OpenImages, prepare
from evaluation.ground_truth import GroundTruth
from evaluation.units import in_unit
from evaluation.worth import expected_iou, mean_precision, pair_objects
from fusion.errors import InputError
from fusion.table import DetectionTable
from tests.evaluation.cases import arrays, ground_truth, official, random_case
from tests.evaluation.open_images_cases import ground_truth as open_images_truth
from tests.evaluation.open_images_cases import random_images
from tests.evaluation.open_images_cases import table as open_images_table
from tests.evaluation.test_lvis import federated_case, lvis_truth
from tests.evaluation.test_lvis import official as lvis_official
from tests.oracles import open_images as open_images_oracle


def official_worth(run, results):
    """The share of pycocotools' thresholds at which it matches each result to an object, NaN where it counts none."""
    right, judged = np.zeros(len(results)), np.zeros(len(results))
    for cell in run.evalImgs:
        if cell is None or cell["aRng"] != run.params.areaRng[0]:
            continue
        rows = np.array(cell["dtIds"], int) - 1
        ignored = cell["dtIgnore"].astype(bool)
        right[rows] += ((cell["dtMatches"] > 0) & ~ignored).sum(axis=0)
        judged[rows] += (~ignored).sum(axis=0)
    return np.where(judged > 0, right / np.maximum(judged, 1), np.nan)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("masks", [False, True])
def test_coco_says_so_of_each_detection(seed, masks):
    dataset, results = random_case(seed, masks=masks)
    results.sort(key=lambda row: row["image_id"])
    table = DetectionTable.from_arrays(**arrays(results))
    protocol = Coco(iou_type="segm" if masks else "bbox")
    judged = mean_precision(table, prepare(ground_truth(dataset), protocol))
    wanted = official_worth(official(dataset, results, iou_type=protocol.iou_type), results)
    np.testing.assert_array_equal(judged.worth, wanted)
    assert judged.score.tolist() == [row["score"] for row in results]
    assert judged.image_id.tolist() == [row["image_id"] for row in results]


@pytest.mark.parametrize("at", [0.5, 0.75, 0.95])
def test_one_threshold(at):
    dataset, results = random_case(11)
    results.sort(key=lambda row: row["image_id"])
    judged = mean_precision(DetectionTable.from_arrays(**arrays(results)), prepare(ground_truth(dataset)), at)
    np.testing.assert_array_equal(judged.worth, official_worth(official(dataset, results, thresholds=[at]), results))


def test_many_thresholds_are_in_several_blocks():
    dataset, results = random_case(12)
    results.sort(key=lambda row: row["image_id"])
    thresholds = np.linspace(0.3, 0.9, 21).round(4)
    protocol = Coco(iou_thresholds=tuple(thresholds.tolist()))
    table = DetectionTable.from_arrays(**arrays(results))
    run = official(dataset, results, thresholds=thresholds.tolist())
    np.testing.assert_array_equal(
        mean_precision(table, prepare(ground_truth(dataset), protocol)).worth, official_worth(run, results)
    )


def test_a_threshold_that_the_protocol_does_not_have():
    dataset, results = random_case(13)
    with pytest.raises(InputError, match=r"threshold of the protocol \(0.5, 0.55, .*got 0.3"):
        mean_precision(DetectionTable.from_arrays(**arrays(results)), prepare(ground_truth(dataset)), 0.3)


@pytest.mark.parametrize("seed", range(4))
def test_lvis_says_so_of_each_detection(seed):
    dataset, results = federated_case(seed)
    ids = {category["id"] for category in dataset["categories"]}
    results = sorted((row for row in results if row["category_id"] in ids), key=lambda row: row["image_id"])
    run = lvis_official(dataset, results)
    right, judged = np.zeros(len(results)), np.zeros(len(results))
    for cell in run.eval_imgs:
        if cell is None or list(cell["area_rng"]) != list(run.params.area_rng[0]):
            continue
        rows = np.array(cell["dt_ids"], int) - 1
        ignored = np.array(cell["dt_ignore"]).astype(bool)
        right[rows] += ((np.array(cell["dt_matches"]) > 0) & ~ignored).sum(axis=0)
        judged[rows] += (~ignored).sum(axis=0)
    found = mean_precision(DetectionTable.from_arrays(**arrays(results)), prepare(lvis_truth(dataset), Lvis()))
    np.testing.assert_array_equal(found.worth, np.where(judged > 0, right / np.maximum(judged, 1), np.nan))


@pytest.mark.parametrize("masks", [False, True])
@pytest.mark.parametrize("seed", range(8))
def test_open_images_say_so_of_each_detection(seed, masks):
    images = random_images(seed, masks=masks, ties=False)
    protocol = OpenImages(iou_type="segm" if masks else "bbox", group_of_weight=0.0)
    table = open_images_table(images, masks=masks)
    found = mean_precision(table, prepare(open_images_truth(images, 4, masks=masks), protocol))
    rows = [(number, d) for number, image in enumerate(images) for d in image["found"]]
    for number, image in enumerate(images):
        for category in range(4):
            own = [(row, d) for row, (place, d) in enumerate(rows) if place == number and d["category"] == category]
            truths = [t for t in image["truths"] if t["category"] == category]
            wanted = {}
            if category in image["verified"] or truths:
                usable = [d for _, d in own if open_images_oracle.usable(d, masks)]
                rules = {"threshold": 0.5, "weight": 0.0, "masks": masks, "cap": 10_000}
                wanted = dict(open_images_oracle.cell(usable, truths, order=open_images_oracle.by_score, **rules))
            for row, d in own:
                usable = open_images_oracle.usable(d, masks)
                np.testing.assert_equal(found.worth[row], wanted.get(d["score"], np.nan) if usable else np.nan)


def test_pairs_by_hand():
    truth = GroundTruth.from_arrays(
        image_id=[1, 2],
        category_id=[1, 2],
        annotation_image_id=[1, 1, 1],
        annotation_category_id=[1, 1, 2],
        xywh=[[0, 0, 10, 10], [100, 100, 50, 50], [0, 0, 10, 10]],
        crowd=[False, True, False],
    )
    table = DetectionTable.from_arrays(
        image_id=[1, 1, 1, 1, 1, 2],
        category_id=[1, 1, 1, 1, 3, 1],
        score=[0.7, 0.8, 0.9, 0.1, 0.5, 0.4],
        xywh=[[110, 110, 5, 5], [0, 0, 10, 10], [0, 0, 10, 5], [0, 0, 10, 2], [0, 0, 10, 10], [0, 0, 10, 10]],
    )
    judged = expected_iou(table, truth)
    # the first is in a crowd, the second a duplicate, the fourth too small, then another category and image
    np.testing.assert_array_equal(judged.worth, [np.nan, 0, 0.5, 0, 0, 0])
    assert judged.score.tolist() == [0.7, 0.8, 0.9, 0.1, 0.5, 0.4]
    assert judged.image_id.tolist() == [1, 1, 1, 1, 1, 2]
    assert judged.category_id.tolist() == [1, 1, 1, 1, 3, 1]
    assert len(judged.known().worth) == 5
    assert pair_objects(table, truth, 0.3)[1].tolist() == [-1, -1, 0, -1, -1, -1]
    assert pair_objects(table, truth, 0.6)[1].tolist() == [-1, 0, -1, -1, -1, -1]
    with pytest.raises(InputError, match="pixel where normalized ones are needed, and the size of image 1 is not"):
        expected_iou(table.with_metadata(unit="normalized"), truth)


@pytest.mark.parametrize("seed", range(5))
def test_pixels_find_normalized_objects(seed):
    rng = np.random.default_rng(seed)
    sides = 2.0 ** rng.integers(3, 10, (4, 2))  # dividing by them loses nothing
    image, category = rng.integers(0, 4, 20), rng.integers(1, 3, 20)
    corners = np.sort(rng.random((20, 2, 2)), axis=1).reshape(20, 4)
    known = {"image_id": np.arange(4), "width": sides[:, 0], "height": sides[:, 1], "category_id": [1, 2]}
    known |= {"annotation_image_id": image, "annotation_category_id": category}
    pixels = corners * np.hstack((sides, sides))[image]
    truth = GroundTruth.from_arrays(xyxy=pixels, **known)
    shares = GroundTruth.from_arrays(xyxy=corners, unit="normalized", **known)
    moved = pixels + rng.normal(0, 0.05, (20, 4)) * np.hstack((sides, sides))[image]
    near, far = np.minimum(moved[:, :2], moved[:, 2:]), np.maximum(moved[:, :2], moved[:, 2:])
    score = rng.random(20)
    table = DetectionTable.from_arrays(
        image_id=image, category_id=category, score=score, xywh=np.hstack((near, far - near))
    )
    for found, wanted in zip(pair_objects(table, shares, 0.3), pair_objects(table, truth, 0.3), strict=True):
        np.testing.assert_array_equal(found, wanted)
    assert np.any(pair_objects(table, shares, 0.3)[1] >= 0)
    np.testing.assert_array_equal(in_unit(shares, "pixel").corners, truth.corners)
    np.testing.assert_array_equal(in_unit(truth, "normalized").corners, shares.corners)


def test_no_detections():
    nothing = DetectionTable.from_arrays(image_id=[], category_id=[], score=[], xywh=np.zeros((0, 4)))
    dataset, _ = random_case(0)
    truth = ground_truth(dataset)
    assert len(mean_precision(nothing, prepare(truth)).worth) == 0
    assert len(expected_iou(nothing, truth).worth) == 0
