"""What kernels see: flat arrays sorted once, with the offsets of their (image, category) cells."""

from typing import NamedTuple

import numpy as np

from fusion.kernels.jit import chunks, run
from fusion.kernels.sort import fill_images, group_by_image

__all__ = ["Columns", "Fused", "Sources", "sort_columns"]


class Columns(NamedTuple):
    """Detections sorted by (image, category, score descending, row).

    Attributes:
        x1, y1, x2, y2: float64 [n], corners; x2 = x + w.
        score: float64 [n].
        member: int16 [n], index into the pool's members.
        row: int64 [n], row in the concatenation of the input tables; breaks ties.
        start: int64 [cells + 1], offsets of the cells (CSR). Every cell has at least one row.
        image: int32 [cells], dense image index, ascending.
        category: int32 [cells], dense category index, ascending within an image.
    """

    x1: np.ndarray
    y1: np.ndarray
    x2: np.ndarray
    y2: np.ndarray
    score: np.ndarray
    member: np.ndarray
    row: np.ndarray
    start: np.ndarray
    image: np.ndarray
    category: np.ndarray


class Sources(NamedTuple):
    """Which input rows each fused detection came from, best score first (CSR).

    Attributes:
        start: int64 [k + 1].
        row: int64 [m], rows of the concatenated input tables.
    """

    start: np.ndarray
    row: np.ndarray


class Fused(NamedTuple):
    """What one operator gives back: an entry per fused detection, in order of (cell, score descending, row).

    Attributes:
        cell: integer [k], index of the cell in `Columns`.
        row: int64 [k], the input row whose other columns (mask, member, view) are carried on.
        score: float64 [k].
        corners: float64 [k, 4], x1, y1, x2, y2 of new boxes; None where each keeps the box of `row`.
        votes: int16 [k], number of distinct members behind each; None where the operator does not count.
        sources: Input rows behind each, only when asked for.
    """

    cell: np.ndarray
    row: np.ndarray
    score: np.ndarray
    corners: np.ndarray | None
    votes: np.ndarray | None
    sources: Sources | None


def sort_columns(
    image: np.ndarray,
    category: np.ndarray,
    score: np.ndarray,
    x1: np.ndarray,
    y1: np.ndarray,
    x2: np.ndarray,
    y2: np.ndarray,
    member: np.ndarray,
) -> Columns:
    """Sort detections into cells: by image, category, score descending, then row.

    Args:
        image: int32 [n], dense image index from 0.
        category: int32 [n], dense category index from 0.
        score: [n] finite.
        x1: [n] corner, as are y1, x2, y2.
        y1: [n].
        x2: [n].
        y2: [n].
        member: int16 [n].

    Returns:
        The sorted columns; scores and corners as float64.
    """
    n = len(image)
    images = int(image.max()) + 1 if n else 0
    categories = int(category.max()) + 1 if n else 0
    order = np.empty(n, np.uint32 if n < 2**32 else np.uint64)
    image_start = group_by_image(image, images, order)
    columns: tuple[np.ndarray, ...] = tuple(np.empty(n, kind) for kind in (*[np.float64] * 5, np.int16, np.int64))
    source = (category, score, x1, y1, x2, y2, member)
    cells = run(
        lambda low, high: fill_images(low, high, image_start, order, categories, source, columns), chunks(image_start)
    )
    none = np.zeros(0, np.int32)
    start = np.concatenate([*(cell[0] for cell in cells), np.array([n], np.int64)])
    images_of, categories_of = (np.concatenate([none, *(cell[i] for cell in cells)]) for i in (1, 2))
    return Columns._make([*columns, start, images_of, categories_of])
