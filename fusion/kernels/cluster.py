"""Clusters of overlapping boxes: WBF, NMW, probabilistic fusion and consensus in one pass over the cells.

All four go through a cell's boxes from the best score down; a box joins a cluster that it overlaps by
more than the threshold or starts one of its own. They differ in the box that stands for a cluster (its
first, or in WBF the running weighted mean), in which of several overlapping clusters is joined (the
best overlap, or the first as in hard NMS), and in what becomes of the boxes of a cluster.
"""

import math
from typing import NamedTuple

import numpy as np

from fusion import geometry
from fusion.columns import Columns, Fused, Sources
from fusion.kernels.jit import chunks, jit, run
from fusion.kernels.sort import _sort_descending
from fusion.kernels.suppress import LANES, first_bit, frame, hits, place, share_factor

__all__ = [
    "CONFIDENCES",
    "CONSENSUS",
    "NMW",
    "PROBABILITY",
    "WBF",
    "Answer",
    "Options",
    "allocate",
    "fuse_cells",
    "fuse_columns",
    "order_by_key",
]

WBF, NMW, PROBABILITY, CONSENSUS = range(4)
CONFIDENCES = ("avg", "max", "box_and_model_avg", "absent_model_aware_avg")
_AVG, _MAX, _BOX_AND_MODEL, _ABSENT_MODEL = range(4)

# Beyond this many times a cell's extent float32 means may lie outside of it, and the filter is off.
_FAR = 2.0**20
_ALWAYS = np.float32(-np.inf)

_iou = jit(geometry.iou)


class Options(NamedTuple):
    """What to do with the boxes of a cell.

    Attributes:
        kind: WBF, NMW, PROBABILITY or CONSENSUS.
        confidence: How WBF scores a cluster: index into `CONFIDENCES`.
        overflow: Whether "avg" may count more boxes than there are members.
        iou: A box joins a cluster above this overlap.
        skip: Boxes with a lower score are left out.
        weights: float64 [members]; scores are multiplied by them, 0 leaves a member out.
        total: Sum of the weights as NumPy adds them.
        unsorted: Whether score * weight may be in another order than the columns.
        least: CONSENSUS keeps clusters of at least this many distinct members.
        sources: Whether to write the rows behind each fused box.
    """

    kind: int
    confidence: int
    overflow: bool
    iou: float
    skip: float
    weights: np.ndarray
    total: float
    unsorted: bool
    least: int
    sources: bool


class Answer(NamedTuple):
    """Where `fuse_cells` writes; room for as many entries as the cells have boxes.

    Attributes:
        cell: int32 [n].
        row: int64 [n].
        score: float64 [n].
        corners: float64 [n, 4].
        votes: int16 [n].
        sizes: int64 [n], number of rows behind each fused box; empty when sources are not asked for.
        source: int64 [n], those rows; empty likewise.
    """

    cell: np.ndarray
    row: np.ndarray
    score: np.ndarray
    corners: np.ndarray
    votes: np.ndarray
    sizes: np.ndarray
    source: np.ndarray


class _Scratch(NamedTuple):
    """Room for one cell of up to `size` boxes; sorting takes `key`, `index` and `other_*` in turn.

    Attributes:
        key: float64 [size], score * weight of the boxes, best first.
        index: int64 [size], where those boxes are in the columns.
        joined: int64 [size], cluster of each box.
        box: float64 [size, 5], x1, y1, x2, y2 and area of the box that stands for each cluster.
        sums: float64 [size, 6] over each cluster: x1, y1, x2, y2 times score; score; weight or logit.
        tally: int64 [size, 3] of each cluster: boxes, distinct members, votes of 1 less votes of 0.
        lead: int64 [size], the box that began each cluster.
        bits: uint64 [size, words], members of each cluster.
        near: float32 [blocks, 5, LANES], `box` as the filter sees it.
        picked: float64 [members].
        score, rank, row: [size], clusters kept: score, cluster, and row of each cluster.
    """

    key: np.ndarray
    index: np.ndarray
    other_key: np.ndarray
    other_index: np.ndarray
    joined: np.ndarray
    box: np.ndarray
    sums: np.ndarray
    tally: np.ndarray
    lead: np.ndarray
    bits: np.ndarray
    near: np.ndarray
    picked: np.ndarray
    score: np.ndarray
    rank: np.ndarray
    row: np.ndarray


def allocate(size: int, sources: bool) -> Answer:
    """Return room for the answer of cells with `size` boxes in all."""
    traced = size if sources else 0
    return Answer(
        np.empty(size, np.int32),
        np.empty(size, np.int64),
        np.empty(size),
        np.empty((size, 4)),
        np.empty(size, np.int16),
        np.empty(traced, np.int64),
        np.empty(traced, np.int64),
    )


def fuse_columns(columns: Columns, options: Options) -> Fused:
    """Run `fuse_cells` over all cells on the kernel threads.

    Each piece of cells is trimmed to what it gave before the next begins, so that memory beyond the
    result stays below the size of the columns.
    """

    def task(low: int, high: int) -> tuple[np.ndarray, ...]:
        answer = allocate(int(columns.start[high] - columns.start[low]), options.sources)
        fused, traced = fuse_cells(columns, low, high, options, answer)
        return (*(part[:fused].copy() for part in answer[:-1]), answer.source[:traced].copy())

    pieces = run(task, chunks(columns.start)) or [tuple(allocate(0, options.sources))]
    cell, row, score, corners, votes, sizes, source = (np.concatenate(part) for part in zip(*pieces, strict=True))
    sources = Sources(np.concatenate(([0], np.cumsum(sizes))), source) if options.sources else None
    return Fused(cell, row, score, None if options.kind == CONSENSUS else corners, votes, sources)


@jit
def order_by_key(key, index, row, other_key, other_index, size):
    """Sort key[:size] descending and index[:size] with it; equal keys by row[index], ascending."""
    _sort_descending(key, index, other_key, other_index, 0, size)
    low = 0
    while low < size:
        high = low + 1
        while high < size and key[high] == key[low]:
            high += 1
        if high - low > 1:
            tied = key[low]
            for i in range(low, high):
                key[i] = -float(row[index[i]])
            _sort_descending(key, index, other_key, other_index, low, high)
            key[low:high] = tied
        low = high


@jit
def _pairwise_sum(values, low, size):
    """Add in the order in which NumPy's sum does: last bits depend on it."""
    if size < 8:
        total = 0.0
        for i in range(low, low + size):
            total += values[i]
        return total
    if size <= 128:
        lanes = values[low : low + 8].copy()
        whole = size - size % 8
        for i in range(8, whole):
            lanes[i % 8] += values[low + i]
        total = ((lanes[0] + lanes[1]) + (lanes[2] + lanes[3])) + ((lanes[4] + lanes[5]) + (lanes[6] + lanes[7]))
        for i in range(low + whole, low + size):
            total += values[i]
        return total
    half = size // 2
    half -= half % 8
    return _pairwise_sum(values, low, half) + _pairwise_sum(values, low + half, size - half)


@jit
def _weight_of(bits, weights, present, picked):
    """Sum the weights of the members whose bit is set, or of those whose bit is not."""
    size = 0
    for m in range(len(weights)):
        if ((bits[m // 64] >> np.uint64(m % 64)) & np.uint64(1) != np.uint64(0)) == present:
            picked[size] = weights[m]
            size += 1
    return _pairwise_sum(picked, 0, size)


@jit
def _scratch(size, members):
    return _Scratch(
        np.empty(size),
        np.empty(size, np.int64),
        np.empty(size),
        np.empty(size, np.int64),
        np.empty(size, np.int64),
        np.empty((size, 5)),
        np.empty((size, 6)),
        np.empty((size, 3), np.int64),
        np.empty(size, np.int64),
        np.empty((size, (members + 63) // 64), np.uint64),
        np.empty((size // LANES + 1, 5, LANES), np.float32),
        np.empty(members),
        np.empty(size),
        np.empty(size, np.int64),
        np.empty(size, np.int64),
    )


@jit
def _select(columns, first, last, options, work):
    """Take the boxes of a cell that count, best first; return how many."""
    size = 0
    for i in range(first, last):
        weight = options.weights[columns.member[i]]
        if columns.score[i] >= options.skip and weight > 0.0:
            work.key[size] = columns.score[i] * weight
            work.index[size] = i
            size += 1
    if options.unsorted:
        order_by_key(work.key, work.index, columns.row, work.other_key, work.other_index, size)
    return size


@jit
def _frame(columns, first, last):
    """Return the corner of a cell and how much the filter widens its boxes; less than 0 where it is off."""
    left, top, pad = frame(columns, first, last)
    reach = 0.0
    for i in range(first, last):
        reach = max(reach, max(max(-columns.x1[i], columns.x2[i]), max(-columns.y1[i], columns.y2[i])))
    return left, top, pad if reach * 2.0**-22 <= pad * _FAR else -1.0


@jit
def _narrow(x1, y1, x2, y2, area, origin, factor):
    """Return a box for the filter: widened corners, and its share of the least intersection that counts."""
    left, top, pad = origin
    if pad < 0:
        return np.float32(0), np.float32(0), np.float32(1), np.float32(1), _ALWAYS
    return (
        np.float32(x1 - left - pad),
        np.float32(y1 - top - pad),
        np.float32(x2 - left + pad),
        np.float32(y2 - top + pad),
        np.float32(area * factor),
    )


@jit
def _find(near, box, clusters, x1, y1, x2, y2, area, narrow, threshold, greedy):
    """Return (cluster, IoU) of the best overlap above the threshold, or of the first; cluster -1 for none."""
    found = -1
    best = threshold
    for block in range((clusters + LANES - 1) // LANES):
        bits = hits(near[block], narrow)
        while bits:
            c = block * LANES + first_bit(bits)
            bits = np.uint32(bits & (bits - np.uint32(1)))
            overlap = _iou(box[c, 0], box[c, 1], box[c, 2], box[c, 3], box[c, 4], x1, y1, x2, y2, area)
            if overlap > best:
                found = c
                best = overlap
                if greedy:
                    return found, best
    return found, best


@jit
def _cluster(columns, first, last, options, size, work):
    """Put the selected boxes of a cell into clusters; return the number of clusters.

    The sums of a cluster are kept as they stand after each box: added in the same order, float32 where
    the public WBF and NMW add in float32, they are what adding all its boxes anew would give.
    """
    kind, weights = options.kind, options.weights
    box, sums, tally, near = work.box, work.sums, work.tally, work.near
    greedy = kind == PROBABILITY or kind == CONSENSUS
    origin = _frame(columns, first, last)
    factor = share_factor(options.iou)
    clusters = 0
    for b in range(size):
        i = work.index[b]
        x1, y1, x2, y2 = columns.x1[i], columns.y1[i], columns.x2[i], columns.y2[i]
        area = (x2 - x1) * (y2 - y1)
        narrow = _narrow(x1, y1, x2, y2, area, origin, factor)
        found, overlap = _find(near, box, clusters, x1, y1, x2, y2, area, narrow, options.iou, greedy)
        c = found
        if found < 0:
            c = clusters
            overlap = 1.0
            clusters += 1
            work.lead[c] = b
            sums[c] = 0.0
            tally[c] = 0
            work.bits[c] = np.uint64(0)
            place(near, c, narrow)
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
            sums[c, 0] = np.float32(sums[c, 0] + score * x1)
            sums[c, 1] = np.float32(sums[c, 1] + score * y1)
            sums[c, 2] = np.float32(sums[c, 2] + score * x2)
            sums[c, 3] = np.float32(sums[c, 3] + score * y2)
            sums[c, 4] += score
            sums[c, 5] += weights[member]
            if kind == WBF and found >= 0 and sums[c, 4] != 0.0:
                _move(work, c, origin, factor)
        elif fresh and kind == PROBABILITY:
            sums[c, 0] += score * x1
            sums[c, 1] += score * y1
            sums[c, 2] += score * x2
            sums[c, 3] += score * y2
            sums[c, 4] += score
            if 0.0 < score < 1.0:
                sums[c, 5] += math.log(score) - math.log1p(-score)
            else:
                tally[c, 2] += 1 if score > 0.0 else -1
    return clusters


@jit
def _move(work, c, origin, factor):
    """Set the box of a WBF cluster to the weighted mean of its boxes."""
    total = work.sums[c, 4]
    x1 = float(np.float32(work.sums[c, 0] / total))
    y1 = float(np.float32(work.sums[c, 1] / total))
    x2 = float(np.float32(work.sums[c, 2] / total))
    y2 = float(np.float32(work.sums[c, 3] / total))
    area = (x2 - x1) * (y2 - y1)
    box = work.box[c]
    box[0], box[1], box[2], box[3], box[4] = x1, y1, x2, y2, area
    narrow = _narrow(x1, y1, x2, y2, area, origin, factor)
    block = work.near[c // LANES]
    for r in range(5):
        block[r, c % LANES] = narrow[r]


@jit
def _wbf_score(work, c, options):
    """Return the score of a WBF cluster."""
    count = work.tally[c, 0]
    value = work.key[work.lead[c]]
    weight = work.sums[c, 5]
    if count > 1:
        # the public package keeps a cluster of several boxes in a float32 array, a single box in float64
        value = float(np.float32(value if options.confidence == _MAX else work.sums[c, 4] / count))
        weight = float(np.float32(weight))
    if options.confidence == _MAX:
        return value / options.weights.max()
    if options.confidence == _BOX_AND_MODEL:
        value = value * count / weight
        return value * _weight_of(work.bits[c], options.weights, True, work.picked) / options.total
    if options.confidence == _ABSENT_MODEL:
        return value * count / (weight + _weight_of(work.bits[c], options.weights, False, work.picked))
    return value * (count if options.overflow else min(len(options.weights), count)) / options.total


@jit
def _finish(columns, clusters, options, work):
    """Turn the sums of a cell into boxes and scores, best first; return the number of clusters kept."""
    kept = 0
    for c in range(clusters):
        if options.kind == CONSENSUS and work.tally[c, 1] < options.least:
            continue
        score = work.key[work.lead[c]]
        total = work.sums[c, 4]
        if options.kind == WBF:
            score = _wbf_score(work, c, options)
        elif options.kind == NMW:
            score = float(np.float32(score))
            for s in range(4):
                work.box[c, s] = float(np.float32(work.sums[c, s] / total if total != 0.0 else work.box[c, s]))
        elif options.kind == PROBABILITY and work.tally[c, 1] > 1:
            certain = work.tally[c, 2]
            score = 1.0 / (1.0 + math.exp(-work.sums[c, 5]))
            if certain != 0:
                score = 1.0 if certain > 0 else 0.0
            if total != 0.0:
                for s in range(4):
                    work.box[c, s] = work.sums[c, s] / total
        work.row[c] = columns.row[work.index[work.lead[c]]]
        work.score[kept] = score
        work.rank[kept] = c
        kept += 1
    order_by_key(work.score, work.rank, work.row, work.other_key, work.other_index, kept)
    return kept


@jit
def _trace(columns, size, clusters, kept, work, answer, at, traced):
    """Write the rows behind the fused boxes of a cell; return how many are written by now."""
    target = work.other_index
    target[:clusters] = -1
    for k in range(kept):
        c = work.rank[k]
        target[c] = traced
        answer.sizes[at + k] = work.tally[c, 0]
        traced += work.tally[c, 0]
    for b in range(size):
        c = work.joined[b]
        if target[c] >= 0:
            answer.source[target[c]] = columns.row[work.index[b]]
            target[c] += 1
    return traced


@jit
def fuse_cells(columns, low, high, options, answer):
    """Fuse the boxes of cells low..high-1, in order of (cell, score descending, row).

    Returns:
        (number of fused boxes, number of rows behind them).
    """
    largest = 0
    for cell in range(low, high):
        largest = max(largest, columns.start[cell + 1] - columns.start[cell])
    work = _scratch(largest, len(options.weights))
    at = 0
    traced = 0
    for cell in range(low, high):
        first, last = columns.start[cell], columns.start[cell + 1]
        size = _select(columns, first, last, options, work)
        clusters = _cluster(columns, first, last, options, size, work)
        kept = _finish(columns, clusters, options, work)
        if options.sources:
            traced = _trace(columns, size, clusters, kept, work, answer, at, traced)
        for k in range(kept):
            c = work.rank[k]
            answer.cell[at] = cell
            answer.row[at] = work.row[c]
            answer.score[at] = work.score[k]
            answer.votes[at] = work.tally[c, 1]
            for s in range(4):
                answer.corners[at, s] = work.box[c, s]
            at += 1
    return at, traced
