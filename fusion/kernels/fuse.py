"""Fused boxes and scores from clusters: WBF, NMW, probabilistic fusion and consensus over all cells."""

import math
from typing import NamedTuple

import numpy as np

from fusion.columns import Columns, Fused, Sources
from fusion.kernels.cluster import (
    CONSENSUS,
    NMW,
    PROBABILITY,
    WBF,
    cluster,
    order_by_key,
    part,
    scratch,
    select,
)
from fusion.kernels.jit import chunks, jit, joined, run, uncounted

__all__ = ["CONFIDENCES", "Answer", "Options", "allocate", "fuse_cells", "fuse_columns"]

CONFIDENCES = ("avg", "max", "box_and_model_avg", "absent_model_aware_avg")
_AVG, _MAX, _BOX_AND_MODEL, _ABSENT_MODEL = range(4)


class Options(NamedTuple):
    """What to do with the boxes of a cell.

    Attributes:
        kind: WBF, NMW, PROBABILITY or CONSENSUS.
        iou: A box joins a cluster above this overlap.
        weights: float64 [members]; scores are multiplied by them, 0 leaves a member out.
        sources: Whether to write the rows behind each fused box.
        skip: Boxes with a lower score are left out.
        unsorted: Whether score * weight may be in another order than the columns.
        confidence: How WBF scores a cluster: index into `CONFIDENCES`.
        overflow: Whether "avg" may count more boxes than there are members.
        total: Sum of the weights as NumPy adds them, for WBF.
        largest: The largest of them, for WBF.
        least: CONSENSUS keeps clusters of at least this many distinct members.
    """

    kind: int
    iou: float
    weights: np.ndarray
    sources: bool
    skip: float = -np.inf
    unsorted: bool = False
    confidence: int = 0
    overflow: bool = False
    total: float = 1.0
    largest: float = 1.0
    least: int = 1


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


@jit
def allocate(size, sources):
    """Return room for the answer of cells with `size` boxes in all: an `Answer`."""
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
    cell, row, score, corners, votes, sizes, source = joined(pieces)
    sources = Sources(np.concatenate(([0], np.cumsum(sizes))), source) if options.sources else None
    return Fused(cell, row, score, None if options.kind == CONSENSUS else corners, votes, sources)


@jit
def _sum_like_numpy(values, size):
    """Add up to 128 values in the order in which NumPy's sum does: last bits depend on it.

    NumPy halves longer arrays; there the last bit may differ.
    """
    whole = size - size % 8 if size >= 8 else 0
    total = 0.0
    if whole > 0:
        a, b, c, d, e, f, g, h = values[0], values[1], values[2], values[3], values[4], values[5], values[6], values[7]
        for i in range(8, whole, 8):
            a += values[i]
            b += values[i + 1]
            c += values[i + 2]
            d += values[i + 3]
            e += values[i + 4]
            f += values[i + 5]
            g += values[i + 6]
            h += values[i + 7]
        total = ((a + b) + (c + d)) + ((e + f) + (g + h))
    for i in range(whole, size):
        total += values[i]
    return total


@part
def _weight_of(bits, weights, present, picked):
    """Sum the weights of the members whose bit is set, or of those whose bit is not."""
    size = 0
    for m in range(len(weights)):
        if ((bits[m // 64] >> np.uint64(m % 64)) & np.uint64(1) != np.uint64(0)) == present:
            picked[size] = weights[m]
            size += 1
    return _sum_like_numpy(picked, size)


@part
def _wbf_score(work, c, options):
    """Return the score of a WBF cluster."""
    count = work.tally[c, 0]
    value = work.key[work.lead[c]]
    weight = work.sums[c, 5]
    if count > 1:
        # the public package keeps a cluster of several boxes in a float32 array, a single box in float64
        value = np.float64(np.float32(value if options.confidence == _MAX else work.sums[c, 4] / count))
        weight = np.float64(np.float32(weight))
    if options.confidence == _MAX:
        return value / options.largest
    if options.confidence == _BOX_AND_MODEL:
        value = value * count / weight
        return value * _weight_of(work.bits[c], options.weights, True, work.picked) / options.total
    if options.confidence == _ABSENT_MODEL:
        return value * count / (weight + _weight_of(work.bits[c], options.weights, False, work.picked))
    return value * (count if options.overflow else min(len(options.weights), count)) / options.total


@part
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
            score = np.float64(np.float32(score))
            for s in range(4):
                work.box[c, s] = np.float64(np.float32(work.sums[c, s] / total if total != 0.0 else work.box[c, s]))
        elif options.kind == PROBABILITY and work.tally[c, 1] > 1:
            certain = work.tally[c, 2]
            score = 1.0 / (1.0 + math.exp(-work.sums[c, 5]))
            if certain != 0:
                score = 1.0 if certain > 0 else 0.0
            if total != 0.0:
                for s in range(4):
                    work.box[c, s] = work.sums[c, s] / total
        work.row[c] = columns.row[work.order[work.lead[c]]]
        work.score[kept] = score
        work.rank[kept] = c
        kept += 1
    order_by_key(work.score, work.rank, work.row, work.other_key, work.other_order, kept)
    return kept


@part
def _trace(columns, size, clusters, kept, work, answer, at, traced):
    """Write the rows behind the fused boxes of a cell; return how many are written by now."""
    target = work.other_order
    target[:clusters] = -1
    for k in range(kept):
        c = work.rank[k]
        target[c] = traced
        answer.sizes[at + k] = work.tally[c, 0]
        traced += work.tally[c, 0]
    for b in range(size):
        c = work.joined[b]
        if target[c] >= 0:
            answer.source[target[c]] = columns.row[work.order[b]]
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
    return _fuse(columns, low, high, options, answer, scratch(largest, len(options.weights)))


@uncounted
def _fuse(columns, low, high, options, answer, work):
    at = 0
    traced = 0
    for cell in range(low, high):
        first, last = columns.start[cell], columns.start[cell + 1]
        size = select(columns, first, last, options, work)
        clusters = cluster(columns, first, last, options, size, work)
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
