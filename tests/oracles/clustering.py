"""WBF, NMW, probabilistic fusion and consensus of one cell in plain Python, every cluster averaged anew at each box.

A box is a tuple (x1, y1, x2, y2, score, member, row); an answer is a list of (score, row, corners,
votes, rows), best score first. Slow on purpose.
"""

from fractions import Fraction
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
from hypothesis import strategies as st

from fusion.columns import sort_columns
from fusion.table import DetectionTable
from tests.oracles.arithmetic import one_by_one
from tests.oracles.suppression import in_cells

SCENES = st.fixed_dictionaries(
    {
        "seed": st.integers(0, 2**32),
        "size": st.integers(1, 90),
        "members": st.sampled_from([1, 2, 5, 12, 70]),
        "cells": st.sampled_from([1, 4]),
        "scale": st.sampled_from([1.0, 640.0, 1e-6, 1e-200, 1e30, 1e160]),
        "offset": st.sampled_from([0.0, 0.0, -0.5, -3e4, 1e9]),
        "ties": st.booleans(),
        "flat": st.booleans(),
    }
)


def f32(x):
    return float(np.float32(x))


def iou(a, b):
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0 or width * height == 0:
        return 0.0
    shared = width * height
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)


def best_first(boxes, weights, skip):
    kept = [(box[4] * weights[box[5]], box) for box in boxes if box[4] >= skip and weights[box[5]] > 0]
    return sorted(kept, key=lambda pair: (-pair[0], pair[1][6]))


def best_overlap(shapes, box, threshold):
    found, best = None, threshold
    for c, shape in enumerate(shapes):
        if iou(shape, box) > best:
            found, best = c, iou(shape, box)
    return found


def first_overlap(shapes, box, threshold):
    return next((c for c, shape in enumerate(shapes) if iou(shape, box) > threshold), None)


def mean_box(cluster, factors):
    """Weighted mean in float32, box by box."""
    sums, total = [0.0] * 4, 0.0
    for box, factor in zip(cluster, factors, strict=True):
        sums = [f32(s + factor * box[k]) for k, s in enumerate(sums)]
        total += factor
    return tuple(f32(s / total) for s in sums) if total != 0 else None


def mean_of_sides(cluster, factors, sides, before):
    """Mean of each side by weights of its own (`sides[member]`), in float32; sides that cross stay as they were."""
    means = []
    for k in range(4):
        weights = [factor * sides[box[5]][k] for box, factor in zip(cluster, factors, strict=True)]
        mean = mean_box(cluster, weights)
        means.append(before[k] if mean is None else mean[k])
    for near, far in ((0, 2), (1, 3)):
        if means[far] < means[near]:
            means[near], means[far] = before[near], before[far]
    return tuple(means)


def answer(rows):
    return sorted(rows, key=lambda entry: (-entry[0], entry[1]))


def wbf(boxes, weights, threshold=0.55, conf_type="avg", skip=0.0, overflow=False, sides=None):
    weights = np.asarray(weights, np.float64)
    clusters, shapes = [], []
    for score, box in best_first(boxes, weights, skip):
        c = best_overlap(shapes, box, threshold)
        if c is None:
            clusters.append([(score, box)])
            shapes.append(box[:4])
        else:
            clusters[c].append((score, box))
            scores, joined = zip(*clusters[c], strict=True)
            moved = mean_box(joined, scores) if sides is None else mean_of_sides(joined, scores, sides, shapes[c])
            shapes[c] = shapes[c] if moved is None else moved
    fused = []
    for cluster, shape in zip(clusters, shapes, strict=True):
        scores = [score for score, _ in cluster]
        used = [float(weights[box[5]]) for _, box in cluster]
        n, members = len(cluster), sorted({box[5] for _, box in cluster})
        total = weight = 0.0
        for score, own in zip(scores, used, strict=True):
            total += score
            weight += own
        value = scores[0]
        if n > 1:
            value, weight = f32(scores[0] if conf_type == "max" else total / n), f32(weight)
        if conf_type == "avg":
            value = value * (n if overflow else min(len(weights), n)) / weights.sum()
        elif conf_type == "max":
            value = value / weights.max()
        elif conf_type == "box_and_model_avg":
            value = value * n / weight
            value = value * weights[members].sum() / weights.sum()
        else:
            value = value * n / (weight + np.delete(weights, members).sum())
        fused.append((float(value), cluster[0][1][6], shape, len(members), [box[6] for _, box in cluster]))
    return answer(fused)


def nmw(boxes, weights, threshold=0.55, skip=0.0, sides=None):
    weights = np.asarray(weights, np.float64) / max(weights)
    clusters = []
    for score, box in best_first(boxes, weights, skip):
        c = best_overlap([cluster[0][1] for cluster in clusters], box, threshold)
        clusters.append([(score, box)]) if c is None else clusters[c].append((score, box))
    fused = []
    for cluster in clusters:
        first = cluster[0][1]
        factors = [score * (1.0 if box is first else iou(first, box)) for score, box in cluster]
        members = [box for _, box in cluster]
        if sides is None:
            shape = mean_box(members, factors) or tuple(f32(x) for x in first[:4])
        else:
            shape = tuple(f32(x) for x in mean_of_sides(members, factors, sides, first))
        votes = len({box[5] for _, box in cluster})
        fused.append((f32(cluster[0][0]), first[6], shape, votes, [box[6] for _, box in cluster]))
    return answer(fused)


def greedy_clusters(boxes, threshold):
    clusters = []
    for _, box in best_first(boxes, np.ones(1 + max(box[5] for box in boxes)), -np.inf):
        c = first_overlap([cluster[0] for cluster in clusters], box, threshold)
        clusters.append([box]) if c is None else clusters[c].append(box)
    return clusters


def joined(scores):
    """Return prod p / (prod p + prod (1 - p)), exact but for the last rounding; certain votes cancel out."""
    certain = scores.count(1.0) - scores.count(0.0)
    if certain:
        return 1.0 if certain > 0 else 0.0
    odds = Fraction(1)
    for score in scores:
        if 0 < score < 1:
            odds *= Fraction(score) / (1 - Fraction(score))
    return float(odds / (1 + odds))


def prob_fusion(boxes, threshold=0.5):
    fused = []
    for cluster in greedy_clusters(boxes, threshold):
        votes = list({box[5]: box for box in reversed(cluster)}.values())
        score, shape, total = cluster[0][4], cluster[0][:4], one_by_one(box[4] for box in votes)
        if len(votes) > 1:
            score = joined([box[4] for box in votes])
            if total > 0:
                shape = tuple(one_by_one(box[4] * box[k] for box in votes) / total for k in range(4))
        fused.append((score, cluster[0][6], shape, len(votes), [box[6] for box in cluster]))
    return answer(fused)


def consensus(boxes, min_members, threshold=0.5):
    fused = []
    for cluster in greedy_clusters(boxes, threshold):
        votes = len({box[5] for box in cluster})
        if votes >= min_members:
            fused.append((cluster[0][4], cluster[0][6], None, votes, [box[6] for box in cluster]))
    return answer(fused)


def scene(seed, size, members=5, cells=3, *, scale=1.0, offset=0.0, ties=False, flat=False):
    """Make a pool of random, overlapping boxes; returns it and the boxes of each of its cells.

    Args:
        seed: Seed of the generator.
        size: Number of boxes.
        members: Number of members.
        cells: Number of cells, at most.
        scale: Boxes lie in [offset, offset + scale].
        offset: Added to all coordinates.
        ties: Scores and coordinates in steps, so that many are equal; scores of 0 and 1 occur.
        flat: Some boxes have no width or no height.
    """
    rng = np.random.default_rng(seed)
    places = rng.random((max(size // 4, 1), 2)) * 0.7
    low = places[rng.integers(len(places), size=size)] + rng.normal(0, 0.03, (size, 2))
    side = 0.2 * np.exp(rng.normal(0, 0.2, (size, 2)))
    score = rng.random(size)
    if ties:
        low, side, score = low.round(1), side.round(1), score.round(1)
    if flat:
        side[rng.random((size, 2)) < 0.1] = 0
    low, high = low * scale + offset, (low + side) * scale + offset
    kind, member = rng.integers(cells, size=size).astype(np.int32), rng.integers(members, size=size).astype(np.int16)
    columns = sort_columns(np.zeros(size, np.int32), kind, score, *low.T.copy(), *high.T.copy(), member)
    rows = zip(*low.T.tolist(), *high.T.tolist(), score.tolist(), member.tolist(), range(size), strict=True)
    names = tuple(f"m{m}" for m in range(members))
    return SimpleNamespace(columns=columns, members=names, voices=(names, columns.member)), in_cells(
        zip(kind.tolist(), rows, strict=True)
    )


def table(member, xywh, score, category=1):
    """A table of one image and one category."""
    n = len(score)
    return DetectionTable.from_arrays(
        image_id=[1] * n, category_id=[category] * n, score=score, xywh=np.array(xywh, float).reshape(n, 4)
    ).with_metadata(member=member)


def listed(fused):
    """The entries of a `Fused`, with sources, as (cell, score, row, corners, votes, rows)."""
    start, row = fused.sources.start.tolist(), fused.sources.row.tolist()
    corners = [None] * len(fused.row) if fused.corners is None else [tuple(box) for box in fused.corners.tolist()]
    rows = [row[a:b] for a, b in pairwise(start)]
    cell, score, lead, votes = (part.tolist() for part in (fused.cell, fused.score, fused.row, fused.votes))
    return list(zip(cell, score, lead, corners, votes, rows, strict=True))


def expected(cells, method):
    """What `listed` should give: `method` applied to each cell."""
    return [(c, *entry) for c, boxes in enumerate(cells) for entry in method(boxes)]
