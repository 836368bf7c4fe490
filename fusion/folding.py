"""The way back from detections that were expanded to the ancestors of their category."""

from dataclasses import dataclass

import numpy as np

from fusion.equal_boxes import alike_of, image_order
from fusion.kernels.hierarchy import fold_images
from fusion.kernels.jit import chunks, run
from fusion.parents import Parents, ancestors_of, reach_of
from fusion.pool import Pool, Tables
from fusion.run import apply
from fusion.steps.base import Rescored
from fusion.table import DetectionTable

__all__ = ["fold_hierarchy"]


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


@dataclass(frozen=True, slots=True)
class _Fold:
    parents: Parents

    def fuse(self, pool: Pool, sources: bool = False) -> Rescored:
        ancestors = ancestors_of(self.parents)
        reach_of(ancestors, pool.category_ids)
        ids = pool.category_ids
        above = np.array([np.isin(ids, ancestors[category]) for category in ids.tolist()]).reshape(len(ids), len(ids))
        order, start = image_order(pool)
        alike = alike_of(pool, order, start)
        score, category = pool.column("score").astype(np.float64, copy=False), pool.category()
        keep = np.empty(len(order), dtype=bool)
        run(lambda low, high: fold_images(low, high, start, order, alike, score, category, above, keep), chunks(start))
        row = np.flatnonzero(keep)
        return Rescored(row, score[row])
