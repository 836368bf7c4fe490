"""Hard non-maximum suppression."""

from dataclasses import dataclass, field
from typing import ClassVar

from fusion.across import across_categories
from fusion.columns import Fused
from fusion.kernels.suppress import nms_cells
from fusion.pool import Pool
from fusion.steps.base import check, parameter
from fusion.suppression import suppress

__all__ = ["Nms"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Nms:
    """Greedy hard suppression within each (image, category) cell.

    Boxes are taken by score, ties by row; a box is kept unless its IoU with a box kept before it is
    above the threshold (equal is not above). Scores and boxes stay as they are. With sources, a kept
    box comes with those it suppressed: each belongs to the first kept box that covers it.

    With `across_categories` the cell is the image. A kept box and those it suppressed are one object: of them the best
    box of the category with the highest sum of scores stays, with its own score (`fusion.across`).
    """

    cellwise: ClassVar[bool] = True

    iou: float = field(
        default=0.5, metadata=parameter("A box whose IoU with a kept one is above this is dropped.", low=0.0, high=1.0)
    )
    across_categories: bool = field(
        default=False,
        metadata=parameter("Suppress boxes of any category; the category of highest summed score stays."),
    )

    def __post_init__(self) -> None:
        check(self)

    def fuse(self, pool: Pool, sources: bool = False) -> Fused:
        """Return the kept boxes of the pool, in order of (cell, score descending, row)."""
        if self.across_categories:
            return across_categories(self, pool, sources)
        columns, threshold = pool.columns, float(self.iou)
        return suppress(
            columns, lambda low, high, work, out: nms_cells(columns, low, high, threshold, work, out), sources
        )
