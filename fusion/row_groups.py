"""Parquet files read a row group at a time: all of them, or the rows of some images."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from fusion.arrow_arrays import arrow_array, numpy_array
from fusion.parquet import opened

__all__ = ["WantedImages", "highest_score", "read_groups", "rows_of", "scores_of"]


@dataclass(frozen=True, eq=False)
class WantedImages:
    """Images that are to be read.

    Attributes:
        ids: Ascending: int64, or an object array of str.
    """

    ids: np.ndarray

    @classmethod
    def of(cls, images: npt.ArrayLike) -> "WantedImages":
        """Take ids in any order, integers or strings."""
        given = np.asarray(images)
        if given.dtype.kind in "iu":
            return cls(np.unique(given.astype(np.int64)))
        return cls(np.array(sorted(set(given.tolist())), dtype=object))

    def of_part(self, own: np.ndarray) -> "WantedImages":
        """Return those of a part, bool [n]."""
        return WantedImages(self.ids[own])

    def rows(self, column: pa.ChunkedArray) -> np.ndarray:
        """Return which rows of a column of ids are wanted, bool [n]."""
        column = column.combine_chunks()
        if not pa.types.is_dictionary(column.type):
            return self._among(numpy_array(column))
        names = set(self.ids.tolist())
        known = np.array([name in names for name in column.dictionary.to_pylist()], np.bool_)
        chosen: np.ndarray = known[numpy_array(column.indices)] if len(known) else np.zeros(len(column), np.bool_)
        return chosen

    def between(self, low: Any, high: Any) -> bool:
        """Tell whether an id from `low` to `high` is wanted."""
        if isinstance(low, str) != (self.ids.dtype == object):
            return False
        return bool(np.searchsorted(self.ids, low, "left") < np.searchsorted(self.ids, high, "right"))

    def _among(self, values: np.ndarray) -> np.ndarray:
        if self.ids.dtype == object or not len(self.ids):
            return np.zeros(len(values), np.bool_)
        place = np.minimum(np.searchsorted(self.ids, values), len(self.ids) - 1)
        return np.asarray(self.ids[place] == values)


def read_groups(file: pq.ParquetFile, wanted: WantedImages | None, columns: Sequence[str] | None) -> pa.Table:
    """Read a table's file, or what is wanted of it.

    Args:
        file: An open file with a column `image_id`.
        wanted: Images; None for all.
        columns: Names of columns; None for all.
    """
    pieces = [_read(file, group, wanted, columns) for group in range(file.num_row_groups)]
    there = [piece for piece in pieces if piece is not None]
    if there:
        return pa.concat_tables(there).unify_dictionaries()
    schema = file.schema_arrow
    return (schema if columns is None else pa.schema([schema.field(name) for name in columns])).empty_table()


def _read(
    file: pq.ParquetFile, group: int, wanted: WantedImages | None, columns: Sequence[str] | None
) -> pa.Table | None:
    if wanted is None:
        return file.read_row_group(group, columns)
    said = _statistics(file, group, "image_id")
    if said is not None and not wanted.between(said.min, said.max):
        return None
    rows = wanted.rows(file.read_row_group(group, ["image_id"])["image_id"])
    if not rows.any():
        return None
    arrow = file.read_row_group(group, columns)
    return arrow if rows.all() else arrow.filter(arrow_array(rows))


def _statistics(file: pq.ParquetFile, group: int, column: str) -> Any:
    """Return a column's statistics in a row group; None where it has no least and largest value."""
    said = file.metadata.row_group(group)
    place = [said.column(i).path_in_schema for i in range(said.num_columns)].index(column)
    statistics = said.column(place).statistics
    return statistics if statistics is not None and statistics.has_min_max else None


def rows_of(path: Path) -> int:
    """Return the number of rows of a file, without reading them."""
    with opened(path) as file:
        return int(file.metadata.num_rows)


def highest_score(path: Path) -> float:
    """Return the highest score of a file as its statistics say; infinity where they do not."""
    with opened(path) as file:
        found = [_statistics(file, group, "score") for group in range(file.num_row_groups)]
    return max((float(said.max) if said is not None else np.inf for said in found), default=-np.inf)


def scores_of(path: Path) -> np.ndarray:
    """Return the scores of a file, [n], without reading more than their column."""
    with opened(path) as file:
        return numpy_array(file.read(["score"])["score"])
