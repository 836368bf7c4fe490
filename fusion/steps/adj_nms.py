"""Hard suppression, then soft suppression of what is left."""

from dataclasses import dataclass, field
from typing import ClassVar

from fusion.columns import Fused
from fusion.pool import Pool
from fusion.steps.base import check, parameter
from fusion.suppression import soften, suppress

__all__ = ["AdjNms"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AdjNms:
    """Hard suppression, then gaussian soft suppression of what is left (mmfruit-openimages2019, sec. 3, Eq. 7).

    See `Nms` and `SoftNms`; both work on the same (image, category) cell. With sources, a box comes
    with those that hard suppression removed for it.
    """

    cellwise: ClassVar[bool] = True

    iou: float = field(default=0.5, metadata=parameter("Threshold of hard suppression.", low=0.0, high=1.0))
    sigma: float = field(default=0.5, metadata=parameter("Width of the gaussian.", above=0.0))
    floor: float = field(default=0.001, metadata=parameter("Boxes with a lower score are dropped.", low=0.0))

    def __post_init__(self) -> None:
        check(self)

    def fuse(self, pool: Pool, sources: bool = False) -> Fused:
        """Return what stays of the pool, in order of (cell, score descending, row)."""
        return suppress(pool.columns, soften(pool.columns, self.iou, self.floor, (True, self.sigma, 0.0)), sources)
