"""Expansion of detections to the ancestors of their category, and the way back."""

from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np

from fusion.arrow_arrays import arrow_array
from fusion.checks import listed
from fusion.columns import Sources
from fusion.equal_boxes import alike_of, image_order
from fusion.kernels.hierarchy import expand_images
from fusion.kernels.jit import chunks, joined, run
from fusion.on_cpu import fuse_tables
from fusion.parents import Parents, ancestors_of, reach_of, read_parents
from fusion.pool import Pool
from fusion.steps.base import Rebuilt, check, parameter
from fusion.steps.concat import Concat
from fusion.table import DetectionTable
from fusion.toml_values import by_category

__all__ = ["ExpandHierarchy"]


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
    """

    compares_scores: ClassVar[bool] = False

    parents: Parents = field(
        metadata=parameter(
            "Ids of the direct parents of each category, none at the top; the detections' categories are all in it.",
            files={
                "hierarchy": "The class tree, a JSON file. [required]",
                "class_descriptions": "Lines of label,name; the first class has id 1. [required]",
            },
            read=read_parents,
            build=by_category,
            sample="tree.json --class-descriptions classes.csv",
        )
    )
    keep_all: bool = field(default=False, metadata=parameter("Keep several copies of one box in a category."))

    def __post_init__(self) -> None:
        check(self)
        # a file gives lists, and equal steps should be equal
        parents = {category: listed(f"parents.{category}", row, int) for category, row in self.parents.items()}
        object.__setattr__(self, "parents", parents)
        ancestors_of(self.parents)

    def fuse(self, pool: Pool, sources: bool = False) -> Rebuilt:
        """Return the expanded table."""
        reach = reach_of(ancestors_of(self.parents), pool.category_ids)
        order, start = image_order(pool)
        score, category = pool.column("score").astype(np.float64, copy=False), pool.category()
        merge = not self.keep_all
        alike = alike_of(pool, order, start) if merge else order
        sizes = np.diff(reach[0])[category[order]]
        total = np.concatenate(([0], np.cumsum(sizes)))

        def task(low: int, high: int) -> tuple[np.ndarray, ...]:
            room = int(total[start[high]] - total[start[low]])
            out = np.empty(room, np.int64), np.empty(room, np.int32), np.empty(room, np.int64)
            expand_images(low, high, start, order, alike, score, category, reach, merge, out)
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


def _groups(row: np.ndarray, owner: np.ndarray, left: np.ndarray, score: np.ndarray) -> Sources:
    """List the rows that are behind each entry that is left, best score first."""
    order = np.lexsort((row, -score[row], owner))
    start = np.searchsorted(owner[order], left)
    return Sources(np.append(start, len(row)).astype(np.int64), row[order])


def _table(pool: Pool, order: np.ndarray, row: np.ndarray, kind: np.ndarray) -> DetectionTable:
    """Take rows of the pool, already in order of image, with other categories."""
    base = fuse_tables(Concat(), pool.tables)
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    arrow = base.arrow.take(arrow_array(place[row])).combine_chunks()
    arrow = arrow.set_column(arrow.column_names.index("category_id"), "category_id", arrow_array(kind))
    return replace(base, arrow=arrow)
