"""The sections' own computations beside obvious ones."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation import Coco, prepare
from evaluation.curves import reliability
from evaluation.report.sections.threshold import thinned
from tests.evaluation.analysis.samples import case


@given(seed=st.integers(0, 10_000), points=st.integers(4, 200))
def test_counts_at_a_threshold(seed, points):
    *_, prepared, table, _ = case(seed)
    result = prepared.evaluate(table)
    judged = result.judged
    found = thinned(judged, points)
    scores = np.unique(judged.score)[::-1]
    assert len(found.score) <= points
    assert len(found.score) == len(scores) or len(found.score) >= points // 2 - 1
    for score, right, wrong in zip(found.score, found.right, found.wrong, strict=True):
        assert score in scores
        assert right == sum(r for r, s in zip(judged.right, judged.score, strict=True) if s >= score)
        assert wrong == sum(w for w, s in zip(judged.wrong, judged.score, strict=True) if s >= score)
    assert found.objects == judged.objects.sum()
    if found.best >= 0:
        assert found.score[found.best] == result.threshold
        right, wrong = found.right[found.best], found.wrong[found.best]
        assert 2 * right / (right + wrong + found.objects) == pytest.approx(result.F1, abs=1e-15)
    if len(scores):
        assert (found.score[0], found.score[-1]) == (scores[0], scores[-1])


def test_nothing_to_count():
    *_, prepared, table, _ = case(0, results=0)
    found = thinned(prepared.evaluate(table).judged, 10)
    assert (len(found.score), found.best) == (0, -1)


@given(seed=st.integers(0, 10_000), bins=st.integers(1, 30), low=st.sampled_from([0.0, -0.5]))
def test_reliability_counts_every_detection_once(seed, bins, low):
    *_, prepared, table, _ = case(seed, lowest=low)
    judged = prepared.evaluate(table).judged
    found = reliability(judged, bins)
    assert found.probabilities == (not len(judged.score) or (judged.score.min() >= 0 and judged.score.max() <= 1))
    edges = np.linspace(*found.bounds, bins + 1)
    shares, scores = [], []
    for place in range(bins):
        last = place == bins - 1
        inside = [edges[place] <= s and (s < edges[place + 1] or last) for s in judged.score]
        if any(inside):
            weight = (judged.right + judged.wrong)[inside]
            shares.append(judged.right[inside].sum() / weight.sum())
            scores.append((weight * judged.score[inside]).sum() / weight.sum())
    np.testing.assert_allclose(found.share, shares, atol=1e-12)
    np.testing.assert_allclose(found.score, scores, atol=1e-12)


def test_reliability_of_nothing():
    *_, prepared, table, _ = case(0, results=0)
    found = reliability(prepare(prepared.ground_truth, Coco()).evaluate(table).judged, 5)
    assert (len(found.share), found.bounds) == (0, (0.0, 1.0))
    assert np.isnan(found.gap)
