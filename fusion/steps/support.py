"""A factor on the scores of boxes that only one of the inputs has."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from fusion.checks import within
from fusion.kernels.support import supported_rows
from fusion.pool import Pool, Tables
from fusion.run import apply
from fusion.steps.base import Rescored
from fusion.table import DetectionTable

__all__ = ["Support", "support"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Support:
    """Multiply the score of each box that no other input supports; boxes stay as they are.

    A box is supported where a box of another input table, in the same image and category, has an IoU of
    at least the threshold with it. It is the "box merging score" of a node of the auto-ensemble's tree
    (mmfruit-openimages2019, sec. 4.2, which does not define it): WBF does the same with votes over members.

    Attributes:
        factor: In [0, 1]; 1 leaves all scores as they are, 0 leaves unsupported boxes out.
        iou: Threshold in [0, 1].
    """

    compares_scores: ClassVar[bool] = False

    factor: float = 0.5
    iou: float = 0.5

    def __post_init__(self) -> None:
        within("factor", self.factor, 0.0, 1.0)
        within("iou", self.iou, 0.0, 1.0)

    def fuse(self, pool: Pool, sources: bool = False) -> Rescored:
        """Return all rows with their new scores; those of factor 0 are left out."""
        score = pool.column("score").astype(np.float64)
        side = np.repeat(np.arange(len(pool.tables), dtype=np.int32), [len(table) for table in pool.tables])
        supported = supported_rows(pool.columns, side, float(self.iou))
        row = np.arange(len(score)) if self.factor > 0 else np.flatnonzero(supported)
        return Rescored(row, np.where(supported, score, score * self.factor)[row])


def support(tables: Tables, *, factor: float = 0.5, iou: float = 0.5, device: str = "cpu") -> DetectionTable:
    """Multiply the scores of boxes that no other of the tables supports; see `Support`.

    Args:
        tables: Several; of one table no box is supported.
        factor: In [0, 1].
        iou: A box of another table supports one whose IoU with it is at least this.
        device: "cpu", "cuda", or "auto"; see `fusion.apply`.

    Raises:
        InputError: If an option is out of range or the tables do not go together.
    """
    return apply(Support(factor=factor, iou=iou), tables, device=device)
