"""Cells of detections, looked up among those of the ground truth."""

from typing import Any, NamedTuple

import numpy as np

from fusion.cuda.kernels.cells import Columns, Rows
from fusion.cuda.kernels.device import Kernel, cuda, empty

__all__ = ["Lookup", "find_cells"]


class Lookup(NamedTuple):
    """The (image, category) pairs of which something is known, by key, and what a session's numbers mean there.

    Attributes:
        key: int64 [c], `image * categories + category`, ascending.
        image: int32 [images of the session], their index in the ground truth; -1 where it does not have one.
        category: int32 [categories of the session], likewise; -1 also where no ground truth counts.
    """

    key: Any
    image: Any
    category: Any


def find_cells(rows: Rows, columns: Columns, lookup: Lookup, categories: int, known: bool) -> tuple[Any, Any]:
    """Find the category and the ground truth of each cell.

    Args:
        rows: Of images that the ground truth has.
        columns: The rows that count.
        lookup: The ground truth.
        categories: Its number of categories.
        known: Whether only cells of which something is known count.

    Returns:
        int32 [cells] both: the category in the ground truth, -1 where the cell does not count; the place in
        `lookup.key`, -1 where nothing is known of it.
    """
    cells = len(columns.start) - 1
    category, place = empty(cells, np.int32), empty(cells, np.int32)
    look_up_cells(cells, rows, columns, lookup, categories, known, category, place)
    return category, place


@Kernel
def look_up_cells(rows, columns, lookup, categories, known, category, place):
    """Look up each cell by halving."""
    for c in range(cuda.grid(1), len(category), cuda.gridsize(1)):
        r = columns.row[columns.start[c]]
        kind, found = lookup.category[rows.category[r]], -1
        if kind >= 0:
            key = np.int64(lookup.image[rows.image[r]]) * categories + kind
            low, high = 0, len(lookup.key)
            while low < high:
                middle = (low + high) // 2
                if lookup.key[middle] < key:
                    low = middle + 1
                else:
                    high = middle
            if low < len(lookup.key) and lookup.key[low] == key:
                found = low
            elif known:
                kind = -1
        category[c] = kind
        place[c] = found
