"""What operators leave, and how it becomes rows again: ordered within each cell and packed."""

from typing import Any, NamedTuple

import numpy as np

from fusion.cuda.kernels.cells import GpuColumns, Rows, copy_row, rows_like
from fusion.cuda.kernels.device import Kernel, cuda, empty, filled, number_at
from fusion.cuda.kernels.scan import offsets

__all__ = ["Left", "pack", "pack_rows", "room"]


class Left(NamedTuple):
    """What an operator leaves of the columns.

    Attributes:
        alive: int8 [n], 1 for what is left.
        score: float64 [n], new scores.
        x1, y1, x2, y2: float64 [n], corners of new boxes; [0] where each keeps its own.
        votes: int16 [n], number of members behind each; [0] where nobody counts.
    """

    alive: Any
    score: Any
    x1: Any
    y1: Any
    x2: Any
    y2: Any
    votes: Any


def room(size: int, *, corners: bool, votes: bool) -> Left:
    """Return an answer with nothing left yet."""
    sides = (empty(size if corners else 0, np.float64) for _ in range(4))
    return Left._make([filled(size, np.int8), empty(size, np.float64), *sides, empty(size if votes else 0, np.int16)])


def pack(rows: Rows, columns: GpuColumns, left: Left) -> Rows:
    """Return the rows that are left, in order of (cell, score descending, row)."""
    before = offsets(left.alive)
    out = rows_like(rows, number_at(before, len(left.alive)), votes=len(left.votes) > 0 or len(rows.votes) > 0)
    pack_cells(len(left.alive), rows, columns, left, before, out)
    return out


def pack_rows(rows: Rows, score: Any, used: Any) -> Rows:
    """Return the rows whose flag is set, with other scores, in their order."""
    before = offsets(used)
    out = rows_like(rows, number_at(before, len(used)), votes=len(rows.votes) > 0)
    pick_rows(len(used), rows, score, used, before, out)
    return out


@Kernel
def pack_cells(rows, columns, left, before, out):
    """Put what is left of each cell into its order, one behind the other.

    Each finds its place by counting those before it, as `cells.order_cells` does: no barrier, whatever the cell's size.
    """
    for p in range(cuda.grid(1), len(columns.row), cuda.gridsize(1)):
        if left.alive[p] != 0:
            c = columns.cell[p]
            first, last = columns.start[c], columns.start[c + 1]
            r, s = columns.row[p], left.score[p]
            q = before[first]
            for j in range(first, last):
                if left.alive[j] != 0 and (left.score[j] > s or (left.score[j] == s and columns.row[j] < r)):
                    q += 1
            out.image[q] = rows.image[r]
            out.category[q] = rows.category[r]
            out.score[q] = s
            out.origin[q] = rows.origin[r]
            if len(left.x1) > 0:
                out.x[q] = left.x1[p]
                out.y[q] = left.y1[p]
                out.w[q] = left.x2[p] - left.x1[p]
                out.h[q] = left.y2[p] - left.y1[p]
                out.x2[q] = left.x1[p] + out.w[q]  # the table of new boxes has x and w alone
                out.y2[q] = left.y1[p] + out.h[q]
                out.member[q] = 0  # boxes of several members are a member of their own
            else:
                out.x[q] = rows.x[r]
                out.y[q] = rows.y[r]
                out.w[q] = rows.w[r]
                out.h[q] = rows.h[r]
                out.x2[q] = rows.x2[r]
                out.y2[q] = rows.y2[r]
                out.member[q] = rows.member[r]
            if len(left.votes) > 0:
                out.votes[q] = left.votes[p]
            elif len(rows.votes) > 0:
                out.votes[q] = rows.votes[r]


@Kernel
def pick_rows(rows, score, used, before, out):
    """Copy the rows that are used."""
    for i in range(cuda.grid(1), len(used), cuda.gridsize(1)):
        if used[i] != 0:
            copy_row(rows, i, rows.category[i], score[i], out, before[i])
