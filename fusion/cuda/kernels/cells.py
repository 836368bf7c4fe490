"""Detections on the GPU, and their order: into (image, category) cells, by score descending, ties by row."""

from typing import Any, NamedTuple

import numpy as np

from fusion.cuda.kernels.device import (
    SIMULATED,
    THREADS,
    Kernel,
    cuda,
    device_function,
    empty,
    filled,
    formula,
    number_at,
    to_host,
)
from fusion.cuda.kernels.scan import offsets
from fusion.formulas import boxes

__all__ = [
    "CLASSES",
    "MOST_CELLS",
    "SIZES",
    "Cells",
    "GpuColumns",
    "Rows",
    "bounds",
    "by_size",
    "cells_of",
    "copy_row",
    "overlap",
    "rows_like",
    "sort_rows",
    "used_categories",
]

# Largest cell of a class and threads that share a cell. Cells above the last size have a block to themselves.
CLASSES = ((2, 1), (6, 2), (20, 4)) if SIMULATED else ((4, 1), (32, 8), (256, 32))
SIZES = tuple(size for size, _ in CLASSES)
# (image, category) pairs that are counted at once, 4 bytes each, several times over.
MOST_CELLS = 2**30


class Rows(NamedTuple):
    """Detections on the GPU, in an order that within an image is that of the table.

    Attributes:
        image: int32 [n], index into the session's image ids.
        category: int32 [n], index into the session's category ids.
        score: float64 [n].
        x, y, w, h: float64 [n].
        x2, y2: float64 [n], far sides: x + w and y + h, or what the source gave.
        member: int16 [n], index into the names of the `Resident`.
        origin: int32 [n], the row of the session's tables whose other columns are carried on.
        votes: int16 [n], or [0] without the column.
    """

    image: Any
    category: Any
    score: Any
    x: Any
    y: Any
    w: Any
    h: Any
    x2: Any
    y2: Any
    member: Any
    origin: Any
    votes: Any


class GpuColumns(NamedTuple):
    """Detections sorted by (image, category, score descending, row), as `fusion.columns.Columns`.

    Attributes:
        x1, y1, x2, y2: float64 [n], corners.
        score: float64 [n], what they are sorted by.
        member: int16 [n].
        row: int32 [n], index into the rows.
        cell: int32 [n], index of the cell.
        start: int32 [cells + 1], offsets of the cells. Every cell has at least one row.
    """

    x1: Any
    y1: Any
    x2: Any
    y2: Any
    score: Any
    member: Any
    row: Any
    cell: Any
    start: Any


class Cells(NamedTuple):
    """The cells of columns, which are sorted by (image, category).

    Attributes:
        image: int32 [cells].
        category: int32 [cells], by the places that are given to categories.
        begin: int32 [images], first cell of each image that has one.
        end: int32 [images], one past its last cell.
    """

    image: Any
    category: Any
    begin: Any
    end: Any


def rows_like(rows: Rows, size: int, *, votes: bool) -> Rows:
    """Return room for other rows."""
    return Rows._make([*(empty(size, column.dtype) for column in rows[:-1]), empty(size if votes else 0, np.int16)])


@device_function
def copy_row(rows, i, category, score, out, q):
    """Write row i, with its category and score, to place q of other rows."""
    out.image[q] = rows.image[i]
    out.category[q] = category
    out.score[q] = score
    out.x[q] = rows.x[i]
    out.y[q] = rows.y[i]
    out.w[q] = rows.w[i]
    out.h[q] = rows.h[i]
    out.x2[q] = rows.x2[i]
    out.y2[q] = rows.y2[i]
    out.member[q] = rows.member[i]
    out.origin[q] = rows.origin[i]
    if len(out.votes) > 0:
        out.votes[q] = rows.votes[i]


box_overlap = formula(boxes.overlap)


@device_function
def overlap(columns, i, j):
    """Return the IoU of boxes i and j of the columns."""
    return box_overlap(columns.x1, columns.y1, columns.x2, columns.y2, i, j)


def sort_rows(rows: Rows, score: Any, used: Any, images: int, categories: int) -> GpuColumns:
    """Sort rows into cells.

    Args:
        rows: The detections, at least one.
        score: float64 [n], what they are sorted by.
        used: int8 [n], 0 for rows to leave out.
        images: Number of images of the session.
        categories: Number of categories of the session; 1 makes an image one cell.

    Returns:
        Columns of the rows that are used.
    """
    keys = images * categories
    size = len(rows.image)
    count = filled(keys, np.int32)
    count_keys(size, rows.image, rows.category, used, categories, count)
    begin = offsets(count)
    occupied(keys, count)
    dense = offsets(count)
    left, cells = number_at(begin, keys), number_at(dense, keys)
    start = empty(cells + 1, np.int32)
    begin_cells(keys + 1, begin, dense, start)
    cursor = filled(keys, np.int32)
    row, key, cell = empty(left, np.int32), empty(left, np.float64), empty(left, np.int32)
    deal(size, rows.image, rows.category, used, score, categories, begin, dense, cursor, row, key, cell)
    sorted_row = empty(left, np.int32)
    columns = GpuColumns._make(
        [*(empty(left, np.float64) for _ in range(5)), empty(left, np.int16), sorted_row, cell, start]
    )
    order_cells(left, rows, row, key, columns)
    return columns


def by_size(start: Any) -> list[tuple[Any, int, int]]:
    """Deal cells into classes of size: (int32 cells, how many, threads for each), classes without a cell left out.

    The order of cells within a class is not fixed, and nothing depends on it.
    """
    cells = len(start) - 1
    widths = [*(width for _, width in CLASSES), THREADS]
    count = filled(len(widths), np.int32)
    chosen = empty(len(widths) * cells, np.int32)
    classify(cells, start, count, chosen)
    counts = to_host(count).tolist()
    return [
        (chosen[k * cells : k * cells + counts[k]], counts[k], width) for k, width in enumerate(widths) if counts[k]
    ]


@device_function
def bounds(start, chosen, count, number):
    """Return where cell chosen[number] begins and ends; the same place twice where there is none."""
    begin = end = 0
    if number < count:
        begin, end = start[chosen[number]], start[chosen[number] + 1]
    return begin, end


def used_categories(rows: Rows, categories: int) -> np.ndarray:
    """Return the categories that rows have, ascending: int64."""
    used = filled(categories, np.int8)
    flag_categories(len(rows.image), rows.category, used)
    return np.flatnonzero(to_host(used))


def cells_of(rows: Rows, columns: GpuColumns, place: Any, images: int) -> Cells:
    """Describe the cells of columns; `place` is int32 [categories], the places given to categories."""
    count = len(columns.start) - 1
    cells = Cells._make(empty(size, np.int32) for size in (count, count, images, images))
    describe_cells(count, rows, columns, place, cells)
    return cells


@Kernel
def count_keys(image, category, used, categories, count):
    """Count the rows of each (image, category) pair."""
    for i in range(cuda.grid(1), len(image), cuda.gridsize(1)):
        if used[i] != 0:
            kind = category[i] if categories > 1 else 0
            cuda.atomic.add(count, np.int64(image[i]) * categories + kind, 1)


@Kernel
def occupied(count):
    """Turn counts into flags."""
    for k in range(cuda.grid(1), len(count), cuda.gridsize(1)):
        count[k] = 1 if count[k] > 0 else 0


@Kernel
def begin_cells(begin, dense, start):
    """Write the offsets of the cells that have rows, and behind them the number of rows."""
    last = len(begin) - 1
    for k in range(cuda.grid(1), last + 1, cuda.gridsize(1)):
        if k == last or dense[k + 1] > dense[k]:
            start[dense[k]] = begin[k]


@Kernel
def deal(image, category, used, score, categories, begin, dense, cursor, row, key, cell):
    """Put each row somewhere into its cell."""
    for i in range(cuda.grid(1), len(image), cuda.gridsize(1)):
        if used[i] != 0:
            kind = category[i] if categories > 1 else 0
            k = np.int64(image[i]) * categories + kind
            p = begin[k] + cuda.atomic.add(cursor, k, 1)
            row[p] = i
            key[p] = score[i]
            cell[p] = dense[k]


@Kernel
def order_cells(rows, row, key, columns):
    """Put each row of a cell behind those that are better, and fill the columns."""
    for p in range(cuda.grid(1), len(row), cuda.gridsize(1)):
        c = columns.cell[p]
        first, last = columns.start[c], columns.start[c + 1]
        r, s = row[p], key[p]
        q = first
        for j in range(first, last):
            if key[j] > s or (key[j] == s and row[j] < r):
                q += 1
        columns.x1[q] = rows.x[r]
        columns.y1[q] = rows.y[r]
        columns.x2[q] = rows.x2[r]
        columns.y2[q] = rows.y2[r]
        columns.score[q] = s
        columns.member[q] = rows.member[r]
        columns.row[q] = r


@Kernel
def classify(start, count, chosen):
    """Deal the cells into classes of size."""
    cells = len(start) - 1
    for c in range(cuda.grid(1), cells, cuda.gridsize(1)):
        size = start[c + 1] - start[c]
        k = 0
        for most in SIZES:
            if size > most:
                k += 1
        chosen[k * cells + cuda.atomic.add(count, k, 1)] = c


@Kernel
def flag_categories(category, used):
    """Flag the categories of rows."""
    for i in range(cuda.grid(1), len(category), cuda.gridsize(1)):
        used[category[i]] = 1


@Kernel
def describe_cells(rows, columns, place, cells):
    """Write the image and category of each cell, and which cells an image has."""
    last = len(cells.image) - 1
    for c in range(cuda.grid(1), last + 1, cuda.gridsize(1)):
        r = columns.row[columns.start[c]]
        image = rows.image[r]
        cells.image[c] = image
        cells.category[c] = place[rows.category[r]]
        if c == 0 or rows.image[columns.row[columns.start[c] - 1]] != image:
            cells.begin[image] = c
        if c == last or rows.image[columns.row[columns.start[c + 1]]] != image:
            cells.end[image] = c + 1
