"""The fusions that papers define, as benchmarks have them, against slow versions that follow the definitions."""

import itertools
import math

import numpy as np
import pytest

from benchmarks import published_fusions
from benchmarks.published_fusions import alfa, dbf, prae
from evaluation import prepare
from evaluation.worth import mean_precision
from fusion.run import apply
from fusion.steps.wbf import Wbf
from fusion.table import DetectionTable
from tests.search.members import make_members, make_truth

TRUTH = make_truth(21, images=8, categories=2, objects=40)
KNOWN = prepare(TRUTH)
MEMBERS = make_members(21, 3, TRUTH)


def iou(a, b):
    """Of two boxes x, y, w, h."""
    width = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    height = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    shared = max(width, 0) * max(height, 0)
    return shared / (a[2] * a[3] + b[2] * b[3] - shared)


def cells_of(tables):
    """Detections (member, score, box) by image and category."""
    cells = {}
    for member, table in enumerate(tables):
        rows = zip(table.image_id.tolist(), table.category_id.tolist(), table.score, table.xywh, strict=True)
        for image, category, score, box in rows:
            cells.setdefault((image, category), []).append((member, float(score), tuple(box)))
    return cells


def suppressed(found):
    """Greedy NMS at .5 of (image, category, score, box)."""
    kept = []
    for one in sorted(found, key=lambda one: -one[2]):
        if all(one[:2] != other[:2] or iou(one[3], other[3]) <= 0.5 for other in kept):
            kept.append(one)
    return kept


def assert_same(table, expected):
    rows = zip(table.image_id.tolist(), table.category_id.tolist(), table.score, *table.xywh.T, strict=True)
    own = np.array(sorted(rows))
    other = np.array(sorted((image, category, score, *box) for image, category, score, box in expected))
    assert own.shape == other.shape
    np.testing.assert_allclose(own, other, rtol=1e-6, atol=1e-9)


def choosing(monkeypatch, choice):
    monkeypatch.setattr(published_fusions, "_best", lambda choices, fused, known: choice)


def clusters_of(found, tau):
    """Merge the two clusters whose least similar pair is the most similar of all, while that is above tau."""
    clusters = [[one] for one in found]

    def likeness(a, b):
        return min(0.0 if one[0] == other[0] else iou(one[2], other[2]) for one in a for other in b)

    while len(clusters) > 1:
        a, b = max(itertools.combinations(clusters, 2), key=lambda pair: likeness(*pair))
        if likeness(a, b) <= tau:
            break
        clusters = [one for one in clusters if one is not a and one is not b] + [a + b]
    return clusters


@pytest.mark.parametrize("multiplied", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("tau", "epsilon"), [(0.3, 0.2), (0.6, 0.05)])
def test_alfa(monkeypatch, multiplied, weighted, tau, epsilon):
    least = 0.05
    choosing(monkeypatch, (least, tau, epsilon, multiplied, weighted))
    # a member that is absent says that each category has its share of epsilon, and "no object" the rest
    absent, nothing = epsilon / len(TRUTH.category_id), 1 - epsilon
    expected = []
    for (image, category), found in cells_of(MEMBERS).items():
        for cluster in clusters_of([one for one in found if one[1] >= least], tau):
            scores, missing = [one[1] for one in cluster], len(MEMBERS) - len(cluster)
            if multiplied:
                right = math.prod(scores) * absent**missing
                wrong = math.prod(1 - score for score in scores) * nothing**missing
                score = right / (right + wrong)
            else:
                score = (sum(scores) + missing * absent) / len(MEMBERS)
            weights = scores if weighted else [1.0] * len(scores)
            box = np.average([one[2] for one in cluster], axis=0, weights=weights)
            expected.append((image, category, score, box))
    assert any(len(cluster) > 1 for found in cells_of(MEMBERS).values() for cluster in clusters_of(found, tau))
    assert_same(alfa(MEMBERS, MEMBERS, KNOWN), suppressed(expected))


def curve_of(table, category):
    """Score, precision and recall of each place where a member's detections of a category can be cut."""
    told = mean_precision(table, KNOWN, at=0.5).known()
    own = [(s, w) for s, w, c in zip(told.score, told.worth, told.category_id, strict=True) if c == category]
    objects = int((TRUTH.category_id[TRUTH.category] == category).sum())
    points = []
    for cut in sorted({score for score, _ in own}):
        above = [right for score, right in own if score >= cut]
        points.append((cut, sum(above) / len(above), sum(above) / objects))
    return np.array(points)


@pytest.mark.parametrize("power", [2.0, 8.0])
def test_dbf(monkeypatch, power):
    choosing(monkeypatch, power)
    curves = {(m, c): curve_of(table, c) for m, table in enumerate(MEMBERS) for c in TRUTH.category_id.tolist()}
    expected = []
    for (image, category), found in cells_of(MEMBERS).items():
        for own in found:
            masses, precision = [], 0.0
            for member in range(len(MEMBERS)):
                others = [one for one in found if one[0] == member]
                best = own if own[0] == member else max(others, key=lambda one: iou(one[2], own[2]), default=None)
                there = best is not None and (best is own or iou(best[2], own[2]) > 0.5)
                cut, p, r = curves[member, category].T
                place = best[1] if there else -np.inf
                p, r = np.interp(place, cut, p), np.interp(place, cut, r)
                against = min(r**power, 1 - p)
                masses.append({"target": p, "non-target": against, "undecided": 1 - p - against})
                precision = p if member == own[0] else precision
            joint = {"target": 0.0, "non-target": 0.0, "undecided": 0.0}
            for said in itertools.product(*masses):  # Dempster's rule: what contradicts itself is left out
                meaning = set(said) - {"undecided"} or {"undecided"}
                if len(meaning) == 1:
                    joint[meaning.pop()] += math.prod(mass[one] for mass, one in zip(masses, said, strict=True))
            total = max(sum(joint.values()), 1e-12)
            score = (joint["target"] - joint["non-target"]) / total
            expected.append((image, category, score + 1e-9 * precision, own[2]))
    assert_same(dbf(MEMBERS, MEMBERS, KNOWN), suppressed(expected))


def test_prae(monkeypatch):
    choosing(monkeypatch, 0.6)
    refined = []
    for table in MEMBERS:
        level = [int(score / 0.04) for score in table.score]
        right = []
        for image, category, box in zip(table.image_id, table.category_id, table.xywh, strict=True):
            same = (TRUTH.image_id[TRUTH.image] == image) & (TRUTH.category_id[TRUTH.category] == category)
            right.append(any(iou(box, other) > 0.5 for other in TRUTH.xywh[same]))
        score, keep = [], []
        for number, own in enumerate(table.score):
            if level[number] < 1:
                continue
            place = min(level[number], 24)
            inside = [hit for hit, one in zip(right, level, strict=True) if min(one, 24) == place]
            count = 1 + len(inside)
            probability = sum(inside) / count + 0.5 * math.sqrt(2 * math.log(len(table)) / count)
            score.append(own * probability / (0.04 * place + 0.02))
            keep.append(number)
        refined.append(
            DetectionTable.from_arrays(
                image_id=table.image_id[keep],
                category_id=table.category_id[keep],
                score=np.array(score),
                xywh=table.xywh[keep],
                metadata=table.metadata,
            )
        )
    expected = apply(Wbf(iou=0.6), refined)
    rows = zip(expected.image_id.tolist(), expected.category_id.tolist(), expected.score, expected.xywh, strict=True)
    assert_same(prae(MEMBERS, MEMBERS, KNOWN), list(rows))
