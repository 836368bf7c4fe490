"""Test-time views: which there are, and the rows of each."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa

from fusion.arrow_arrays import arrow_array, numpy_array
from fusion.errors import InputError
from fusion.pool import Pool
from fusion.table import DetectionTable

__all__ = ["levels", "split_views", "view_codes", "views_of"]


def levels(words: tuple[str, ...]) -> list[list[str]]:
    """Read names of views per level of words as they are typed: names with commas between them for each level."""
    return [word.split(",") for word in words]


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
