"""Clusters of overlapping boxes: WBF, NMW, probabilistic fusion and consensus in one pass over the cells.

All four go through a cell's boxes from the best score down; a box joins a cluster that it overlaps by
more than the threshold or starts one of its own. They differ in the box that stands for a cluster (its
first, or in WBF the running weighted mean), in which of several overlapping clusters is joined (the
best overlap, or the first as in hard NMS), and in what becomes of the members.
"""

import math
from typing import NamedTuple

import numpy as np

from fusion import geometry
from fusion.columns import Columns, Fused, Sources
from fusion.kernels.jit import chunks, jit, run
from fusion.kernels.sort import _sort_descending

__all__ = [
    "ABSENT_MODEL_AWARE_AVG",
    "AVG",
    "BOX_AND_MODEL_AVG",
    "CONSENSUS",
    "MAX",
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
AVG, MAX, BOX_AND_MODEL_AVG, ABSENT_MODEL_AWARE_AVG = range(4)

# Boxes that the filter looks at together: two AVX registers. 32 and 64 lose on cells of 16 clusters (5.5 -> 2.4 and
# 1.4 G pairs/s) and win nothing on large ones.
_BLOCK = 16
# Below this size a cell goes without the filter.
_SMALL = 8
# Outside this range of coordinates squares leave the range of float32; such cells go without the filter.
_NEAR, _FAR = 1e-8, 1e15
_OUTSIDE = np.float32(1e30)
_ZERO = np.float32(0)

_iou = jit(geometry.iou)


class Options(NamedTuple):
    """What to do with the boxes of a cell.

    Attributes:
        kind: WBF, NMW, PROBABILITY or CONSENSUS.
        confidence: How WBF scores a cluster: AVG, MAX, BOX_AND_MODEL_AVG or ABSENT_MODEL_AWARE_AVG.
        overflow: Whether AVG may count more boxes than there are members.
        iou: A box joins a cluster above this overlap.
        skip: Boxes with a lower score are left out.
        weights: float64 [members]; scores are multiplied by them, 0 leaves a member out.
        total: Sum of the weights.
        unsorted: Whether score * weight may be in another order than the columns.
        min_members: CONSENSUS keeps clusters of at least this many distinct members.
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
    min_members: int
    sources: bool


class Answer(NamedTuple):
    """Where `fuse_cells` writes; room for as many entries as the cells have boxes.

    Attributes:
        cell: int64 [n].
        row: int64 [n].
        score: float64 [n].
        corners: float64 [n, 4].
        votes: int16 [n].
        source_start: int64 [n + 1], or empty when sources are not asked for.
        source_row: int64 [n], or empty.
    """

    cell: np.ndarray
    row: np.ndarray
    score: np.ndarray
    corners: np.ndarray
    votes: np.ndarray
    source_start: np.ndarray
    source_row: np.ndarray


def allocate(size: int, sources: bool) -> Answer:
    """Return room for the answer of cells with `size` boxes in all."""
    traced = size if sources else 0
    return Answer(
        np.empty(size, np.int64),
        np.empty(size, np.int64),
        np.empty(size),
        np.empty((size, 4)),
        np.empty(size, np.int16),
        np.zeros(traced + 1, np.int64),
        np.empty(traced, np.int64),
    )


def fuse_columns(columns: Columns, options: Options) -> Fused:
    """Run `fuse_cells` over all cells on the kernel threads.

    Each piece of cells is trimmed to what it gave before the next begins, so that memory beyond the
    result stays below the size of the columns.
    """

    def task(low: int, high: int) -> tuple[np.ndarray, ...]:
        answer = allocate(int(columns.start[high] - columns.start[low]), options.sources)
        fused, rows = fuse_cells(columns, low, high, options, answer)
        kept = [part[:fused].copy() for part in answer[:5]]
        if options.sources:
            kept += [np.diff(answer.source_start[: fused + 1]), answer.source_row[:rows].copy()]
        return tuple(kept)

    pieces = run(task, chunks(columns.start))
    if not pieces:
        empty = allocate(0, True)
        pieces = [(*empty[:5], empty.source_row, empty.source_row)]
    cell, row, score, corners, votes, *traced = (np.concatenate(part) for part in zip(*pieces, strict=True))
    sources = Sources(np.concatenate(([0], np.cumsum(traced[0]))), traced[1]) if options.sources else None
    return Fused(cell, row, score, None if options.kind == CONSENSUS else corners, votes, sources)


@jit
def order_by_key(key, row, index, other_key, other_index, size):
    """Sort key[:size] descending, `index` with it; equal keys by row[index] ascending."""
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
            for i in range(low, high):
                key[i] = tied
        low = high


@jit
def _pairwise_sum(values, low, size):
    """Add in the order in which NumPy's sum does, which the public package's last bits depend on."""
    if size < 8:
        total = 0.0
        for i in range(low, low + size):
            total += values[i]
        return total
    if size <= 128:
        a, b, c, d = values[low], values[low + 1], values[low + 2], values[low + 3]
        e, f, g, h = values[low + 4], values[low + 5], values[low + 6], values[low + 7]
        whole = size - size % 8
        for i in range(low + 8, low + whole, 8):
            a += values[i]
            b += values[i + 1]
            c += values[i + 2]
            d += values[i + 3]
            e += values[i + 4]
            f += values[i + 5]
            g += values[i + 6]
            h += values[i + 7]
        total = ((a + b) + (c + d)) + ((e + f) + (g + h))
        for i in range(low + whole, low + size):
            total += values[i]
        return total
    half = size // 2
    half -= half % 8
    return _pairwise_sum(values, low, half) + _pairwise_sum(values, low + half, size - half)


@jit
def _weight_of(bits, words, cluster, weights, present, picked):
    """Sum the weights of the members that are in a cluster, or of those that are not."""
    size = 0
    for m in range(len(weights)):
        inside = (bits[cluster * words + m // 64] >> np.uint64(m % 64)) & np.uint64(1) == np.uint64(1)
        if inside == present:
            picked[size] = weights[m]
            size += 1
    return _pairwise_sum(picked, 0, size)


@jit
def _set_filter(boxes, cluster, x1, y1, x2, y2, area):
    """Write a cluster's box, rounded to float32, where the filter sees it."""
    block = cluster // _BLOCK
    lane = cluster % _BLOCK
    boxes[block, 0, lane] = x1
    boxes[block, 1, lane] = y1
    boxes[block, 2, lane] = x2
    boxes[block, 3, lane] = y2
    boxes[block, 4, lane] = area


@jit
def _clear_block(boxes, block):
    """Fill a block with boxes that overlap nothing."""
    for lane in range(_BLOCK):
        boxes[block, 0, lane] = _OUTSIDE
        boxes[block, 1, lane] = _OUTSIDE
        boxes[block, 2, lane] = -_OUTSIDE
        boxes[block, 3, lane] = -_OUTSIDE
        boxes[block, 4, lane] = _ZERO


@jit
def _any_overlap(boxes, block, x1, y1, x2, y2, area, share, slack):
    """Whether some box of a block may overlap by more than the threshold; never wrongly False.

    IoU > t is intersection > t / (1 + t) * (sum of areas), which needs no division. `share` is that
    factor less 1e-5, `slack` 2^-20 of the largest coordinate: more than what rounding to float32 takes
    from a side. What passes is tested exactly.
    """
    hits = np.int32(0)
    for lane in range(_BLOCK):
        left = max(boxes[block, 0, lane], x1)
        top = max(boxes[block, 1, lane], y1)
        right = min(boxes[block, 2, lane], x2)
        bottom = min(boxes[block, 3, lane], y2)
        width = max(right - left + slack, _ZERO)
        # int32 throughout: an int64 counter halves the lanes
        hits = np.int32(hits + np.int32(width * (bottom - top + slack) > share * (boxes[block, 4, lane] + area)))
    return hits > 0


@jit
def _find(box, low, high, x1, y1, x2, y2, area, best, first):
    """Return (cluster, IoU) of the best overlap above `best` among low..high-1, of the first with `first`."""
    found = -1
    for c in range(low, high):
        overlap = _iou(box[c, 0], box[c, 1], box[c, 2], box[c, 3], box[c, 4], x1, y1, x2, y2, area)
        if overlap > best:
            found = c
            best = overlap
            if first:
                break
    return found, best


@jit
def _joined_score(logits, certain):
    """Return prod p / (prod p + prod (1 - p)) from the sum of log(p / (1 - p)) and certain votes.

    `certain` counts votes of exactly 1 less those of exactly 0: as many of each cancel out.
    """
    if certain != 0:
        return 1.0 if certain > 0 else 0.0
    return 1.0 / (1.0 + math.exp(-logits))


class Scratch(NamedTuple):
    """Room for one cell of up to `size` boxes.

    Attributes:
        key: float64 [size], score * weight of the cell's boxes, in order.
        index: int64 [size], where the boxes are in the columns.
        other_key, other_index: The same again, for sorting.
        joined: int64 [size], cluster of each box.
        box: float64 [size, 5], x1, y1, x2, y2 and area of the box that stands for each cluster.
        sums: float64 [size, 6], sums over each cluster: x1, y1, x2, y2 times score, score, weight (or logit).
        count: int64 [size], boxes of each cluster.
        votes: int64 [size], distinct members of each cluster.
        certain: int64 [size], votes of exactly 1 less those of exactly 0.
        lead: int64 [size], which of the cell's boxes is the first of each cluster.
        bits: uint64 [size, words], members of each cluster.
        near: float32 [blocks, 5, _BLOCK], `box` as the filter sees it.
        picked: float64 [members].
    """

    key: np.ndarray
    index: np.ndarray
    other_key: np.ndarray
    other_index: np.ndarray
    joined: np.ndarray
    box: np.ndarray
    sums: np.ndarray
    count: np.ndarray
    votes: np.ndarray
    certain: np.ndarray
    lead: np.ndarray
    bits: np.ndarray
    near: np.ndarray
    picked: np.ndarray


@jit
def _scratch(size, members):
    return Scratch(
        np.empty(size),
        np.empty(size, np.int64),
        np.empty(size),
        np.empty(size, np.int64),
        np.empty(size, np.int64),
        np.empty((size, 5)),
        np.empty((size, 6)),
        np.empty(size, np.int64),
        np.empty(size, np.int64),
        np.empty(size, np.int64),
        np.empty(size, np.int64),
        np.empty((size, (members + 63) // 64), np.uint64),
        np.empty((size // _BLOCK + 1, 5, _BLOCK), np.float32),
        np.empty(members),
    )


@jit
def _select(columns, low, high, options, scratch):
    """Take the boxes of a cell that count, best first; return how many and their largest coordinate."""
    key, index = scratch.key, scratch.index
    weights = options.weights
    size = 0
    reach = 0.0
    for i in range(low, high):
        weight = weights[columns.member[i]]
        if columns.score[i] < options.skip or weight == 0.0:
            continue
        key[size] = columns.score[i] * weight
        index[size] = i
        size += 1
        reach = max(reach, max(max(-columns.x1[i], columns.x2[i]), max(-columns.y1[i], columns.y2[i])))
    if options.unsorted:
        order_by_key(key, columns.row, index, scratch.other_key, scratch.other_index, size)
    return size, reach


@jit
def _cluster(columns, options, size, reach, scratch):
    """Put the selected boxes of a cell into clusters; return the number of clusters."""
    key, box, sums, near, weights = scratch.key, scratch.box, scratch.sums, scratch.near, options.weights
    kind = options.kind
    first = kind == PROBABILITY or kind == CONSENSUS
    filtered = size > _SMALL and _NEAR < reach < _FAR and key[size - 1] >= 0.0
    share = np.float32(options.iou / (1.0 + options.iou) * (1.0 - 1e-5))
    slack = np.float32(reach * 2.0**-20)
    clusters = 0
    for b in range(size):
        i = scratch.index[b]
        x1, y1, x2, y2 = columns.x1[i], columns.y1[i], columns.x2[i], columns.y2[i]
        area = (x2 - x1) * (y2 - y1)
        found = -1
        overlap = options.iou
        if filtered:
            f1, f2, f3, f4, f5 = np.float32(x1), np.float32(y1), np.float32(x2), np.float32(y2), np.float32(area)
            for block in range((clusters + _BLOCK - 1) // _BLOCK):
                if _any_overlap(near, block, f1, f2, f3, f4, f5, share, slack):
                    begin = block * _BLOCK
                    end = min(begin + _BLOCK, clusters)
                    c, overlap = _find(box, begin, end, x1, y1, x2, y2, area, overlap, first)
                    if c >= 0:
                        found = c
                        if first:
                            break
        else:
            found, overlap = _find(box, 0, clusters, x1, y1, x2, y2, area, overlap, first)
        c = found
        if found < 0:
            c = clusters
            clusters += 1
            _open(scratch, c, b)
            overlap = 1.0
        scratch.joined[b] = c
        scratch.count[c] += 1
        member = columns.member[i]
        bit = np.uint64(1) << np.uint64(member % 64)
        fresh = scratch.bits[c, member // 64] & bit == np.uint64(0)
        if fresh:
            scratch.bits[c, member // 64] |= bit
            scratch.votes[c] += 1
        score = key[b]
        if kind == WBF or kind == NMW:
            score = score * overlap if kind == NMW else score
            sums[c, 0] = np.float32(sums[c, 0] + score * x1)
            sums[c, 1] = np.float32(sums[c, 1] + score * y1)
            sums[c, 2] = np.float32(sums[c, 2] + score * x2)
            sums[c, 3] = np.float32(sums[c, 3] + score * y2)
            sums[c, 4] += score
            sums[c, 5] += weights[member]
        elif kind == PROBABILITY and fresh:
            sums[c, 0] += score * x1
            sums[c, 1] += score * y1
            sums[c, 2] += score * x2
            sums[c, 3] += score * y2
            sums[c, 4] += score
            if 0.0 < score < 1.0:
                sums[c, 5] += math.log(score) - math.log1p(-score)
            else:
                scratch.certain[c] += 1 if score > 0.0 else -1
        if found >= 0:
            if kind != WBF or sums[c, 4] == 0.0:
                continue
            x1 = float(np.float32(sums[c, 0] / sums[c, 4]))
            y1 = float(np.float32(sums[c, 1] / sums[c, 4]))
            x2 = float(np.float32(sums[c, 2] / sums[c, 4]))
            y2 = float(np.float32(sums[c, 3] / sums[c, 4]))
            area = (x2 - x1) * (y2 - y1)
        box[c, 0], box[c, 1], box[c, 2], box[c, 3], box[c, 4] = x1, y1, x2, y2, area
        if filtered:
            _set_near(near, c, x1, y1, x2, y2, area)
    return clusters


@jit
def _open(scratch, c, b):
    """Start cluster c with box b."""
    for s in range(6):
        scratch.sums[c, s] = 0.0
    for w in range(scratch.bits.shape[1]):
        scratch.bits[c, w] = np.uint64(0)
    scratch.count[c] = 0
    scratch.votes[c] = 0
    scratch.certain[c] = 0
    scratch.lead[c] = b
    if c % _BLOCK == 0:
        _clear_block(scratch.near, c // _BLOCK)


@jit
def _wbf_score(scratch, c, first, options):
    """Return the score of a WBF cluster whose best box has the score `first`."""
    count = scratch.count[c]
    value = first
    weight = scratch.sums[c, 5]
    if count > 1:
        mean = first if options.confidence == MAX else scratch.sums[c, 4] / count
        value = float(np.float32(mean))
        weight = float(np.float32(weight))
    if options.confidence == MAX:
        return value / options.largest
    if options.confidence == BOX_AND_MODEL_AVG:
        value = value * count / weight
        return value * _weight_of(scratch.bits, c, options.weights, True, scratch.picked) / options.total
    if options.confidence == ABSENT_MODEL_AWARE_AVG:
        absent = _weight_of(scratch.bits, c, options.weights, False, scratch.picked)
        return value * count / (weight + absent)
    if options.overflow:
        return value * count / options.total
    return value * min(len(options.weights), count) / options.total


@jit
def _finish(options, clusters, scratch):
    """Turn sums into scores and boxes; return the number of clusters kept.

    From here `key` and `other...` hold scores of the clusters kept, `index` of boxes stays.
    """
    box, sums = scratch.box, scratch.sums
    kept = 0
    for c in range(clusters):
        if options.kind == CONSENSUS and scratch.votes[c] < options.min_members:
            continue
        score = scratch.key[scratch.lead[c]]
        if options.kind == WBF:
            score = _wbf_score(scratch, c, score, options)
        elif options.kind == NMW:
            score = float(np.float32(score))
            for s in range(4):
                mean = sums[c, s] / sums[c, 4] if sums[c, 4] != 0.0 else box[c, s]
                box[c, s] = float(np.float32(mean))
        elif options.kind == PROBABILITY and scratch.votes[c] > 1:
            score = _joined_score(sums[c, 5], scratch.certain[c])
            if sums[c, 4] != 0.0:
                for s in range(4):
                    box[c, s] = sums[c, s] / sums[c, 4]
        # in place: cluster c began at box c or later, so no score still to be read is overwritten
        scratch.key[kept] = score
        scratch.other_index[kept] = c
        kept += 1
    return kept
