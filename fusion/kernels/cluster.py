"""Clusters of overlapping boxes: what WBF, NMW, probabilistic fusion and consensus have in common.

All four go through a cell's boxes from the best score down; a box joins a cluster that it overlaps by
more than the threshold or starts one of its own. They differ in the box that stands for a cluster (its
first, or in WBF the running weighted mean), in which of several overlapping clusters is joined (the
best overlap, or the first as in hard NMS), and in what is added up over a cluster.
"""

import functools
from typing import Any, NamedTuple

import numpy as np

from fusion.formulas import boxes, odds
from fusion.formulas.clusters import added, single
from fusion.kernels.filter import frame, hits, narrow, place, share_factor
from fusion.kernels.jit import formula, jit, uncounted
from fusion.kernels.sort import sort_descending
from fusion.kernels.vectors import LANES, first_bit

__all__ = [
    "CONSENSUS",
    "NMW",
    "PROBABILITY",
    "WBF",
    "ClusterScratch",
    "cluster",
    "cluster_scratch",
    "order_by_key",
    "part",
    "select",
    "weighed",
]

WBF, NMW, PROBABILITY, CONSENSUS = range(4)

# The farthest from the origin that a cell may be for the filter, in units of its extent.
_FAR = 2.0**20

# What the loop over cells calls is inlined as well.
part: Any = functools.partial(uncounted, inline="always")

iou, log_odds, added, single = map(formula, (boxes.iou, odds.log_odds, added, single))


class ClusterScratch(NamedTuple):
    """Room for one cell of up to `size` boxes; sorting takes `key`, `order` and `other_*` in turn.

    Attributes:
        key: float64 [size], score * weight of the boxes, best first.
        order: int64 [size], where those boxes are in the columns.
        joined: int64 [size], cluster of each box.
        box: float64 [size, 5], x1, y1, x2, y2 and area of the box that stands for each cluster.
        sums: float64 [size, 6] over each cluster: x1, y1, x2, y2 times score; score; weight or logit. Where sides have
            weights [size, 10]: then score times the weight of each of the four sides, by which they are multiplied too.
        tally: int64 [size, 3] of each cluster: boxes, distinct members, votes of 1 less votes of 0.
        lead: int64 [size], the box that began each cluster.
        bits: uint64 [size, words], members of each cluster.
        near: float32 [blocks, 5, LANES], `box` as the filter sees it.
        part: float64 [8], for sums as NumPy has them.
        score, rank, row: [size], clusters kept: score, cluster, and row of each cluster.
    """

    key: np.ndarray
    order: np.ndarray
    other_key: np.ndarray
    other_order: np.ndarray
    joined: np.ndarray
    box: np.ndarray
    sums: np.ndarray
    tally: np.ndarray
    lead: np.ndarray
    bits: np.ndarray
    near: np.ndarray
    part: np.ndarray
    score: np.ndarray
    rank: np.ndarray
    row: np.ndarray


@part
def order_by_key(key, index, row, other_key, other_index, size):
    """Sort key[:size] descending and index[:size] with it; equal keys by row[index], ascending."""
    sort_descending(key, index, other_key, other_index, 0, size)
    low = 0
    while low < size:
        high = low + 1
        while high < size and key[high] == key[low]:
            high += 1
        if high - low > 1:
            tied = key[low]
            for i in range(low, high):
                key[i] = -float(row[index[i]])
            sort_descending(key, index, other_key, other_index, low, high)
            key[low:high] = tied
        low = high


@jit
def cluster_scratch(size, members, sides):
    """Return a `ClusterScratch` for cells of up to `size` boxes; `sides` as for `cluster`."""
    return ClusterScratch(
        np.empty(size),
        np.empty(size, np.int64),
        np.empty(size),
        np.empty(size, np.int64),
        np.empty(size, np.int64),
        np.empty((size, 5)),
        np.empty((size, 6 if sides is None else 10)),
        np.empty((size, 3), np.int64),
        np.empty(size, np.int64),
        np.empty((size, (members + 63) // 64), np.uint64),
        np.empty((size // LANES + 1, 5, LANES), np.float32),
        np.empty(8),
        np.empty(size),
        np.empty(size, np.int64),
        np.empty(size, np.int64),
    )


@part
def select(columns, first, last, options, work):
    """Take the boxes of a cell that count, best first; return how many."""
    size = 0
    for i in range(first, last):
        weight = options.weights[columns.member[i]]
        if columns.score[i] >= options.skip and weight > 0.0:
            work.key[size] = columns.score[i] * weight
            work.order[size] = i
            size += 1
    if options.unsorted:
        order_by_key(work.key, work.order, columns.row, work.other_key, work.other_order, size)
    return size


@part
def _frame(columns, first, last, lowest):
    """Return the corner of a cell and how much the filter widens its boxes; less than 0 where it is off.

    It is off where a weighted mean may lie outside of the cell: with negative scores, and where the
    cell is so far from the origin for its size that float32 rounds a mean out of it.
    """
    left, top, pad = frame(columns, first, last)
    inside = lowest >= 0.0 and max(abs(left), abs(top)) * 2.0**-22 <= pad * _FAR
    return left, top, pad if inside else -1.0


@part
def _find(near, box, clusters, x1, y1, x2, y2, area, narrowed, threshold, greedy):
    """Return (cluster, IoU) of the best overlap above the threshold, or of the first; cluster -1 for none."""
    found = -1
    best = threshold
    for block in range((clusters + LANES - 1) // LANES):
        bits = hits(near[block], narrowed)
        while bits:
            c = block * LANES + first_bit(bits)
            bits = np.uint32(bits & (bits - np.uint32(1)))
            overlap = iou(box[c, 0], box[c, 1], box[c, 2], box[c, 3], box[c, 4], x1, y1, x2, y2, area)
            if overlap > best:
                found = c
                best = overlap
                if greedy:
                    return found, best
    return found, best


@part
def cluster(columns, first, last, options, size, work, sides):
    """Put the selected boxes of a cell into clusters; return the number of clusters.

    The sums of a cluster are kept as they stand after each box, so that no box is read twice: added in the same
    order, float32 where the public WBF and NMW add in float32, they are what adding all its boxes anew would give.

    `sides` are `SideWeights` or None: code of its own is compiled for each.
    """
    kind, weights = options.kind, options.weights
    box, sums, tally, near = work.box, work.sums, work.tally, work.near
    greedy = kind in (PROBABILITY, CONSENSUS)
    if kind == WBF and size > 0:
        origin = _frame(columns, first, last, work.key[size - 1])
    else:
        origin = frame(columns, first, last)
    factor = share_factor(options.iou)
    clusters = 0
    for b in range(size):
        i = work.order[b]
        x1, y1, x2, y2 = columns.x1[i], columns.y1[i], columns.x2[i], columns.y2[i]
        area = (x2 - x1) * (y2 - y1)
        narrowed = narrow(x1, y1, x2, y2, origin, factor)
        found, overlap = _find(near, box, clusters, x1, y1, x2, y2, area, narrowed, options.iou, greedy)
        c = found
        if found < 0:  # it begins a cluster
            c = clusters
            overlap = 1.0
            clusters += 1
            work.lead[c] = b
            # one by one: filling slices takes 6 ns per box longer
            sums[c, 0] = sums[c, 1] = sums[c, 2] = sums[c, 3] = sums[c, 4] = sums[c, 5] = 0.0
            if sides is not None:
                sums[c, 6] = sums[c, 7] = sums[c, 8] = sums[c, 9] = 0.0
            tally[c, 0] = tally[c, 1] = tally[c, 2] = 0
            for w in range(work.bits.shape[1]):
                work.bits[c, w] = np.uint64(0)
            place(near, c, narrowed)
            box[c, 0], box[c, 1], box[c, 2], box[c, 3], box[c, 4] = x1, y1, x2, y2, area
        work.joined[b] = c
        tally[c, 0] += 1
        member = columns.member[i]
        word, bit = member // 64, np.uint64(1) << np.uint64(member % 64)
        fresh = work.bits[c, word] & bit == np.uint64(0)
        if fresh:
            work.bits[c, word] |= bit
            tally[c, 1] += 1
        score = work.key[b]
        if not greedy:
            if kind == NMW:
                score *= overlap
            if sides is None:
                sums[c, 0], sums[c, 1] = added(sums[c, 0], score, x1), added(sums[c, 1], score, y1)
                sums[c, 2], sums[c, 3] = added(sums[c, 2], score, x2), added(sums[c, 3], score, y2)
            else:
                _add_weighed(sums, c, score, (x1, y1, x2, y2), sides, i)
            sums[c, 4] += score
            sums[c, 5] += weights[member]
            if kind == WBF and found >= 0 and sums[c, 4] != 0.0:
                _move(work, c, origin, factor, sides)
        elif fresh and kind == PROBABILITY:
            sums[c, 0] += score * x1
            sums[c, 1] += score * y1
            sums[c, 2] += score * x2
            sums[c, 3] += score * y2
            sums[c, 4] += score
            if 0.0 < score < 1.0:
                sums[c, 5] += log_odds(score)
            else:
                tally[c, 2] += 1 if score > 0.0 else -1
    return clusters


@part
def _add_weighed(sums, c, score, corners, sides, i):
    """Add box i to a cluster, each side by score times its weight."""
    for s in range(4):
        weight = score * sides.weight[sides.voice[i], s]
        sums[c, s] = added(sums[c, s], weight, corners[s])
        sums[c, 6 + s] += weight


@part
def weighed(work, c):
    """Return the mean of a cluster's boxes, each side by its own weights.

    Where two sides would cross, both stay where the cluster's box has them: with weights of their own they may, if
    boxes overlap little. So do all without a weight that counts.
    """
    box, sums = work.box, work.sums
    x1, y1, x2, y2 = box[c, 0], box[c, 1], box[c, 2], box[c, 3]
    if min(sums[c, 6], sums[c, 8]) > 0.0:
        left, right = single(sums[c, 0] / sums[c, 6]), single(sums[c, 2] / sums[c, 8])
        if not right < left:
            x1, x2 = left, right
    if min(sums[c, 7], sums[c, 9]) > 0.0:
        top, bottom = single(sums[c, 1] / sums[c, 7]), single(sums[c, 3] / sums[c, 9])
        if not bottom < top:
            y1, y2 = top, bottom
    return x1, y1, x2, y2


@part
def _move(work, c, origin, factor, sides):
    """Set the box of a WBF cluster to the weighted mean of its boxes."""
    if sides is None:
        total = work.sums[c, 4]
        x1, y1 = single(work.sums[c, 0] / total), single(work.sums[c, 1] / total)
        x2, y2 = single(work.sums[c, 2] / total), single(work.sums[c, 3] / total)
    else:
        x1, y1, x2, y2 = weighed(work, c)
    area = (x2 - x1) * (y2 - y1)
    box = work.box[c]
    box[0], box[1], box[2], box[3], box[4] = x1, y1, x2, y2, area
    narrowed = narrow(x1, y1, x2, y2, origin, factor)
    block = work.near[c // LANES]
    for r in range(5):
        block[r, c % LANES] = narrowed[r]
