"""Kernel of matrix suppression: each score falls by one factor, from overlaps alone."""

import numpy as np

from fusion.formulas import boxes, decay
from fusion.kernels.jit import formula, jit

__all__ = ["matrix_cells"]

overlap, decayed = formula(boxes.overlap), formula(decay.gaussian)


@jit
def matrix_cells(columns, low, high, gaussian, sigma, floor, out):
    """Lower the scores of cells low..high-1 and return how many boxes are left, best first, ties by row.

    `out.owner` is each box itself: none suppresses another. A box below the floor could only lower boxes behind it,
    which are below it as well.
    """
    x1, y1, x2, y2, start = columns.x1, columns.y1, columns.x2, columns.y2, columns.start
    base, total, traced = start[low], 0, len(out.owner) > 0
    for c in range(low, high):
        first, begin = start[c], total
        largest = np.zeros(start[c + 1] - first)  # IoU of each box with those before it
        for j in range(first, start[c + 1]):
            if traced:
                out.owner[j - base] = j
            if not columns.score[j] >= floor:
                continue
            factor, excess = 1.0, 0.0
            for i in range(first, j):
                u, most = overlap(x1, y1, x2, y2, i, j), largest[i - first]
                largest[j - first] = max(largest[j - first], u)
                if gaussian:
                    excess = max(excess, u * u - most * most)
                elif most < 1.0:
                    factor = min(factor, (1.0 - u) / (1.0 - most))
            value = columns.score[j] * (decayed(excess, sigma) if gaussian else factor)
            if value >= floor:
                k, row = total, columns.row[j]
                while k > begin and (out.score[k - 1] < value or (out.score[k - 1] == value and out.row[k - 1] > row)):
                    out.score[k], out.row[k], out.position[k] = out.score[k - 1], out.row[k - 1], out.position[k - 1]
                    k -= 1
                out.score[k], out.row[k], out.position[k], out.cell[total] = value, row, j, c
                total += 1
    return total
