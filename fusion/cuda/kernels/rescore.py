"""Row by row: scores times weights, the best of each image, inputs one behind the other."""

import numpy as np

from fusion.cuda.kernels.cells import copy_row
from fusion.cuda.kernels.device import Kernel, cuda

__all__ = ["copy_rows", "flag_best", "number_inputs", "select_rows", "weigh_rows"]


@Kernel
def weigh_rows(rows, weights, categories, score, used, missing):
    """Multiply scores by weights[member * categories + category]; weight 0 leaves a row out.

    Args:
        rows: `Rows`.
        weights: float64, NaN where there is none.
        categories: Number of categories.
        score: float64 [n], written.
        used: int8 [n], written.
        missing: int32 [1]; becomes the first row without a weight, where there is one before it.
    """
    for i in range(cuda.grid(1), len(rows.image), cuda.gridsize(1)):
        weight = weights[np.int64(rows.member[i]) * categories + rows.category[i]]
        if weight != weight:
            cuda.atomic.min(missing, 0, i)
        score[i] = rows.score[i] * weight
        used[i] = 1 if weight > 0.0 else 0


@Kernel
def select_rows(rows, weights, skip, key, used):
    """Multiply scores by their member's weight; flag those that are at least `skip` before, with a weight above 0."""
    for i in range(cuda.grid(1), len(rows.image), cuda.gridsize(1)):
        weight = weights[rows.member[i]]
        key[i] = rows.score[i] * weight
        used[i] = 1 if rows.score[i] >= skip and weight > 0.0 else 0


@Kernel
def flag_best(columns, most, used):
    """Flag, by row, the first `most` of each cell."""
    for p in range(cuda.grid(1), len(columns.row), cuda.gridsize(1)):
        used[columns.row[p]] = 1 if p - columns.start[columns.cell[p]] < most else 0


@Kernel
def number_inputs(ends, number):
    """Write which input each row is of; `ends` has one past the last row of each."""
    for i in range(cuda.grid(1), len(number), cuda.gridsize(1)):
        k = 0
        while ends[k] <= i:
            k += 1
        number[i] = k


@Kernel
def copy_rows(rows, codes, first, out):
    """Copy rows behind others, with the members' codes in the whole."""
    for i in range(cuda.grid(1), len(rows.image), cuda.gridsize(1)):
        copy_row(rows, i, rows.category[i], rows.score[i], out, first + i)
        out.member[first + i] = codes[rows.member[i]]
