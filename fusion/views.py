"""Test-time views: which there are, and the rows of each."""

import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa

from fusion.arrow_arrays import arrow_array, numpy_array
from fusion.errors import InputError
from fusion.pool import Pool
from fusion.table import DetectionTable

__all__ = ["by_resolution", "levels", "split_views", "view_codes", "views_of"]


def levels(words: tuple[str, ...]) -> list[list[str]]:
    """Read names of views per level of words as they are typed: names with commas between them for each level."""
    return [word.split(",") for word in words]


def by_resolution(names: Sequence[str], count: int) -> list[list[str]]:
    """Deal views to levels by the sizes that their names begin with, such as "800" and "800-flip", the largest first.

    Sizes lie evenly between the first level and the last; a level has those within half a level, else the nearest.

    Args:
        names: Of views, also more than once.
        count: Of levels.

    Returns:
        Names per level; nothing where a name does not begin with a size.
    """
    sizes: dict[int, list[str]] = {}
    for name in dict.fromkeys(names):
        number = re.match("[0-9]+", name)
        if number is None:
            return []
        sizes.setdefault(int(number.group()), []).append(name)
    ordered = sorted(sizes, reverse=True)
    place = {size: n * (count - 1) / max(len(ordered) - 1, 1) for n, size in enumerate(ordered)}
    dealt = []
    for level in range(count if ordered else 0):
        nearest = max(min(abs(at - level) for at in place.values()), 0.5)
        dealt.append([name for size in ordered if abs(place[size] - level) <= nearest for name in sizes[size]])
    return dealt


def views_of(pool: Pool) -> tuple[tuple[str, ...], np.ndarray]:
    """Return the names of the views of a pool and the view of each row, int64 [n].

    Raises:
        InputError: If a table has a `view` column that is empty in some rows.
    """
    names: dict[str, int] = {}
    parts = []
    for number, table in enumerate(pool.tables):
        own, view = _views(table, number)
        parts.append(np.array([names.setdefault(name, len(names)) for name in own], np.int64)[view])
    return tuple(names), np.concatenate(parts)


def split_views(tables: Sequence[DetectionTable]) -> dict[str, DetectionTable]:
    """Cut tables into one per view, in the order in which the tables name them.

    Raises:
        InputError: If a table has a `view` column that is empty in some rows, or two tables have the same view.
    """
    views: dict[str, DetectionTable] = {}
    for number, table in enumerate(tables):
        own, view = _views(table, number)
        for code, name in enumerate(own):
            if name in views:
                raise InputError(f"table {number} (counted from 0)", f"has view {name!r}, as another table has")
            views[name] = replace(table, arrow=table.arrow.filter(arrow_array(view == code)).combine_chunks())
    return views


def _views(table: DetectionTable, number: int) -> tuple[list[str], np.ndarray]:
    """Return the views that occur in a table, and the place of each row's among them, int64 [n]."""
    label = table.metadata.member or f"table{number}"
    if not len(table):
        return [], np.zeros(0, np.int64)
    if "view" not in table.arrow.column_names:
        return [label], np.zeros(len(table), np.int64)
    column = table.arrow["view"]
    if column.null_count:
        row = int(np.flatnonzero(numpy_array(column.is_null()))[0])
        raise InputError(f"table {label}, column view", f"row {row} has none", "Name the view of every row")
    encoded = column.combine_chunks()
    used, view = np.unique(numpy_array(encoded.indices), return_inverse=True)
    return encoded.dictionary.take(arrow_array(used)).to_pylist(), view.astype(np.int64)


def view_codes(table: DetectionTable) -> tuple[np.ndarray, np.ndarray]:
    """Return the names of a table's views, the first for rows without one, and the index of each row's."""
    if "view" not in table.arrow.column_names:
        return np.array([""]), np.zeros(len(table), np.int64)
    column = table.arrow["view"].combine_chunks()
    column = column.chunk(0) if isinstance(column, pa.ChunkedArray) else column
    codes = numpy_array(column.indices, -1)
    return np.array(["", *column.dictionary.to_pylist()]), codes + 1
