"""Results of some images against evaluations of these images by themselves, to the last bit."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation import Coco, Lvis, OpenImages, prepare
from evaluation.figures import names_of
from tests.evaluation import open_images_cases as open_images
from tests.evaluation.cases import arrays, ground_truth, random_case
from tests.evaluation.test_lvis import federated_case, lvis_truth


def some_images(dataset, results, ids):
    """The data set and results with nothing but some images."""
    own = {
        "images": [image for image in dataset["images"] if image["id"] in ids],
        "categories": dataset["categories"],
        "annotations": [row for row in dataset["annotations"] if row["image_id"] in ids],
    }
    return own, [row for row in results if row["image_id"] in ids]


def check_equal(part, alone, seed):
    names = names_of(alone.protocol)
    assert part.figures(names) == pytest.approx(alone.figures(names), abs=0, rel=0, nan_ok=True)
    assert part.images == alone.images
    for row, own in zip(part.per_category, alone.per_category, strict=True):
        assert row.counts == own.counts
        assert row.figures == pytest.approx(own.figures, abs=0, rel=0, nan_ok=True)
    for column, own in zip(part.judged, alone.judged, strict=True):
        np.testing.assert_array_equal(column, own)
    weights = np.random.default_rng(seed).integers(0, 3, (3, part.images))
    replicates, own = part.resample(weights, names), alone.resample(weights, names)
    assert replicates.keys() == own.keys()
    for name, values in own.items():
        np.testing.assert_array_equal(replicates[name], values, err_msg=name)


def check_coco(case, protocol, truth_of, seed):
    dataset, results = case
    result = prepare(truth_of(dataset), protocol).evaluate_arrays(**arrays(results))
    rng = np.random.default_rng(seed)
    chosen = np.flatnonzero(rng.random(result.images) < 0.6)
    ids = set(result.prepared.ground_truth.image_id[chosen].tolist())
    own, found = some_images(dataset, results, ids)
    part = result.on(chosen)
    alone = prepare(truth_of(own), protocol).evaluate_arrays(**arrays(found))
    for array in ("precision", "scores", "recall"):
        np.testing.assert_array_equal(getattr(part, array), getattr(alone, array), err_msg=array)
    check_equal(part, alone, seed)
    # and once more from there, and all of the images
    if len(chosen) > 1:
        assert part.on(np.array([1])).stats == result.on(chosen[1:2]).stats
    assert result.on(np.arange(result.images)).stats == result.stats


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), images=st.integers(1, 6), truths=st.integers(0, 40), first=st.integers(0, 1))
def test_boxes(seed, images, truths, first):
    case = random_case(seed, images=images, truths=truths, results=100, first_id=first)
    check_coco(case, Coco(), ground_truth, seed)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_pooled_categories_and_other_thresholds(seed):
    thresholds = tuple(np.linspace(0.3, 0.9, 25))  # more than one block
    protocol = Coco(use_cats=False, iou_thresholds=thresholds, max_dets=(3, 7))
    check_coco(random_case(seed, images=5), protocol, ground_truth, seed)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_masks(seed):
    check_coco(random_case(seed, images=5, masks=True), Coco(iou_type="segm"), ground_truth, seed)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), cap=st.sampled_from([5, 300]))
def test_lvis(seed, cap):
    check_coco(federated_case(seed, images=5, truths=50, results=200), Lvis(max_dets=cap), lvis_truth, seed)


@pytest.mark.parametrize("seed", range(5))
def test_fixed_ap_chooses_the_best_of_the_images_alone(seed, monkeypatch):
    monkeypatch.setattr("evaluation.federated.FIXED_AP_DETECTIONS", 12)
    case = federated_case(seed, images=6, truths=50, results=200)
    check_coco(case, Lvis(fixed_ap=True), lvis_truth, seed)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    masks=st.booleans(),
    weight=st.sampled_from([1.0, 0.5, 0.3, 0.0]),
    cap=st.sampled_from([3, 10_000]),
)
def test_open_images(seed, masks, weight, cap):
    images = open_images.random_images(seed, images=6, masks=masks)
    protocol = OpenImages(iou_type="segm" if masks else "bbox", group_of_weight=weight, max_dets=cap)
    truth = open_images.ground_truth(images, 4, masks=masks)
    table = open_images.table(images, masks=masks)
    chosen = np.flatnonzero(np.random.default_rng(seed).random(6) < 0.6)
    ids = truth.image_id[chosen]
    part = prepare(truth, protocol).evaluate(table).on(chosen)
    check_equal(part, prepare(truth.subset(ids), protocol).evaluate(table.select_images(ids)), seed)
