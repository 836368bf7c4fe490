"""Soft non-maximum suppression."""

from dataclasses import dataclass, field
from typing import ClassVar

from fusion.across import across_categories
from fusion.columns import Fused
from fusion.pool import Pool
from fusion.steps.base import check, parameter
from fusion.suppression import METHODS, soften, suppress

__all__ = ["SoftNms"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SoftNms:
    """Lower the scores of boxes that better boxes of their cell cover (Bodla 2017, arXiv 1704.04503).

    Again and again the box with the highest current score is picked, ties by original score, then
    row. It then lowers all boxes of its (image, category) cell that are not picked yet:

    - "gaussian": to score * exp(-S / sigma), S being the sum of IoU^2 with the boxes picked so far, in
      the order in which they were picked. That is one factor exp(-IoU^2 / sigma) per pick.
    - "linear": by a factor 1 - IoU, where IoU is above `iou`.

    The lowered scores are what is returned. A box whose score is under `floor`, from the start or
    once it is lowered, is dropped. As scores never rise, it could only have been picked after all
    boxes that stay, so the others are what they would have been with it. With `across_categories` the cell is the
    image; every box keeps its category.
    """

    cellwise: ClassVar[bool] = True

    method: str = field(default="gaussian", metadata=parameter("How scores fall.", choices=METHODS, typed="decay"))
    sigma: float = field(default=0.5, metadata=parameter("Width of the gaussian; without effect on linear.", above=0.0))
    iou: float = field(
        default=0.5, metadata=parameter("Threshold of linear; without effect on gaussian.", low=0.0, high=1.0)
    )
    floor: float = field(default=0.001, metadata=parameter("Boxes with a lower score are dropped.", low=0.0))
    across_categories: bool = field(
        default=False, metadata=parameter("Boxes lower those of any category; each keeps its own.")
    )

    def __post_init__(self) -> None:
        check(self)

    def fuse(self, pool: Pool, sources: bool = False) -> Fused:
        """Return what stays of the pool, in order of (cell, score descending, row)."""
        if self.across_categories:
            return across_categories(self, pool, sources)
        kernel = soften(pool.columns, None, self.floor, (self.method == "gaussian", self.sigma, self.iou))
        return suppress(pool.columns, kernel, sources)
