"""Fused boxes and scores from clusters: WBF, NMW, probabilistic fusion and consensus over all cells."""

from typing import NamedTuple

import numpy as np

from fusion.columns import Columns, Fused, SideWeights, Sources
from fusion.formulas import clusters, odds
from fusion.kernels.cluster import (
    CONSENSUS,
    NMW,
    PROBABILITY,
    WBF,
    cluster,
    cluster_scratch,
    order_by_key,
    part,
    select,
    weighed,
)
from fusion.kernels.jit import chunks, formula, jit, joined, run, uncounted

__all__ = ["FusedCells", "Options", "allocate", "fuse_cells", "fuse_columns"]

single, wbf_score, joint = map(formula, (clusters.single, clusters.wbf_score, odds.joint))


class Options(NamedTuple):
    """What to do with the boxes of a cell.

    Attributes:
        kind: WBF, NMW, PROBABILITY or CONSENSUS.
        iou: A box joins a cluster above this overlap.
        weights: float64 [members]; scores are multiplied by them, 0 leaves a member out.
        sources: Whether to write the rows behind each fused box.
        skip: Boxes with a lower score are left out.
        unsorted: Whether score * weight may be in another order than the columns.
        confidence: How WBF scores a cluster: index into `fusion.formulas.clusters.CONFIDENCES`.
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


class FusedCells(NamedTuple):
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
    """Return room for the answer of cells with `size` boxes in all: an `FusedCells`."""
    traced = size if sources else 0
    return FusedCells(
        np.empty(size, np.int32),
        np.empty(size, np.int64),
        np.empty(size),
        np.empty((size, 4)),
        np.empty(size, np.int16),
        np.empty(traced, np.int64),
        np.empty(traced, np.int64),
    )


def fuse_columns(columns: Columns, options: Options, sides: SideWeights | None = None) -> Fused:
    """Run `fuse_cells` over all cells on the kernel threads.

    Each piece of cells is trimmed to what it gave before the next begins, so that memory beyond the
    result stays below the size of the columns.
    """

    def task(low: int, high: int) -> tuple[np.ndarray, ...]:
        answer = allocate(int(columns.start[high] - columns.start[low]), options.sources)
        fused, traced = fuse_cells(columns, low, high, options, answer, sides)
        return (*(part[:fused].copy() for part in answer[:-1]), answer.source[:traced].copy())

    pieces = run(task, chunks(columns.start)) or [tuple(allocate(0, options.sources))]
    cell, row, score, corners, votes, sizes, source = joined(pieces)
    sources = Sources(np.concatenate(([0], np.cumsum(sizes))), source) if options.sources else None
    return Fused(cell, row, score, None if options.kind == CONSENSUS else corners, votes, sources)


@part
def _finish(columns, count, options, work, sides):
    """Turn the sums of a cell into boxes and scores, best first; return the number of clusters kept."""
    kept = 0
    for c in range(count):
        if options.kind == CONSENSUS and work.tally[c, 1] < options.least:
            continue
        score = work.key[work.lead[c]]
        total = work.sums[c, 4]
        if options.kind == WBF:
            weight, bits = work.sums[c, 5], work.bits[c]
            score = wbf_score(options, work.tally[c, 0], score, total, weight, bits, 0, options.weights, work.part)
        elif options.kind == NMW:
            score = single(score)
            if sides is not None:
                x1, y1, x2, y2 = weighed(work, c)
                work.box[c, 0], work.box[c, 1] = single(x1), single(y1)
                work.box[c, 2], work.box[c, 3] = single(x2), single(y2)
            else:
                for s in range(4):
                    work.box[c, s] = single(work.sums[c, s] / total if total != 0.0 else work.box[c, s])
        elif options.kind == PROBABILITY and work.tally[c, 1] > 1:
            score = joint(work.sums[c, 5], work.tally[c, 2])
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
def _trace(columns, size, count, kept, work, answer, at, traced):
    """Write the rows behind the fused boxes of a cell; return how many are written by now."""
    target = work.other_order
    target[:count] = -1
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
def fuse_cells(columns, low, high, options, answer, sides):
    """Fuse the boxes of cells low..high-1, in order of (cell, score descending, row).

    With `SideWeights`, or None, WBF and NMW average each side by its own.

    Returns:
        (number of fused boxes, number of rows behind them).
    """
    largest = 0
    for cell in range(low, high):
        largest = max(largest, columns.start[cell + 1] - columns.start[cell])
    work = cluster_scratch(largest, len(options.weights), sides)
    return _fuse(columns, low, high, options, answer, work, sides)


@uncounted
def _fuse(columns, low, high, options, answer, work, sides):
    at = 0
    traced = 0
    for cell in range(low, high):
        first, last = columns.start[cell], columns.start[cell + 1]
        size = select(columns, first, last, options, work)
        count = cluster(columns, first, last, options, size, work, sides)
        kept = _finish(columns, count, options, work, sides)
        if options.sources:
            traced = _trace(columns, size, count, kept, work, answer, at, traced)
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
