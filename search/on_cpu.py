"""The nodes of candidates on the CPU, on sheets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fusion.steps.base import Step
from fusion.steps.concat import Concat
from fusion.steps.dropout import Dropout
from fusion.steps.support import Support
from fusion.table import DetectionTable
from search.engine import Profile
from search.genome import Operator
from search.merged import Merged, dropped, fused, merge, pooled, supported
from search.sheet import FoldSides, Leaves, Sheet, leaves_of, table_of, weighted

__all__ = ["CpuFuser", "Measure", "cpu_fusers"]

Measure = Callable[[DetectionTable, np.ndarray], np.ndarray]
"""From a table and int32 [c] category ids to float64 [c], the AP of these categories, NaN without ground truth."""


@dataclass(frozen=True, eq=False)
class CpuFuser:
    """Fuses the members' rows of one chunk of categories; a `Fuser` that can be pickled.

    Attributes:
        leaves: The members, from `leaves_of`.
        looks: The chunk alone.
        ap: Tells the AP per category.
    """

    leaves: Leaves
    looks: tuple[np.ndarray, ...]
    ap: Measure

    def leaf(self, member: int, weight: float, profile: Profile) -> Sheet:
        """Return a member with its scores multiplied."""
        sheet = self.leaves.sheets[member]
        return sheet if weight == 1.0 else weighted(sheet, weight)

    def node(self, operator: Operator, first: Sheet, second: Sheet, profile: Profile) -> Sheet:
        """Fuse two children."""
        grid = self.leaves.grid

        def run(step: Step, inputs: Sequence[Any]) -> Sheet | Merged:
            if isinstance(step, Dropout):
                left, right = inputs
                with profile.timing("Dropout"):
                    return dropped(grid, left, right, step)
            pool = inputs[0]
            if len(inputs) == 2:
                with profile.timing("merge"):
                    pool = merge(grid, *inputs)
            with profile.timing(type(step).__name__):
                if isinstance(step, Support):
                    return supported(pool, step)
                return pooled(pool) if isinstance(step, Concat) else fused(pool, step)

        answer: Sheet = operator.fuse(run, first, second)
        return answer

    def measure(self, result: Sheet, profile: Profile) -> np.ndarray:
        """Return the AP of each category of the chunk: float64 [c]."""
        with profile.timing("table"):
            table = self.table(result)
        with profile.timing("measure"):
            return self.ap(table, self.looks[0])

    def size(self, result: Sheet) -> int:
        """Return the bytes that a result takes."""
        return result.nbytes

    def table(self, result: Sheet) -> DetectionTable:
        """Return a result as the table that the recipe has there."""
        return table_of(self.leaves.grid, result)


def cpu_fusers(
    tables: Sequence[DetectionTable],
    chunks: Sequence[np.ndarray],
    measure: Measure,
    sides: FoldSides | None = None,
) -> list[CpuFuser]:
    """Sort the members' rows of each chunk of categories.

    Args:
        tables: One per member.
        chunks: Category ids, int32, of each chunk, together all of the ground truth's.
        measure: Tells the AP per category.
        sides: Weights of the sides of each member's boxes in means; none where all are equal.
    """
    if len(chunks) == 1:
        parts = [leaves_of(tables, sides)]
    else:
        parts = [leaves_of([table.select_categories(ids) for table in tables], sides) for ids in chunks]
    return [
        CpuFuser(leaves, (np.asarray(ids, dtype=np.int32),), measure) for leaves, ids in zip(parts, chunks, strict=True)
    ]
