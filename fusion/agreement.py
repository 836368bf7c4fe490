"""What the tables of one fusion must agree on, and what is said of the table that comes of them."""

import operator
from collections.abc import Sequence

from fusion.belonging import Sketch, apart, difference, merged, same_file
from fusion.errors import InputError
from fusion.members import Described, label
from fusion.table import Metadata

__all__ = ["agreed_metadata", "check_agreement"]


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
