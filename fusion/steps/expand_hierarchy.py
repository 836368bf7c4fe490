"""Expansion of detections to the ancestors of their category, and the way back."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pyarrow as pa

from fusion.checks import listed
from fusion.class_descriptions import read_class_descriptions
from fusion.columns import Sources
from fusion.errors import InputError
from fusion.hierarchy import read_hierarchy
from fusion.kernels.jit import chunks, joined, run
from fusion.kernels.twins import expand_images, find_twins, fold_images
from fusion.pool import Pool, Rebuilt, Rescored, Tables, apply
from fusion.steps.concat import concat
from fusion.table import DetectionTable

__all__ = [
    "ExpandHierarchy",
    "Parents",
    "ancestors_of",
    "expand_hierarchy",
    "fold_hierarchy",
    "image_order",
    "read_parents",
    "twins_of",
]

Parents = Mapping[int, Sequence[int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpandHierarchy:
    """Copy each detection to all ancestors of its category (mmfruit-openimages2019, sec. 1).

    The Open Images Challenge counts a dog as an animal too: without its copy in the category animal,
    the animal there is missed. A copy has the score, box, mask, view and member of its detection. Ancestors are
    those at any depth, through any of several parents, each once.

    A member often reports one box under several categories, dog .9 and cat .3, and perhaps animal .8. Copies and
    detections of the same image, category, member and box (to the last bit) are one thing, and only
    the one of the highest score stays, of equals the first row; `keep_all` keeps all of them. Boxes
    that differ are never merged, however much they overlap: follow with `nms` for that.

    Rows of an image stay in the order of the detections they are copied from, own category first,
    ancestors by ascending id. Each says in `Rebuilt.row` which input row it was made from; with
    sources, also which rows gave way to it.

    Attributes:
        parents: Category id -> ids of its direct parents, none for one at the top. Every category of the
            detections has to be in it, as a child or as a parent.
        keep_all: Do not merge.
    """

    compares_scores: ClassVar[bool] = False

    parents: Parents
    keep_all: bool = False

    def __post_init__(self) -> None:
        # a file gives lists, and equal steps should be equal
        parents = {category: listed(f"parents.{category}", row, int) for category, row in self.parents.items()}
        object.__setattr__(self, "parents", parents)
        ancestors_of(self.parents)

    def fuse(self, pool: Pool, sources: bool = False) -> Rebuilt:
        """Return the expanded table."""
        reach = _reach(ancestors_of(self.parents), pool.category_ids)
        order, start = image_order(pool)
        score, category = pool.column("score").astype(np.float64, copy=False), pool.category()
        merge = not self.keep_all
        twin = twins_of(pool, order, start) if merge else order
        sizes = np.diff(reach[0])[category[order]]
        total = np.concatenate(([0], np.cumsum(sizes)))

        def task(low: int, high: int) -> tuple[np.ndarray, ...]:
            room = int(total[start[high]] - total[start[low]])
            out = np.empty(room, np.int64), np.empty(room, np.int32), np.empty(room, np.int64)
            expand_images(low, high, start, order, twin, score, category, reach, merge, out)
            out[2][:] += total[start[low]]
            return out

        pieces = run(task, chunks(total[start])) or [(np.zeros(0, np.int64), np.zeros(0, np.int32), np.zeros(0, int))]
        row, kind, owner = joined(pieces)
        while merge and np.any(owner[owner] != owner):
            owner = owner[owner]
        left = np.flatnonzero(owner == np.arange(len(owner)))
        return Rebuilt(
            _table(pool, order, row[left], kind[left]), row[left], _groups(row, owner, left, score) if sources else None
        )


def expand_hierarchy(
    tables: Tables, *, parents: Parents, keep_all: bool = False, device: str = "cpu"
) -> DetectionTable:
    """Copy each detection to all ancestors of its category; see `ExpandHierarchy`.

    Args:
        tables: One table or several; several are pooled.
        parents: Category id -> ids of its direct parents; see `read_parents` for the challenge's file.
        keep_all: Keep several copies of one box in a category.
        device: "cpu", "cuda", or "auto"; see `fusion.apply`.

    Returns:
        The detections and their copies. Empty input gives an empty table.

    Raises:
        InputError: If the hierarchy goes in a circle, or a category is not in it.
    """
    return apply(ExpandHierarchy(parents=parents, keep_all=keep_all), tables, device=device)


def fold_hierarchy(tables: Tables, *, parents: Parents) -> DetectionTable:
    """Leave out what expansion added: the way back for a table whose input is no longer there.

    A row is left out when a row of the same image, member and box has a descendant of its category and
    the same score. Of a table without such rows, `fold_hierarchy(expand_hierarchy(t))` is t. With the input at hand
    the rows of `trace` say more: `sources.row` has every input row, also those that were merged.

    Args:
        tables: One table or several; several are pooled.
        parents: As for `expand_hierarchy`.

    Raises:
        InputError: If the hierarchy goes in a circle, or a category is not in it.
    """
    return apply(_Fold(parents), tables)


def ancestors_of(parents: Parents) -> dict[int, tuple[int, ...]]:
    """Return the ancestors of every category, at any depth, ascending.

    Args:
        parents: Category id -> ids of its direct parents.

    Raises:
        InputError: If a category is its own ancestor; the circle is named.
    """
    done: dict[int, tuple[int, ...]] = {}
    for top in sorted({*parents, *(p for row in parents.values() for p in row)}):
        # by hand, since a chain may be longer than Python's stack
        path: list[int] = [top]
        while path:
            category = path[-1]
            waiting = [parent for parent in parents.get(category, ()) if parent not in done]
            if category in done or not waiting:
                above = parents.get(category, ())
                done[category] = tuple(sorted({*above, *(a for parent in above for a in done[parent])}))
                path.pop()
            elif waiting[0] in path:
                circle = [*path[path.index(waiting[0]) :], waiting[0]]
                raise InputError(
                    "hierarchy",
                    f"its categories go in a circle: {' -> '.join(map(str, circle))} (child -> parent)",
                    "A category cannot be its own ancestor; mend the parents",
                )
            else:
                path.append(waiting[0])
    return done


def read_parents(hierarchy: str | os.PathLike[str], classes: str | os.PathLike[str]) -> dict[int, tuple[int, ...]]:
    """Read what lies above each category from the files of the Open Images Challenge.

    Args:
        hierarchy: The class tree, such as `challenge-2019-label500-hierarchy.json`.
        classes: The class descriptions, lines of `label,name`; the first class has id 1. Classes of the
            tree that are not listed are passed over.

    Returns:
        Category id -> ids of all its ancestors.

    Raises:
        InputError: If a file cannot be read, or a listed class is not in the tree.
    """
    tree, labels = read_hierarchy(hierarchy), read_class_descriptions(classes)
    ids = {label: number for number, label in enumerate(labels, start=1)}
    unknown = [label for label in labels if label not in tree]
    if unknown:
        raise InputError(
            classes,
            f"class {unknown[0]!r} is no node of {os.fspath(hierarchy)}"
            + (f", nor are {len(unknown) - 1} others" if len(unknown) > 1 else ""),
            "Give the hierarchy and the class descriptions of the same challenge",
        )
    return {ids[label]: tuple(ids[above] for above in tree.ancestors(label) if above in ids) for label in labels}


def image_order(pool: Pool) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows of a pool by image, stable, int64 [n], and the offsets of the images, int64 [images + 1]."""
    image = pool.image()
    order = np.arange(len(image)) if len(pool.tables) == 1 else np.argsort(image, kind="stable")
    return order, np.concatenate(([0], np.cumsum(np.bincount(image, minlength=len(pool.image_ids))))).astype(np.int64)


def twins_of(pool: Pool, order: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Return, for each place in `order`, the first place of its image with the same member and box, int64 [n]."""
    # adding 0 makes negative zeros positive
    bits = tuple((pool.column(name).astype(np.float64, copy=False) + 0.0).view(np.uint64) for name in "xywh")
    twin = np.empty(len(order), np.int64)
    run(lambda low, high: find_twins(low, high, start, order, bits, pool.member, twin), chunks(start))
    return twin


@dataclass(frozen=True, slots=True)
class _Fold:
    parents: Parents

    def fuse(self, pool: Pool, sources: bool = False) -> Rescored:
        ancestors = ancestors_of(self.parents)
        _reach(ancestors, pool.category_ids)
        ids = pool.category_ids
        above = np.array([np.isin(ids, ancestors[category]) for category in ids.tolist()]).reshape(len(ids), len(ids))
        order, start = image_order(pool)
        twin = twins_of(pool, order, start)
        score, category = pool.column("score").astype(np.float64, copy=False), pool.category()
        keep = np.empty(len(order), dtype=bool)
        run(lambda low, high: fold_images(low, high, start, order, twin, score, category, above, keep), chunks(start))
        row = np.flatnonzero(keep)
        return Rescored(row, score[row])


def _reach(ancestors: Mapping[int, Sequence[int]], category_ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return offsets, and for each category of the pool its own id and those of its ancestors."""
    unknown = [category for category in category_ids.tolist() if category not in ancestors]
    if unknown:
        raise InputError(
            "hierarchy",
            f"category {unknown[0]} of the detections is no node of it"
            + (f", nor are {len(unknown) - 1} others" if len(unknown) > 1 else ""),
            "Give the hierarchy of this data set; a category at the top has an empty list of parents",
        )
    lists = [(category, *ancestors[category]) for category in category_ids.tolist()]
    start = np.concatenate(([0], np.cumsum([len(row) for row in lists]))).astype(np.int64)
    return start, np.array([category for row in lists for category in row], dtype=np.int32)


def _groups(row: np.ndarray, owner: np.ndarray, left: np.ndarray, score: np.ndarray) -> Sources:
    """List the rows that are behind each entry that is left, best score first."""
    order = np.lexsort((row, -score[row], owner))
    start = np.searchsorted(owner[order], left)
    return Sources(np.append(start, len(row)).astype(np.int64), row[order])


def _table(pool: Pool, order: np.ndarray, row: np.ndarray, kind: np.ndarray) -> DetectionTable:
    """Take rows of the pool, already in order of image, with other categories."""
    base = concat(pool.tables)
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    arrow = base.arrow.take(pa.array(place[row])).combine_chunks()
    arrow = arrow.set_column(arrow.column_names.index("category_id"), "category_id", pa.array(kind))
    return replace(base, arrow=arrow)
