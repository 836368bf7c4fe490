"""How categories go together: counts of co-occurrence and of surrounding, and the rates that follow from them."""

import io
import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from pyarrow import csv

from fusion.arrow_arrays import arrow_array
from fusion.belonging import Sketch, difference
from fusion.checks import within
from fusion.errors import InputError
from fusion.members import Described
from fusion.pool import Pool

__all__ = ["PROBABILITIES", "Relations", "Sparse", "Surrounding", "Together", "check_scores", "image_chunks"]

PROBABILITIES = ("conditional", "printed")


class Together(NamedTuple):
    """Pairs of categories that occur in the same image; p pairs in order of (first, second).

    Attributes:
        first: int32 [p], index into the categories.
        second: int32 [p], a larger index.
        images: int64 [p], images with both.
        first_objects: int64 [p], objects of the first category in images with the second.
        second_objects: int64 [p], the other way round.
    """

    first: np.ndarray
    second: np.ndarray
    images: np.ndarray
    first_objects: np.ndarray
    second_objects: np.ndarray


class Surrounding(NamedTuple):
    """Pairs of categories of which one lies inside the other; p pairs in order of (inner, outer).

    Attributes:
        inner: int32 [p], index into the categories.
        outer: int32 [p], another index.
        inside: int64 [p], objects of the inner category that lie inside some object of the outer one.
        around: int64 [p], objects of the outer category that have some object of the inner one inside.
    """

    inner: np.ndarray
    outer: np.ndarray
    inside: np.ndarray
    around: np.ndarray


class Sparse(NamedTuple):
    """A sparse matrix by rows (CSR): a row per category of a pool.

    Attributes:
        start: int64 [categories + 1].
        column: int32 [m], categories.
        value: float64 [m, ...].
    """

    start: np.ndarray
    column: np.ndarray
    value: np.ndarray


@dataclass(frozen=True, eq=False, kw_only=True)
class Relations:
    """Statistics of the categories of a data set, counted from its ground truth (mmfruit-openimages2019, sec. 5.8).

    Attributes:
        ioa: Share of the inner box that must lie in the outer one, which must be the larger.
        images: Number of images counted.
        categories: Fingerprint of the category set; "" where it is not known.
        category_id: int32 [k], ascending.
        category_name: Names of the k categories.
        category_images: int64 [k], images in which a category occurs.
        category_objects: int64 [k].
        together: Which categories occur together.
        surrounding: Which lie inside which.
    """

    ioa: float
    images: int
    categories: str
    category_id: np.ndarray
    category_name: tuple[str, ...]
    category_images: np.ndarray
    category_objects: np.ndarray
    together: Together
    surrounding: Surrounding

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Relations) and self.to_dict() == other.to_dict()

    __hash__ = None  # type: ignore[assignment]

    def conditional(self) -> tuple[np.ndarray, np.ndarray]:
        """Return p(i|j) = C_ij / C_j, the share of the images with j that also have i; C counts images.

        It is what the report's example says (a person in 90.7 % of the images with a guitar).

        Returns:
            float64 [p] for i first and j second of each pair in `together`, and the other way round.
        """
        counts = self.together.images
        return counts / self.category_images[self.together.second], counts / self.category_images[self.together.first]

    def printed(self) -> tuple[np.ndarray, np.ndarray]:
        """Return p(i|j) = C_ij / C_i as the report prints it: C_i objects of i, C_ij of them in images with j.

        That is the share of the objects of i that have a j beside them: the condition stands the other
        way round. Where objects are not known (labels of images only) it is 0.

        Returns:
            float64 [p], as in `conditional`.
        """
        together, objects = self.together, np.maximum(self.category_objects, 1)
        return together.first_objects / objects[together.first], together.second_objects / objects[together.second]

    def surround_rates(self) -> tuple[np.ndarray, np.ndarray]:
        """Return how often objects are surrounded, and surround.

        Returns:
            float64 [p] for the pairs in `surrounding`: share of the inner category's objects inside
            the outer one, and share of the outer category's objects with the inner one inside.
        """
        pairs, objects = self.surrounding, np.maximum(self.category_objects, 1)
        return pairs.inside / objects[pairs.inner], pairs.around / objects[pairs.outer]

    def chance_rates(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the same shares over the objects of all other categories: what an object has by chance.

        Returns:
            float64 [k]: share of all other objects inside one of this category, and with one of it inside.
        """
        pairs, k = self.surrounding, len(self.category_id)
        others = np.maximum(self.category_objects.sum() - self.category_objects, 1)
        return (
            np.bincount(pairs.outer, pairs.inside, k) / others,
            np.bincount(pairs.inner, pairs.around, k) / others,
        )

    def places(self, tables: Sequence[Described], category_ids: np.ndarray) -> np.ndarray:
        """Return the index of each of the categories of some tables, int64.

        Raises:
            InputError: If the tables have other categories than these.
        """
        theirs = {table.metadata.categories for table in tables} - {None}
        unknown = category_ids[~np.isin(category_ids, self.category_id)]
        if len(unknown) or (self.categories and theirs and self.categories not in theirs):
            problem = "it was learned on other categories than the tables have"
            own = Sketch.of(self.category_id, self.category_name)
            named = filter(None, (table.metadata.category_names for table in tables))
            other = next(filter(None, (difference(own, names, operator.eq) for names in named)), None)
            if other is not None:
                problem += f": category {other.id} is {other.one} there and {other.other} here"
            elif len(unknown):
                problem += f": category {unknown[0]} is not among its {len(self.category_id)}"
            raise InputError("relations", problem, "Learn them on ground truth of the same data set")
        return np.searchsorted(self.category_id, category_ids)

    def to_dict(self) -> dict[str, Any]:
        """Return what TOML stores: numbers, and three tables as CSV text, with category ids in place of indices."""
        ids = self.category_id
        categories = {"id": ids, "images": self.category_images, "objects": self.category_objects}
        pairs = self.together._asdict() | {"first": ids[self.together.first], "second": ids[self.together.second]}
        inside = self.surrounding._asdict()
        inside |= {"inner": ids[self.surrounding.inner], "outer": ids[self.surrounding.outer]}
        return {
            "ioa": self.ioa,
            "images": self.images,
            "fingerprint": self.categories,
            "names": list(self.category_name),
            "categories": _to_csv(categories),
            "together": _to_csv(pairs),
            "surrounding": _to_csv(inside),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], where: object = "relations") -> "Relations":
        """Read what `to_dict` gave.

        Raises:
            InputError: If something is missing or does not fit; it is named.
        """
        kinds = {"ioa": float, "images": int, "fingerprint": str, "names": list, "categories": str}
        for name, kind in (kinds | {"together": str, "surrounding": str}).items():
            if not isinstance(values.get(name), kind):
                problem = f"expected {name} as {kind.__name__}, got {values.get(name)!r}"
                raise InputError(where, problem, "Learn it again")
        within(f"{where}, ioa", values["ioa"], 0.0, 1.0)
        table = _from_csv(values["categories"], ("id", "images", "objects"), f"{where}, categories")
        ids = table["id"].astype(np.int32)
        if np.any(np.diff(ids) <= 0) or len(values["names"]) != len(ids):
            raise InputError(f"{where}, categories", "expected rising ids, and a name for each", "Learn it again")
        pairs = _indexed(values["together"], Together._fields, ids, f"{where}, together")
        inside = _indexed(values["surrounding"], Surrounding._fields, ids, f"{where}, surrounding")
        return cls(
            ioa=float(values["ioa"]),
            images=values["images"],
            categories=values["fingerprint"],
            category_id=ids,
            category_name=tuple(map(str, values["names"])),
            category_images=table["images"],
            category_objects=table["objects"],
            together=Together(**pairs),
            surrounding=Surrounding(**inside),
        )


def check_scores(pool: Pool, step: str) -> np.ndarray:
    """Return a pool's scores as float64; they must be probabilities.

    Raises:
        InputError: If a score is outside [0, 1].
    """
    score: np.ndarray = pool.column("score").astype(np.float64)
    wrong = np.flatnonzero((score < 0) | (score > 1))
    if len(wrong):
        member = pool.members[pool.member[wrong[0]]]
        problem = f"member {member!r} has a score of {score[wrong[0]]:g}; expected probabilities in [0, 1]"
        raise InputError(step, problem, "Calibrate first: quorum learn calibration")
    return score


def image_chunks(image: np.ndarray, start: np.ndarray, size: int = 65536) -> list[tuple[int, int]]:
    """Cut cells into runs of about `size` detections that do not cut an image.

    Args:
        image: int32 [cells], ascending.
        start: int64 [cells + 1], offsets of the cells.
        size: Detections per run.

    Returns:
        Pairs (first cell, one past the last).
    """
    heads = np.flatnonzero(np.diff(image, prepend=-1))
    if not len(heads):
        return []
    targets = np.searchsorted(start[heads], np.arange(size, start[-1], size))
    cuts = np.unique(np.concatenate(([0], heads[targets[targets < len(heads)]], [len(image)])))
    return list(zip(cuts[:-1].tolist(), cuts[1:].tolist(), strict=True))


def _to_csv(columns: Mapping[str, np.ndarray]) -> str:
    sink = io.BytesIO()
    options = csv.WriteOptions(quoting_header="none")
    csv.write_csv(pa.table({name: arrow_array(column) for name, column in columns.items()}), sink, options)
    return sink.getvalue().decode()


def _from_csv(text: str, names: Sequence[str], where: str) -> dict[str, np.ndarray]:
    convert = csv.ConvertOptions(column_types=dict.fromkeys(names, pa.int64()))
    try:
        table = csv.read_csv(io.BytesIO(text.encode()), convert_options=convert)
    except pa.ArrowInvalid as error:
        raise InputError(where, f"expected a CSV table with {', '.join(names)} ({error})", "Learn it again") from error
    if table.column_names != list(names) or any(table[name].null_count for name in names):
        problem = f"expected columns {', '.join(names)} without gaps, got {', '.join(table.column_names)}"
        raise InputError(where, problem, "Learn it again")
    return {name: np.asarray(table[name].to_numpy()) for name in names}


def _indexed(text: str, names: Sequence[str], ids: np.ndarray, where: str) -> dict[str, np.ndarray]:
    """Read a table whose first two columns are category ids."""
    columns = _from_csv(text, names, where)
    for name in names[:2]:
        place = np.minimum(np.searchsorted(ids, columns[name]), max(len(ids) - 1, 0))
        wrong = np.flatnonzero(ids[place] != columns[name]) if len(ids) else np.arange(len(place))
        if len(wrong):
            raise InputError(where, f"there is no category {columns[name][wrong[0]]}", "Learn it again")
        columns[name] = place.astype(np.int32)
    return columns
