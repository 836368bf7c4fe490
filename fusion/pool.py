"""Several tables pooled for an operator."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from fusion.agreement import check_agreement
from fusion.arrow_arrays import numpy_array
from fusion.columns import Columns, Sorter
from fusion.dense import dense, distinct
from fusion.errors import InputError
from fusion.members import name_members
from fusion.table import DetectionTable

__all__ = ["Pool", "Tables", "pool_tables"]

Tables = DetectionTable | Sequence[DetectionTable]


@dataclass(frozen=True)
class Pool:
    """Tables pooled: their rows one behind the other, sorted once.

    Attributes:
        tables: The inputs, in order; row numbers count through them.
        members: Names of the models behind the rows.
        image_ids: Ids of the dense image indices, ascending: int64, or object array of str.
        category_ids: int32, ids of the dense category indices, ascending.
        member: int16 [rows], index into `members` of each input row.
    """

    tables: tuple[DetectionTable, ...]
    members: tuple[str, ...]
    image_ids: np.ndarray
    category_ids: np.ndarray
    member: np.ndarray

    @cached_property
    def columns(self) -> Columns:
        """What kernels see; sorted when first asked for."""
        return self.sorter().columns()

    @property
    def voices(self) -> tuple[tuple[str, ...], np.ndarray]:
        """Whose weights the sides of boxes have in means: names, and int16 [n] of each row of `columns`; members."""
        return self.members, self.columns.member

    def sorter(self) -> Sorter:
        """Return the rows, grouped by image."""
        x, y, score = (self.column(name) for name in ("x", "y", "score"))
        x2, y2 = self.far("x"), self.far("y")
        return Sorter(self.image(), self.category(), score, x, y, x2, y2, self.member)

    def forget_columns(self) -> None:
        """Let the sorted copy of the rows go, before the answer is built beside it."""
        self.__dict__.pop("columns", None)

    def with_columns(self, columns: Columns) -> "Pool":
        """Return the pool with other sorted columns: those of some of its images, say."""
        pool = replace(self)
        vars(pool)["columns"] = columns
        return pool

    def far(self, near: str) -> np.ndarray:
        """Return the far side of the boxes, x2 of "x" or y2 of "y", one table behind the other: float64 [rows]."""
        return _joined([table.far(near) for table in self.tables])

    def image(self) -> np.ndarray:
        """Return the dense image index of each input row: int32 [rows]."""
        parts = [
            np.repeat(np.searchsorted(self.image_ids, table.image_ids).astype(np.int32), np.diff(table.image_start))
            for table in self.tables
            if len(table)
        ]
        return _joined(parts or [np.zeros(0, np.int32)])

    def category(self) -> np.ndarray:
        """Return the dense category index of each input row: int32 [rows]."""
        return _joined([dense(table.category_id, self.category_ids) for table in self.tables])

    def column(self, name: str) -> np.ndarray:
        """Return a numeric column of the tables, one behind the other: [rows]."""
        return _joined([table.column(name) for table in self.tables])


def pool_tables(tables: Tables, *, shared: bool = False) -> Pool:
    """Pool tables for an operator.

    A table without a `member` column is one member: its metadata's name, or `table<number>`. A table
    with that column (a `concat`, say) brings the members named there.

    Args:
        tables: One table or several.
        shared: Whether two tables may bring the same member.

    Raises:
        InputError: If there is no table, two bring the same member and may not, or units, kinds of image
            id or category sets differ.
    """
    inputs = (tables,) if isinstance(tables, DetectionTable) else tuple(tables)
    if not inputs:
        raise InputError("fusion", "no table was given")
    _check_compatible(inputs)
    members, codes = _members(inputs, shared)
    image_ids = np.unique(np.concatenate([t.image_ids for t in inputs if len(t)] or [np.zeros(0, np.int64)]))
    category_ids = np.unique(np.concatenate([distinct(table.category_id) for table in inputs])).astype(np.int32)
    return Pool(inputs, members, image_ids, category_ids, codes)


def _check_compatible(tables: Sequence[DetectionTable]) -> None:
    check_agreement(tables)
    kinds = {str(table.arrow["image_id"].type) for table in tables if len(table)}
    if len(kinds) > 1:
        raise InputError("tables", f"some have integer image ids and some have strings ({', '.join(sorted(kinds))})")


def _members(tables: Sequence[DetectionTable], shared: bool) -> tuple[tuple[str, ...], np.ndarray]:
    columns = [table.member for table in tables]
    named = [None if column is None else column.dictionary.to_pylist() for column in columns]
    names, lookups = name_members(tables, named, shared=shared)
    codes = [
        np.full(len(table), lookup[0], np.int16) if column is None else lookup[numpy_array(column.indices)]
        for table, column, lookup in zip(tables, columns, lookups, strict=True)
    ]
    return names, _joined(codes)


def _joined(parts: Sequence[np.ndarray]) -> np.ndarray:
    return parts[0] if len(parts) == 1 else np.concatenate(parts)
