"""A factor on the scores of boxes that only one of the inputs has."""

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from fusion.kernels.support import supported_rows
from fusion.pool import Pool
from fusion.steps.base import Rescored, check, parameter

__all__ = ["Support"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Support:
    """Multiply the score of each box that no other input supports; boxes stay as they are.

    A box is supported where a box of another input table, in the same image and category, has an IoU of
    at least the threshold with it. It is the "box merging score" of a node of the auto-ensemble's tree
    (mmfruit-openimages2019, sec. 4.2, which does not define it): WBF does the same with votes over members.
    """

    compares_scores: ClassVar[bool] = False

    factor: float = field(
        default=0.5,
        metadata=parameter("Factor on scores that no other table supports; 0 leaves the boxes out.", low=0.0, high=1.0),
    )
    iou: float = field(
        default=0.5,
        metadata=parameter(
            "A box of another table supports one whose IoU with it is at least this.", low=0.0, high=1.0
        ),
    )

    def __post_init__(self) -> None:
        check(self)

    def fuse(self, pool: Pool, sources: bool = False) -> Rescored:
        """Return all rows with their new scores; those of factor 0 are left out."""
        score = pool.column("score").astype(np.float64)
        side = np.repeat(np.arange(len(pool.tables), dtype=np.int32), [len(table) for table in pool.tables])
        supported = supported_rows(pool.columns, side, float(self.iou))
        row = np.arange(len(score)) if self.factor > 0 else np.flatnonzero(supported)
        return Rescored(row, np.where(supported, score, score * self.factor)[row])
