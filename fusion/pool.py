"""Several tables pooled for an operator, and the way back from its answer to a table."""

import operator
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol

import numpy as np

from fusion.arrow_arrays import numpy_array
from fusion.belonging import Sketch, apart, difference, merged, same_file
from fusion.columns import Columns, Sorter
from fusion.errors import InputError
from fusion.table import DetectionTable, Metadata

__all__ = [
    "Described",
    "Pool",
    "Tables",
    "agreed_metadata",
    "check_agreement",
    "dense",
    "distinct",
    "label",
    "name_members",
    "pool_tables",
]

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


class Described(Protocol):
    """Whatever has a table's metadata."""

    @property
    def metadata(self) -> Metadata:
        """What the table says about itself."""
        ...


def agreed_metadata(tables: Sequence[Described], new_boxes: bool) -> Metadata:
    """Return what the inputs agree on; the fused table has no name of its own yet."""
    first = tables[0].metadata

    def agreed(name: str, otherwise: str | None) -> str | None:
        values = {getattr(table.metadata, name) for table in tables}
        return values.pop() if len(values) == 1 else otherwise

    known = {table.metadata.categories for table in tables} - {None}
    return Metadata(
        dataset=agreed("dataset", None),
        split=agreed("split", None),
        unit=first.unit,
        categories=known.pop() if known else None,
        category_names=merged([table.metadata.category_names for table in tables]),
        images=merged([table.metadata.images for table in tables]),
        member=first.member if len(tables) == 1 else None,
        boxes="given" if new_boxes else agreed("boxes", "given") or "given",
    )


def _check_compatible(tables: Sequence[DetectionTable]) -> None:
    check_agreement(tables)
    kinds = {str(table.arrow["image_id"].type) for table in tables if len(table)}
    if len(kinds) > 1:
        raise InputError("tables", f"some have integer image ids and some have strings ({', '.join(sorted(kinds))})")


def check_agreement(tables: Sequence[Described]) -> None:
    """Require one unit, one set of categories, and images of one data set.

    Raises:
        InputError: If two tables differ; the message names them, and what differs.
    """
    for name, remedy in (
        ("unit", "Import them in the same unit"),
        ("categories", "Import both with the same ground truth, with a label map where the category sets differ"),
    ):
        seen: dict[str, int] = {}
        for number, table in enumerate(tables):
            value = getattr(table.metadata, name)
            if value is not None:
                seen.setdefault(value, number)
        if len(seen) > 1:
            (one, first), (two, second) = list(seen.items())[:2]
            said = _categories_apart(tables[first], tables[second]) if name == "categories" else ""
            raise InputError(
                f"tables {label(tables, first)} and {label(tables, second)}",
                f"differ in {name} ({said or f'{one} and {two}'})",
                remedy,
            )
    _check_images(tables)


def _categories_apart(one: Described, two: Described) -> str:
    """Say what differs between the categories of two tables, "" where it is not known."""
    if one.metadata.category_names is None or two.metadata.category_names is None:
        return ""
    other = difference(one.metadata.category_names, two.metadata.category_names, operator.eq)  # as in the fingerprint
    if other is not None:
        return f"category {other.id} is {other.one} in one and {other.other} in the other"
    counts = (one.metadata.category_names.count, two.metadata.category_names.count)
    return f"one has {counts[0]:,}, the other {counts[1]:,}" if counts[0] != counts[1] else ""


def _check_images(tables: Sequence[Described]) -> None:
    """Require images of one data set."""
    seen: dict[str, tuple[int, Sketch]] = {}
    for number, table in enumerate(tables):
        images = table.metadata.images
        if images is None or images.digest in seen:
            continue
        for first, sketch in seen.values():
            where = f"tables {label(tables, first)} and {label(tables, number)}"
            other = difference(sketch, images, same_file)
            if other is not None:
                raise InputError(
                    where,
                    f"are of different data sets: image {other.id!r} is {other.one} in one, {other.other} in the other",
                    "Fuse tables of one data set; if it is one, import both with the same ground truth",
                )
            if apart(sketch, images):
                problem = f"are of different images: none of {sketch.count:,} and {images.count:,} is in both"
                raise InputError(where, problem, "Fuse tables of one split")
        seen[images.digest] = (number, images)


def label(tables: Sequence[Described], number: int) -> str:
    """Return what one of some tables is called: its member, or its number."""
    return tables[number].metadata.member or f"table{number}"


def _members(tables: Sequence[DetectionTable], shared: bool) -> tuple[tuple[str, ...], np.ndarray]:
    columns = [table.member for table in tables]
    named = [None if column is None else column.dictionary.to_pylist() for column in columns]
    names, lookups = name_members(tables, named, shared=shared)
    codes = [
        np.full(len(table), lookup[0], np.int16) if column is None else lookup[numpy_array(column.indices)]
        for table, column, lookup in zip(tables, columns, lookups, strict=True)
    ]
    return names, _joined(codes)


def name_members(
    tables: Sequence[Described], named: Sequence[Sequence[str] | None], *, shared: bool
) -> tuple[tuple[str, ...], list[np.ndarray]]:
    """Name the members behind tables.

    Args:
        tables: The tables.
        named: Names in the `member` column of each, None for a table without it, which is a member itself.
        shared: Whether two tables may bring the same member.

    Returns:
        The names of all members, and for each table the index there of each of its own: int16.

    Raises:
        InputError: If two tables bring the same member and may not, or there are too many.
    """
    names: list[str] = []
    owner: dict[str, int] = {}
    lookups = []
    for number, column in enumerate(named):
        own = [label(tables, number)] if column is None else column
        place = []
        for name in own:
            if owner.setdefault(name, number) != number and not shared:
                raise InputError(
                    f"tables {owner[name]} and {number} (counted from 0)",
                    f"both bring a member called {name!r}",
                    "Give each its own name with --member at import",
                )
            if name not in names:
                names.append(name)
            place.append(names.index(name))
        if len(names) >= 2**15:
            raise InputError("fusion", f"got {len(names)} members, at most {2**15 - 1} are possible")
        lookups.append(np.array(place, dtype=np.int16))
    return tuple(names), lookups


def distinct(values: np.ndarray) -> np.ndarray:
    """Return the distinct values, ascending: np.unique without sorting, for ids in a narrow range."""
    low, width = _span(values)
    if width > 4 * len(values) + 1024:
        return np.unique(values)
    seen = np.zeros(width, bool)
    seen[values - low] = True
    return np.flatnonzero(seen) + low


def dense(values: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Return the index of each value in `ids`, which are ascending and have them all: int32."""
    low, width = _span(ids)
    if width > 4 * len(values) + 1024:
        return np.searchsorted(ids, values).astype(np.int32)
    lookup = np.zeros(width, np.int32)
    lookup[ids - low] = np.arange(len(ids), dtype=np.int32)
    index: np.ndarray = lookup[values - low]
    return index


def _span(values: np.ndarray) -> tuple[int, int]:
    return (int(values.min()), int(values.max()) - int(values.min()) + 1) if len(values) else (0, 0)


def _joined(parts: Sequence[np.ndarray]) -> np.ndarray:
    return parts[0] if len(parts) == 1 else np.concatenate(parts)
