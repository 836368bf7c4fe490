"""Scores on attached detections against the full evaluation of the same table: every figure, to the last bit."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation import Coco, Lvis, prepare
from evaluation.attached import attach
from evaluation.kernels.ranking import gather_keys, sort_keys
from fusion.errors import InputError
from fusion.table import DetectionTable, Metadata
from tests.evaluation.cases import arrays, ground_truth, random_case
from tests.evaluation.test_lvis import federated_case, lvis_truth

LEVELS = np.array([0.0, -0.0, 0.5, 1e-300, 1e300, -2.0, 0.1, 0.1 + 1e-16])


def table_of(results, **metadata):
    return DetectionTable.from_arrays(**arrays(results), metadata=Metadata(**metadata))


def rescored(table, scores):
    """The table with other scores, without the rows that are left out."""
    keep = np.flatnonzero(scores > -np.inf)
    mask = None if table.mask is None else table.mask.take(keep)
    return DetectionTable.from_arrays(
        image_id=table.image_id[keep],
        category_id=table.category_id[keep],
        score=scores[keep],
        xywh=table.xywh[keep],
        mask=mask,
        metadata=table.metadata,
    )


def candidates_of(rng, table, count=5):
    """Scores of the table, of few levels, all alike, random, and all left out; most with some rows left out."""
    n = len(table)
    scores = np.stack([rng.choice(LEVELS, n) if c % 2 else rng.normal(size=n) for c in range(count)])
    scores[0] = table.score
    scores[1:][rng.random((count - 1, n)) < 0.2] = -np.inf
    return np.vstack((scores, np.full((1, n), 0.25), np.full((1, n), -np.inf)))


def check(truth, protocol, table, seed=0):
    prepared = prepare(truth, protocol)
    attached = attach(prepared, table)
    candidates = candidates_of(np.random.default_rng(seed), table)
    together = attached.average_precision(candidates)
    per_category = attached.average_precision_per_category(candidates)
    for scores, ap, ap_per_category in zip(candidates, together, per_category, strict=True):
        full = prepared.evaluate(rescored(table, scores))
        assert ap == full.AP == attached.average_precision(scores)
        np.testing.assert_array_equal(ap_per_category, full.average_precision_per_category)
        again = attached.evaluate(scores)
        assert again.stats == full.stats
        np.testing.assert_array_equal(again.precision, full.precision)
        np.testing.assert_array_equal(again.recall, full.recall)
        np.testing.assert_array_equal(again.detections, full.detections)
        ids = prepared.category_ids
        for chosen in (ids[:1], ids[-1:], ids[::-1], ids[:0]):
            places = np.searchsorted(ids, chosen)
            alone = attached.average_precision_per_category(scores, chosen)
            np.testing.assert_array_equal(alone, ap_per_category[places])
    return attached


@pytest.mark.parametrize("seed", range(8))
def test_boxes(seed):
    dataset, results = random_case(seed, scale=(1.0, 3.0, 9.7)[seed % 3], first_id=seed % 2)
    check(ground_truth(dataset), Coco(), table_of(results), seed)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    images=st.integers(1, 3),
    categories=st.integers(1, 4),
    truths=st.integers(0, 30),
    results=st.integers(0, 60),
    cap=st.integers(1, 5),
    match_id_zero=st.booleans(),
)
def test_random(seed, images, categories, truths, results, cap, match_id_zero):
    dataset, found = random_case(seed, images=images, categories=categories, truths=truths, results=results, first_id=0)
    check(ground_truth(dataset), Coco(max_dets=(cap,), match_id_zero=match_id_zero), table_of(found), seed)


@pytest.mark.parametrize("seed", range(3))
def test_more_than_100_detections_in_a_cell(seed):
    dataset, results = random_case(200 + seed, images=2, categories=2, truths=60, results=900)
    attached = check(ground_truth(dataset), Coco(), table_of(results), seed)
    assert len(attached.layout.slot) > 100


@pytest.mark.parametrize("from_masks", [False, True])
def test_masks(from_masks):
    dataset, results = random_case(101, masks=True)
    metadata = {"boxes": "from_masks"} if from_masks else {}
    check(ground_truth(dataset), Coco(iou_type="segm"), table_of(results, **metadata))


@pytest.mark.parametrize("seed", range(3))
def test_pooled_categories(seed):
    dataset, results = random_case(300 + seed, results=400, images=2)
    table = table_of(results)
    check(ground_truth(dataset), Coco(use_cats=False), table, seed)
    attached = attach(prepare(ground_truth(dataset), Coco(use_cats=False)), table)
    scores = table.score.copy()
    scores[17] = np.nan
    with pytest.raises(InputError, match="candidate 0, row 17"):
        attached.average_precision(scores)


@pytest.mark.parametrize("thresholds", [(0.3,), (0.5, 1.0), tuple(np.linspace(0.05, 0.95, 150))])
def test_other_thresholds(thresholds):
    dataset, results = random_case(41)
    check(ground_truth(dataset), Coco(iou_thresholds=thresholds), table_of(results))


@pytest.mark.parametrize("protocol", [Lvis(), Lvis(max_dets=20), Lvis(max_dets=1)])
@pytest.mark.parametrize("seed", range(3))
def test_lvis(seed, protocol):
    dataset, results = federated_case(seed, categories=6, results=250)
    check(lvis_truth(dataset), protocol, table_of(results), seed)


def test_lvis_fixed_ap(monkeypatch):
    monkeypatch.setattr("evaluation.federated.FIXED_AP_DETECTIONS", 15)
    dataset, results = federated_case(5, categories=6, results=250)
    check(lvis_truth(dataset), Lvis(fixed_ap=True), table_of(results))


def test_many_detections_on_one_and_two_threads(monkeypatch):
    dataset, results = random_case(7, images=40, categories=5, truths=400, results=3000)
    rows = [dict(row, image_id=dataset["images"][i % 40]["id"]) for i, row in enumerate(results * 30)]
    table = table_of(rows)
    prepared = prepare(ground_truth(dataset))
    scores = np.random.default_rng(0).random((3, len(table)))
    scores[1] = np.round(scores[1], 2)
    figures = {}
    for threads in ("1", "2"):
        monkeypatch.setenv("QUORUM_THREADS", threads)
        attached = attach(prepared, table)
        figures[threads] = attached.average_precision(scores), attached.average_precision_per_category(scores)
    np.testing.assert_array_equal(figures["1"][0], figures["2"][0])
    np.testing.assert_array_equal(figures["1"][1], figures["2"][1])
    assert figures["1"][0].tolist() == [prepared.evaluate(rescored(table, row)).AP for row in scores]


def test_candidates_in_several_portions_give_the_same(monkeypatch):
    dataset, results = random_case(8)
    table = table_of(results)
    attached = attach(prepare(ground_truth(dataset)), table)
    scores = np.random.default_rng(0).random((7, len(table)))
    expected = attached.average_precision(scores), attached.average_precision_per_category(scores)
    monkeypatch.setattr("evaluation.attached._MOST", 5000)
    np.testing.assert_array_equal(attached.average_precision(scores), expected[0])
    np.testing.assert_array_equal(attached.average_precision_per_category(scores), expected[1])


def test_no_candidates_and_shapes():
    dataset, results = random_case(8)
    table = table_of(results)
    attached = attach(prepare(ground_truth(dataset)), table)
    assert len(attached) == len(table)
    assert attached.average_precision(np.zeros((0, len(table)))).shape == (0,)
    assert attached.average_precision_per_category(np.zeros((0, len(table)))).shape == (0, 3)
    assert attached.average_precision(table.score).shape == ()
    assert attached.average_precision(table.score.astype(np.float32)).shape == ()


def test_wrong_scores_are_refused():
    dataset, results = random_case(9)
    table = table_of(results)
    attached = attach(prepare(ground_truth(dataset)), table)
    for shape in [(len(table) - 1,), (2, len(table) + 1), (1, 1, len(table)), ()]:
        with pytest.raises(InputError, match="expected an array of shape"):
            attached.average_precision(np.zeros(shape))
    row = int(np.flatnonzero(np.isin(table.category_id, [a["category_id"] for a in dataset["annotations"]]))[3])
    for value in (np.nan, -np.nan, np.inf):
        scores = np.zeros((2, len(table)))
        scores[1, row] = value
        for call in (attached.average_precision, attached.average_precision_per_category):
            with pytest.raises(InputError, match=f"candidate 1, row {row}.*expected a number"):
                call(scores)
        with pytest.raises(InputError, match=f"row {row}"):
            attached.evaluate(scores[1])
    with pytest.raises(InputError, match="one vector, got 2"):
        attached.evaluate(np.zeros((2, len(table))))
    with pytest.raises(InputError, match="77 is no category"):
        attached.average_precision_per_category(table.score, [77])


@pytest.mark.parametrize("kind", ["random", "ties", "sorted", "one far away", "two levels far apart", "short"])
def test_sort(kind):
    rng = np.random.default_rng(0)
    n = 10 if kind == "short" else 5000
    score = rng.normal(size=n)
    if kind == "ties":
        score = rng.choice(LEVELS, n)
    elif kind == "sorted":
        score = np.sort(score)[::-1].copy()
    elif kind == "one far away":
        score = 0.5 + score * 1e-9  # all in one range of keys
        score[77] = -1e300
    elif kind == "two levels far apart":
        score = np.where(rng.random(n) < 0.5, 1e-9, 1e9) * (1 + score * 1e-12)
    number = np.empty(n)
    key = number.view(np.uint64)
    index = np.arange(n, dtype=np.int32)
    assert gather_keys(score, index, number, key)
    sort_keys(key, index, np.empty(n, np.uint64), np.empty(n, np.int32), np.empty(2048, np.int32), n)
    np.testing.assert_array_equal(index, np.argsort(-score, kind="stable"))
    assert np.all(key[1:] <= key[:-1])
