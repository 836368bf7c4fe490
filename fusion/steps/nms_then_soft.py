"""Hard suppression at a high threshold, then soft suppression of what is left."""

from dataclasses import dataclass, field
from typing import ClassVar

from fusion.columns import Fused
from fusion.pool import Pool
from fusion.steps.base import check, parameter
from fusion.suppression import METHODS, soften, suppress

__all__ = ["NmsThenSoft"]


@dataclass(frozen=True, slots=True, kw_only=True)
class NmsThenSoft:
    """Hard suppression at a high threshold, then soft suppression of what is left (lvisTraveler, sec. 3.3).

    As `AdjNms`, with a choice of the soft method; its threshold for "linear" is `soft_iou`.
    """

    cellwise: ClassVar[bool] = True

    iou: float = field(default=0.7, metadata=parameter("Threshold of hard suppression.", low=0.0, high=1.0))
    method: str = field(default="gaussian", metadata=parameter("How scores fall.", choices=METHODS, typed="decay"))
    sigma: float = field(default=0.5, metadata=parameter("Width of the gaussian; without effect on linear.", above=0.0))
    soft_iou: float = field(
        default=0.5, metadata=parameter("Threshold of linear; without effect on gaussian.", low=0.0, high=1.0)
    )
    floor: float = field(default=0.001, metadata=parameter("Boxes with a lower score are dropped.", low=0.0))

    def __post_init__(self) -> None:
        check(self)

    def fuse(self, pool: Pool, sources: bool = False) -> Fused:
        """Return what stays of the pool, in order of (cell, score descending, row)."""
        soft = (self.method == "gaussian", self.sigma, self.soft_iou)
        return suppress(pool.columns, soften(pool.columns, self.iou, self.floor, soft), sources)
