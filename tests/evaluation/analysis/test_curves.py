"""Curves, best thresholds, calibration, confusion and sizes against plain versions."""

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation import Coco, Lvis, prepare
from evaluation.analysis.calibrated import calibration_curve
from evaluation.analysis.confusion import confusion_matrix
from evaluation.analysis.curves import best_f1, curve_frame
from evaluation.analysis.overlaps import IGNORED, LEFT_OUT, NOTHING, find_overlaps
from evaluation.analysis.sizes import SIDES, size_frame
from evaluation.curves import mean_curve
from fusion.errors import InputError
from tests.evaluation.analysis.samples import case, table_of
from tests.evaluation.test_lvis import federated_case, lvis_truth
from tests.oracles.analysis import average_precision, best_threshold, confusion, outcomes

SEEDS = st.integers(0, 10**6)
few = settings(max_examples=15, deadline=None)


def objects_of(dataset, category):
    return sum(
        g["category_id"] == category and not g["iscrowd"] and 0 <= g["area"] <= 1e10 for g in dataset["annotations"]
    )


@given(seed=SEEDS, masks=st.booleans(), iou=st.sampled_from([0.5, 0.75]))
@few
def test_matching_is_the_official_one(seed, masks, iou):
    dataset, results, prepared, table, overlap = case(seed, masks=masks, images=2, results=300)
    overlaps = find_overlaps(table, prepared)
    assigned = overlaps.assign(iou, cap=20)
    found = overlaps.found
    want = outcomes(dataset, results, overlap, iou, cap=20)
    for k, rows in want.items():
        own = np.flatnonzero(found.category == np.flatnonzero(prepared.category_ids == k)[0])
        got = [
            (score, "true" if truth >= 0 else "ignored" if truth == IGNORED else "false")
            for score, truth in zip(found.score[own].tolist(), assigned.truth[own].tolist(), strict=True)
            if truth != LEFT_OUT
        ]
        assert sorted(got) == sorted(rows)
    hits = assigned.truth[assigned.truth >= 0]
    assert len(set(hits.tolist())) == len(hits)
    assert np.all(assigned.iou[assigned.truth >= 0] >= iou)
    assert np.all(assigned.iou[assigned.truth < 0] == 0)


@pytest.mark.parametrize("seed", range(10))
def test_matching_is_that_of_the_lvis_evaluation(seed):
    dataset, results = federated_case(seed, images=6)
    prepared = prepare(lvis_truth(dataset), Lvis(max_dets=25, match_id_zero=True))
    table = table_of(results)
    block = prepared.evaluate(table).matches.blocks[0]
    overlaps = find_overlaps(table, prepared)
    truth = overlaps.assign(0.5, cap=prepared.protocol.caps[-1]).truth
    true, spared = np.zeros(len(truth), bool), np.zeros(len(truth), bool)
    true[block.row], spared[block.row] = (block.true & np.uint64(1)) > 0, (block.spared & np.uint64(1)) > 0
    np.testing.assert_array_equal(truth >= 0, true)
    np.testing.assert_array_equal(np.isin(np.arange(len(truth)), block.row), truth != LEFT_OUT)
    wrong = ~(true | spared)[block.row] & ((block.outside & 1) == 0)
    np.testing.assert_array_equal(truth[block.row] == NOTHING, wrong)


@given(seed=SEEDS, masks=st.booleans())
@few
def test_best_threshold(seed, masks):
    dataset, results, prepared, table, overlap = case(seed, masks=masks)
    overlaps = find_overlaps(table, prepared)
    common, frame = best_f1(overlaps, overlaps.assign(0.5))
    want = outcomes(dataset, results, overlap, 0.5)
    for row in frame.itertuples():
        assert row.objects == objects_of(dataset, row.category_id)
        f1, score = best_threshold(want[row.category_id], row.objects) if row.objects else (-1.0, math.nan)
        if f1 < 0:
            assert math.isnan(row.f1)
            assert math.isnan(row.score)
            continue
        assert (row.f1, row.score) == (f1, score)
        if row.f1:
            assert 2 / (1 / row.precision + 1 / row.recall) == pytest.approx(row.f1)
    rows = [row for own in want.values() for row in own]
    f1, score = best_threshold(rows, int(frame["objects"].sum())) if frame["objects"].sum() else (-1.0, math.nan)
    assert (common.f1, common.score) == (f1, score) or (f1 < 0 and math.isnan(common.f1))


def test_curves_give_average_precision():
    _, _, prepared, table, _ = case(4, categories=4)
    result = prepared.evaluate(table)
    assert mean_curve(result).mean() == pytest.approx(result.AP)
    assert mean_curve(result, 0.5).mean() == pytest.approx(result.AP50)
    frame = curve_frame(result)
    means = frame.groupby("category_id")[["precision_50", "precision_75", "precision_mean"]].mean()
    want = result.to_frame().dropna()[["AP50", "AP75", "AP"]]
    np.testing.assert_allclose(means.to_numpy(), want.to_numpy())
    assert list(means.index) == list(want.index)
    with pytest.raises(InputError, match="not among the thresholds"):
        mean_curve(result, 0.51)
    few_thresholds = prepare(prepared.ground_truth, Coco(iou_thresholds=(0.5, 0.6))).evaluate(table)
    assert curve_frame(few_thresholds)["precision_75"].isna().all()


def test_curves_without_ground_truth():
    _, _, prepared, table, _ = case(4, truths=0)
    result = prepared.evaluate(table)
    assert np.isnan(mean_curve(result)).all()
    assert len(curve_frame(result)) == 0
    overlaps = find_overlaps(table, prepared)
    common, frame = best_f1(overlaps, overlaps.assign(0.5))
    assert math.isnan(common.score)
    assert frame["f1"].isna().all()


@given(seed=SEEDS, bins=st.integers(1, 30))
@few
def test_calibration(seed, bins):
    dataset, results, prepared, _, overlap = case(seed)
    for row in results:
        row["score"] = min(max(row["score"], 0.0), 1.0)
    table = table_of(results)
    overlaps = find_overlaps(table, prepared)
    assigned = overlaps.assign(0.5)
    calibration = calibration_curve(overlaps, assigned, bins)
    rows = [
        (k, *row) for k, own in outcomes(dataset, results, overlap, 0.5).items() for row in own if row[1] != "ignored"
    ]
    assert calibration.detections.sum() == len(rows)
    if not rows:
        assert math.isnan(calibration.ECE)
        return
    place = lambda score: min(int(np.searchsorted(np.linspace(0, 1, bins + 1), score, "right")) - 1, bins - 1)  # noqa: E731
    gap = 0.0
    for b in range(bins):
        inside = [(score, outcome == "true") for _, score, outcome in rows if place(score) == b]
        assert calibration.detections[b] == len(inside)
        if inside:
            score, precision = (sum(values) / len(inside) for values in zip(*inside, strict=True))
            assert calibration.score[b] == pytest.approx(score)
            assert calibration.precision[b] == pytest.approx(precision)
            assert calibration.quality[b] <= calibration.precision[b]
            gap += len(inside) * abs(score - precision)
        else:
            assert math.isnan(calibration.score[b])
    assert pytest.approx(gap / len(rows), abs=1e-12) == calibration.ECE
    quality = assigned.iou[(assigned.truth != IGNORED) & (assigned.truth != LEFT_OUT)]
    assert np.nansum(calibration.quality * calibration.detections) == pytest.approx(quality.sum())
    assert calibration.LaECE == pytest.approx(calibration.category_LaECE.mean())


def test_perfect_and_worthless_scores():
    dataset, _, prepared, _, _ = case(2, results=0)
    perfect = [
        {k: g[k] for k in ("image_id", "category_id", "bbox", "area")} | {"score": 1.0}
        for g in dataset["annotations"]
        if not g["iscrowd"] and g["bbox"][2] * g["bbox"][3] > 0 and g["area"] < 1e10
    ]
    overlaps = find_overlaps(table_of(perfect), prepared)
    calibration = calibration_curve(overlaps, overlaps.assign(0.5))
    assert pytest.approx(0, abs=0.1) == calibration.ECE
    far = [row | {"bbox": [200.0, 200.0, 5.0, 5.0]} for row in perfect]
    overlaps = find_overlaps(table_of(far), prepared)
    calibration = calibration_curve(overlaps, overlaps.assign(0.5))
    assert calibration.ECE == calibration.LaECE == 1


def test_scores_that_are_no_probabilities():
    _, _, prepared, table, _ = case(3)
    overlaps = find_overlaps(table, prepared)
    calibration = calibration_curve(overlaps, overlaps.assign(0.5))
    assert math.isnan(calibration.ECE)
    assert np.isnan(calibration.category_LaECE).all()
    assert calibration.edges[0] == -1
    assert calibration.edges[-1] == 2
    with pytest.raises(InputError, match="bins"):
        calibration_curve(overlaps, overlaps.assign(0.5), 0)


@given(seed=SEEDS, masks=st.booleans(), least=st.sampled_from([-2.0, 0.3, 0.5, 5.0]), iou=st.sampled_from([0.3, 0.5]))
@few
def test_confusion(seed, masks, least, iou):
    dataset, results, prepared, table, overlap = case(seed, masks=masks, categories=4)
    got = confusion_matrix(find_overlaps(table, prepared), iou, least)
    ids = [*prepared.category_ids.tolist(), None]
    cells = {(ids[r], ids[c]): int(got.matrix[r, c]) for r, c in np.argwhere(got.matrix)}
    assert cells == confusion(dataset, results, overlap, iou, least)
    frame = got.to_frame()
    assert frame["count"].sum() == got.matrix.sum()
    assert list(frame["count"]) == sorted(frame["count"], reverse=True)


@given(seed=SEEDS, masks=st.booleans(), scale=st.sampled_from([1.0, 7.0, 40.0]))
@settings(max_examples=8, deadline=None)
def test_sizes(seed, masks, scale):
    dataset, results, prepared, table, overlap = case(seed, masks=masks, scale=1.0 if masks else scale, truths=30)
    result = prepared.evaluate(table)
    frame = size_frame(find_overlaps(table, prepared), result)
    coco, sides = frame[frame["bins"] == "coco"], frame[frame["bins"] == "side"]
    for value, want in zip(coco["AP"], (result.APs, result.APm, result.APl), strict=True):
        assert value == want or (math.isnan(value) and want == -1)
    assert sides["objects"].sum() == prepared.positives[:, 0].sum()
    edges = [0.0, *(float(side) ** 2 for side in SIDES), math.inf]
    for (low, high), row in zip(pairwise(edges), sides.itertuples(), strict=True):
        area_range = (low, math.nextafter(high, 0))
        values = []
        for k in prepared.category_ids.tolist():
            counted = [
                g for g in dataset["annotations"] if g["category_id"] == k and not g["iscrowd"] and g["area"] <= 1e10
            ]
            positives = sum(low <= g["area"] < high for g in counted)
            if positives:
                for threshold in result.iou_thresholds.tolist():
                    rows = bin_outcomes(dataset, results, overlap, threshold, area_range)[k]
                    values.append(average_precision(rows, positives))
        assert pytest.approx(np.mean(values)) == row.AP if values else math.isnan(row.AP)


def bin_outcomes(dataset, results, overlap, threshold, area_range):
    """Outcomes of one bin; what lies beyond COCO's largest area is in no bin."""
    rows = [g | {"area": -1.0} if g["area"] > 1e10 else g for g in dataset["annotations"]]
    return outcomes(dataset | {"annotations": rows}, results, overlap, threshold, area_range=area_range)
