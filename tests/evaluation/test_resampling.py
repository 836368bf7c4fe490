"""Replicates against data sets in which the images are really copied, evaluated by us and by pycocotools."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation import Coco, Lvis, prepare
from fusion.errors import InputError
from tests.evaluation.cases import arrays, ground_truth, official, random_case
from tests.evaluation.test_lvis import federated_case, lvis_truth
from tests.oracles.resampling import copied

FIGURES = ("AP", "AP50", "AP75", "APs", "APm", "APl")


def figures_by_category(result):
    return {name: np.array([getattr(row, name) for row in result.per_category]) for name in FIGURES}


def check_copies(dataset, results, weights, protocol, truth_of):
    replicates = prepare(truth_of(dataset), protocol).evaluate_arrays(**arrays(results)).resample(weights)
    for b, counts in enumerate(weights):
        more, found = copied(dataset, results, counts)
        wanted = figures_by_category(prepare(truth_of(more), protocol).evaluate_arrays(**arrays(found)))
        for name in FIGURES:
            # the wanted one is summed over 1010 numbers one by one, and rounds 1010 times
            np.testing.assert_allclose(replicates[name][b], wanted[name], rtol=0, atol=1e-13, err_msg=name)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), images=st.integers(1, 6), most=st.integers(1, 5), truths=st.integers(0, 40))
def test_replicates_equal_copied_images(seed, images, most, truths):
    # scores tie within and between images, and images may be left out
    dataset, results = random_case(seed, images=images, truths=truths, results=100)
    weights = np.random.default_rng(seed).integers(0, most + 1, (3, images))
    check_copies(dataset, results, weights, Coco(), ground_truth)


@pytest.mark.parametrize("seed", range(6))
def test_large_objects_and_many_detections_per_cell(seed):
    dataset, results = random_case(seed, images=3, categories=2, truths=60, results=900, scale=8.0)
    weights = np.random.default_rng(seed).integers(0, 4, (3, 3))
    check_copies(dataset, results, weights, Coco(), ground_truth)


@pytest.mark.parametrize("seed", range(6))
def test_lvis_replicates_equal_copied_images(seed):
    dataset, results = federated_case(seed, images=5, truths=50, results=200)
    weights = np.random.default_rng(seed).integers(0, 4, (4, 5))
    check_copies(dataset, results, weights, Lvis(max_dets=20), lvis_truth)


@pytest.mark.parametrize("seed", range(3))
def test_a_replicate_equals_pycocotools_on_the_copies(seed):
    dataset, results = random_case(seed, images=5, truths=50, results=200)
    counts = np.random.default_rng(seed).integers(0, 4, 5)
    replicates = prepare(ground_truth(dataset), Coco()).evaluate_arrays(**arrays(results)).resample(counts[None])
    stats = official(*copied(dataset, results, counts)).stats
    for figure, value in zip(FIGURES, stats, strict=False):
        counted = replicates[figure][0][~np.isnan(replicates[figure][0])]
        assert (counted.mean() if len(counted) else -1) == pytest.approx(value, abs=1e-13)


def test_copies_of_tied_detections_alternate():
    # one image, one object, hit and miss of equal score: the copies go hit, miss, hit, miss
    dataset = {
        "images": [{"id": 7, "height": 40, "width": 50}],
        "categories": [{"id": 1, "name": "one"}],
        "annotations": [{"id": 1, "image_id": 7, "category_id": 1, "bbox": [0, 0, 9, 9], "area": 81, "iscrowd": 0}],
    }
    hit = {"image_id": 7, "category_id": 1, "score": 0.5, "bbox": [0, 0, 9, 9]}
    miss = {**hit, "bbox": [20, 20, 9, 9]}
    ready = prepare(ground_truth(dataset), Coco())
    for rows, wanted in (
        ([hit, miss], [1.0, (51 * 1 + 50 * 2 / 3) / 101]),
        ([miss, hit], [1 / 2, 1 / 2]),
    ):
        replicates = ready.evaluate_arrays(**arrays(rows)).resample(np.array([[1], [2]]))
        assert replicates["AP"][:, 0].tolist() == pytest.approx(wanted, abs=1e-15)


def test_more_thresholds_than_a_block_holds_and_none_with_a_figure():
    dataset, results = random_case(3, truths=40, results=150)
    thresholds = tuple(np.linspace(0.3, 0.9, 23).tolist())
    weights = np.random.default_rng(3).integers(0, 3, (5, 4))
    check_copies(dataset, results, weights, Coco(iou_thresholds=thresholds), ground_truth)
    check_copies(dataset, results, weights, Coco(use_cats=False), ground_truth)


def test_batches_are_independent_of_each_other_and_of_threads(monkeypatch):
    dataset, results = random_case(5, images=8, truths=60, results=300)
    result = prepare(ground_truth(dataset), Coco()).evaluate_arrays(**arrays(results))
    weights = np.random.default_rng(5).integers(0, 4, (150, 8))
    monkeypatch.setenv("QUORUM_THREADS", "3")
    together = result.resample(weights)
    monkeypatch.setenv("QUORUM_THREADS", "1")
    for b in (0, 31, 32, 149):
        alone = result.resample(weights[b : b + 1])
        for name in FIGURES:
            np.testing.assert_array_equal(together[name][b], alone[name][0])
    plain = result.resample(weights, ("AP", "AP50", "AP75"))
    assert list(plain) == ["AP", "AP50", "AP75"]
    for name, values in plain.items():
        np.testing.assert_array_equal(values, together[name])


def test_weights_of_one_give_the_result_itself_and_of_zero_nothing():
    dataset, results = random_case(6, images=6, truths=50, results=200)
    result = prepare(ground_truth(dataset), Coco()).evaluate_arrays(**arrays(results))
    replicates = result.resample(np.array([[1] * 6, [0] * 6]))
    for name, wanted in figures_by_category(result).items():
        np.testing.assert_allclose(replicates[name][0], wanted, rtol=0, atol=1e-13)
        assert np.isnan(replicates[name][1]).all()
    assert result.resample(np.zeros((0, 6), int))["AP"].shape == (0, 3)


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        (np.ones((2, 3), int), "6 images"),
        (np.ones(6, int), "replicates"),
        (np.ones((2, 6)), "float64"),
        (np.full((1, 6), -1), "negative"),
    ],
)
def test_weights_that_do_not_fit(weights, words):
    dataset, results = random_case(6, images=6)
    result = prepare(ground_truth(dataset), Coco()).evaluate_arrays(**arrays(results))
    with pytest.raises(InputError, match=words):
        result.resample(weights)
