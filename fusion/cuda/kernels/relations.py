"""Scores raised and lowered by the other categories in the image."""

import math
from typing import Any, NamedTuple

import numpy as np

from fusion.cuda.kernels.cells import Rows
from fusion.cuda.kernels.device import Kernel, cuda, device_function, empty, filled, formula, number_at
from fusion.formulas import boxes, odds

__all__ = ["Evidence", "Probabilities", "checked_scores", "raise_tops", "weigh_boxes"]

lies_inside, expected, weighed = map(formula, (boxes.lies_inside, odds.expected, odds.weighed))


class Probabilities(NamedTuple):
    """Which categories make others likely, by rows: row i holds p(i|j) at category j.

    Attributes:
        start: int32 [categories + 1].
        category: int32 [m], ascending within a row.
        value: float64 [m].
    """

    start: Any
    category: Any
    value: Any


class Evidence(NamedTuple):
    """What the boxes of a category should lie inside or have inside, by rows.

    Attributes:
        start: int32 [categories + 1].
        category: int32 [m], of the others, ascending within a row.
        around: int8 [m], 0 for boxes inside the others, 1 for boxes that have one of the others inside.
        present: float64 [m], what is added to the log odds where it is so.
        absent: float64 [m], and where it is not.
    """

    start: Any
    category: Any
    around: Any
    present: Any
    absent: Any


def checked_scores(rows: Rows) -> tuple[Any, bool]:
    """Return a copy of the scores, and whether all of them are probabilities."""
    size = len(rows.image)
    score, wrong = empty(size, np.float64), filled(1, np.int32)
    check_scores(size, rows.score, score, wrong)
    return score, number_at(wrong, 0) == 0


@Kernel
def check_scores(score, out, wrong):
    """Copy scores; `wrong` tells if one is no probability."""
    for i in range(cuda.grid(1), len(score), cuda.gridsize(1)):
        out[i] = score[i]
        if score[i] < 0.0 or score[i] > 1.0:
            wrong[0] = 1


@Kernel
def raise_tops(columns, cells, likely, given, least, score):
    """Raise the best score of each cell to what the other categories of the image ask for; `score` is by row."""
    for c in range(cuda.grid(1), len(cells.image), cuda.gridsize(1)):
        p = columns.start[c]
        top = columns.score[p]
        if top >= least:
            i, image = cells.category[c], cells.image[c]
            other, last = cells.begin[image], cells.end[image]
            # both ascend by category
            for at in range(likely.start[i], likely.start[i + 1]):
                j = likely.category[at]
                while other < last and cells.category[other] < j:
                    other += 1
                if other < last and cells.category[other] == j:
                    best = columns.score[columns.start[other]]
                    if best >= given:
                        floor = best * likely.value[at]
                        if floor > top:
                            top = floor
            score[columns.row[p]] = top


@device_function
def inside(columns, inner, outer, ioa):
    """Return whether one box lies inside another, larger one."""
    x1, y1, x2, y2 = columns.x1[inner], columns.y1[inner], columns.x2[inner], columns.y2[inner]
    return lies_inside(x1, y1, x2, y2, columns.x1[outer], columns.y1[outer], columns.x2[outer], columns.y2[outer], ioa)


@Kernel
def weigh_boxes(columns, cells, evidence, ioa, score):
    """Multiply the odds of each box by the evidence of boxes inside and around it; `score` is by row."""
    for p in range(cuda.grid(1), len(columns.row), cuda.gridsize(1)):
        c = columns.cell[p]
        i, image = cells.category[c], cells.image[c]
        other, last = cells.begin[image], cells.end[image]
        best = -math.inf
        for at in range(evidence.start[i], evidence.start[i + 1]):
            j = evidence.category[at]
            present, absent = evidence.present[at], evidence.absent[at]
            seen = 0.0
            while other < last and cells.category[other] < j:
                other += 1
            if other < last and cells.category[other] == j:
                # best score first: nothing behind the first box that fits can say more
                q, behind = columns.start[other], columns.start[other + 1]
                while q < behind:
                    s = columns.score[q]
                    if expected(s, present, absent) <= best:
                        q = behind
                    elif inside(columns, q, p, ioa) if evidence.around[at] != 0 else inside(columns, p, q, ioa):
                        seen = s
                        q = behind
                    else:
                        q += 1
            total = expected(seen, present, absent)
            if total > best:
                best = total
        s = columns.score[p]
        if best > -math.inf and best != 0.0:
            s = weighed(s, best)
        score[columns.row[p]] = s
