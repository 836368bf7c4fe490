"""Kernels that raise and lower scores by the other categories in the image."""

import math

from fusion.formulas import boxes, odds
from fusion.kernels.jit import formula, uncounted

__all__ = ["raise_tops", "weigh_cells"]

lies_inside, expected, weighed = map(formula, (boxes.lies_inside, odds.expected, odds.weighed))


@uncounted
def raise_tops(columns, low, high, rows, given, least, floor, top):
    """Raise the best score of each cell to what the other categories of the image ask for.

    Args:
        columns: `Columns`.
        low: First cell; the first of its image.
        high: One past the last cell; the last of its image stands before it.
        rows: `fusion.relations.Sparse`, row j holding p(i|j) in column i.
        given: Least best score of a category that raises others.
        least: Least best score of a category that is raised.
        floor: float64 [categories], scratch of zeros; zeros again afterwards.
        top: float64 [cells], filled with the new best scores.
    """
    first = low
    while first < high:
        last = first
        while last < high and columns.image[last] == columns.image[first]:
            last += 1
        for cell in range(first, last):
            score = columns.score[columns.start[cell]]
            if score >= given:
                j = columns.category[cell]
                for at in range(rows.start[j], rows.start[j + 1]):
                    i = rows.column[at]
                    floor[i] = max(floor[i], score * rows.value[at])
        for cell in range(first, last):
            score = columns.score[columns.start[cell]]
            top[cell] = max(score, floor[columns.category[cell]]) if score >= least else score
        for cell in range(first, last):
            j = columns.category[cell]
            for at in range(rows.start[j], rows.start[j + 1]):
                floor[rows.column[at]] = 0.0
        first = last


@uncounted
def _inside(columns, inner, outer, ioa):
    """Whether one box lies inside another, larger one."""
    x1, y1, x2, y2 = columns.x1[inner], columns.y1[inner], columns.x2[inner], columns.y2[inner]
    return lies_inside(x1, y1, x2, y2, columns.x1[outer], columns.y1[outer], columns.x2[outer], columns.y2[outer], ioa)


@uncounted
def weigh_cells(columns, low, high, rows, ioa, strength, place, out):
    """Multiply the odds of each box by the evidence of boxes inside and around it.

    Args:
        columns: `Columns`.
        low: First cell; the first of its image.
        high: One past the last cell; the last of its image stands before it.
        rows: `fusion.relations.Sparse`, row i holding in column j (0 if i should lie inside j, 1 if i should have j
            inside, log ratio if it does, log ratio if not).
        ioa: Share of the inner box that must lie in the outer one.
        strength: Factors of the raising and the lowering log ratios.
        place: int64 [categories + 1], scratch of -1; -1 again afterwards. The last is a category without boxes.
        out: float64 [n], new scores by position.
    """
    up, down = strength
    first = low
    while first < high:
        last = first
        while last < high and columns.image[last] == columns.image[first]:
            place[columns.category[last]] = last
            last += 1
        for cell in range(first, last):
            i = columns.category[cell]
            for box in range(columns.start[cell], columns.start[cell + 1]):
                best = -math.inf
                for at in range(rows.start[i], rows.start[i + 1]):
                    present, absent = up * rows.value[at, 1], down * rows.value[at, 2]
                    seen = 0.0
                    other = place[rows.column[at]]
                    if other >= 0:
                        # best score first: nothing behind the first box that fits can say more
                        for one in range(columns.start[other], columns.start[other + 1]):
                            score = columns.score[one]
                            if expected(score, present, absent) <= best:
                                break
                            if rows.value[at, 0] == 0.0:
                                fits = _inside(columns, box, one, ioa)
                            else:
                                fits = _inside(columns, one, box, ioa)
                            if fits:
                                seen = score
                                break
                    best = max(best, expected(seen, present, absent))
                score = columns.score[box]
                if best > -math.inf and best != 0.0:
                    score = weighed(score, best)
                out[box] = score
        for cell in range(first, last):
            place[columns.category[cell]] = -1
        first = last
