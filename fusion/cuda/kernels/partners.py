"""Boxes of one input and those of another that they overlap: a thread for each box."""

import numpy as np

from fusion.cuda.kernels.cells import GpuColumns, Rows, copy_row, overlap, rows_like
from fusion.cuda.kernels.device import Kernel, cuda, empty, filled, number_at
from fusion.cuda.kernels.scan import offsets

__all__ = ["pairs", "support_rows"]


def pairs(rows: Rows, own: Rows, columns: GpuColumns, iou: float, part: str) -> Rows:
    """Return what the first of two inputs contributes, in the order of the boxes; see `fusion.steps.dropout.Dropout`.

    Args:
        rows: The rows of both inputs.
        own: The rows of the first, with its own members.
        columns: Both, sorted.
        iou: What the IoU of a pair must exceed.
        part: "scores" or "boxes".
    """
    size, first = len(rows.image), len(own.image)
    best, asked = empty(size, np.int32), filled(size, np.int32, size)
    find_best(size, columns, first, iou, best, asked)
    used, other = filled(size, np.int8), empty(size, np.int32)
    settle_pairs(size, columns, best, asked, part == "scores", used, other)
    before = offsets(used)
    out = rows_like(rows, number_at(before, size), votes=False)
    write_pairs(size, rows, own.member, first, used, other, before, out)
    return out


@Kernel
def support_rows(rows, columns, number, iou, factor, score, used):
    """Multiply the score of each box that no box of another input overlaps by at least `iou`.

    Args:
        rows: `Rows`.
        columns: `GpuColumns` of the rows.
        number: int16 [n], which input each row is of.
        iou: Threshold.
        factor: Of unsupported boxes; 0 leaves them out.
        score: float64 [n], written by row.
        used: int8 [n], written by row.
    """
    for p in range(cuda.grid(1), len(columns.row), cuda.gridsize(1)):
        c, r = columns.cell[p], columns.row[p]
        q, end = columns.start[c], columns.start[c + 1]
        found = False
        while q < end and not found:
            other = columns.row[q]
            found = number[other] != number[r] and overlap(columns, p, q) >= iou
            q += 1
        score[r] = rows.score[r] if found else rows.score[r] * factor
        used[r] = 1 if found or factor > 0.0 else 0


@Kernel
def find_best(columns, first, iou, best, asked):
    """Find the box of the second input that each of the first (rows below `first`) overlaps best.

    Args:
        columns: `GpuColumns` of both.
        first: Number of rows of the first input.
        iou: What the IoU must exceed.
        best: int32 [n], written: by position, the position of the partner, -1 without one.
        asked: int32 [n]; becomes, by position, the first position that asked for it, where it is lower.
    """
    for p in range(cuda.grid(1), len(columns.row), cuda.gridsize(1)):
        found, most = -1, iou
        if columns.row[p] < first:
            c = columns.cell[p]
            for q in range(columns.start[c], columns.start[c + 1]):
                if columns.row[q] >= first:
                    u = overlap(columns, p, q)
                    if u > most:
                        found, most = q, u
        best[p] = found
        if found >= 0:
            cuda.atomic.min(asked, found, p)


@Kernel
def settle_pairs(columns, best, asked, moved, used, other):
    """Flag the row that gives the box of each pair, and note the other; a box asked for goes to the first asker.

    Positions are by falling score, so the lowest of those that ask is the one of highest score, whoever comes first.
    """
    for p in range(cuda.grid(1), len(columns.row), cuda.gridsize(1)):
        q = best[p]
        if q >= 0 and asked[q] == p:
            mine, theirs = columns.row[p], columns.row[q]
            if moved:
                used[theirs] = 1
                other[theirs] = mine
            else:
                used[mine] = 1
                other[mine] = theirs


@Kernel
def write_pairs(rows, member, first, used, other, before, out):
    """Write a row per pair: the box of one, the score of the other, the member of the one below `first`."""
    for i in range(cuda.grid(1), len(used), cuda.gridsize(1)):
        if used[i] != 0:
            q = before[i]
            copy_row(rows, i, rows.category[i], rows.score[other[i]], out, q)
            out.member[q] = member[i if i < first else other[i]]
