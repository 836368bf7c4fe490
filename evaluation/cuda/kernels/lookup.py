"""Cells of detections, looked up among those of the ground truth."""

from typing import Any, NamedTuple

import numpy as np

from fusion.cuda.kernels.cells import GpuColumns, Rows
from fusion.cuda.kernels.device import Kernel, cuda, empty
from fusion.cuda.kernels.merge_sort import lower_bound

__all__ = ["Located", "Lookup", "locate"]


class Lookup(NamedTuple):
    """The (image, category) pairs of which something is known, by key, and what a session's numbers mean there.

    Attributes:
        key: int64 [c], `image * categories + category`, ascending.
        image: int32 [images of the session], their index in the ground truth; all of which it has.
        category: int32 [categories of the session], likewise; -1 also where no ground truth counts.
    """

    key: Any
    image: Any
    category: Any


class Located(NamedTuple):
    """Sorted rows whose cells are looked up.

    Attributes:
        columns: The rows.
        category: int32 [cells], in the ground truth; -1 where the cell does not count.
        place: int32 [cells], in `Lookup.key`; -1 where nothing is known of the cell.
    """

    columns: GpuColumns
    category: Any
    place: Any


def locate(rows: Rows, columns: GpuColumns, lookup: Lookup, categories: int, known: bool) -> Located:
    """Look up the cells of sorted rows.

    Args:
        rows: Of images that the ground truth has.
        columns: The rows that count.
        lookup: The ground truth.
        categories: Its number of categories.
        known: Whether only cells of which something is known count.
    """
    cells = len(columns.start) - 1
    located = Located(columns, empty(cells, np.int32), empty(cells, np.int32))
    look_up_cells(cells, rows, lookup, categories, known, located)
    return located


@Kernel
def look_up_cells(rows, lookup, categories, known, located):
    """Look up each cell by halving."""
    for c in range(cuda.grid(1), len(located.place), cuda.gridsize(1)):
        r = located.columns.row[located.columns.start[c]]
        kind, found = lookup.category[rows.category[r]], -1
        if kind >= 0:
            key = np.int64(lookup.image[rows.image[r]]) * categories + kind
            at = lower_bound(lookup.key, key)
            if at < len(lookup.key) and lookup.key[at] == key:
                found = at
            elif known:
                kind = -1
        located.category[c] = kind
        located.place[c] = found
