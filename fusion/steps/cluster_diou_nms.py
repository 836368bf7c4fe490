"""Hard suppression by Distance-IoU."""

from dataclasses import dataclass, field
from typing import ClassVar

from fusion.columns import Fused
from fusion.kernels.diou import diou_cells
from fusion.pool import Pool
from fusion.steps.base import check, parameter
from fusion.suppression import suppress

__all__ = ["ClusterDiouNms"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterDiouNms:
    """Drop boxes that a better box of their cell covers, with its centre near theirs (Zheng 2020, arXiv 2005.03572).

    As `nms`, with Distance-IoU as the criterion: IoU less the squared distance of the two centres over the squared
    diagonal of the smallest box around both. Boxes of two things side by side, whose centres are apart, are kept more
    often. Boxes are taken by score, ties by row; one is kept unless its DIoU with a box kept before it is above the
    threshold (equal is not above). That is where the iterations of Cluster-NMS end, which are made for a GPU. Scores
    and boxes stay as they are. With sources, a kept box comes with those it suppressed.
    """

    cellwise: ClassVar[bool] = True

    iou: float = field(
        default=0.5, metadata=parameter("A box whose DIoU with a kept one is above this is dropped.", low=0.0, high=1.0)
    )

    def __post_init__(self) -> None:
        check(self)

    def fuse(self, pool: Pool, sources: bool = False) -> Fused:
        """Return the kept boxes of the pool, in order of (cell, score descending, row)."""
        columns, threshold = pool.columns, float(self.iou)
        return suppress(columns, lambda low, high, _, out: int(diou_cells(columns, low, high, threshold, out)), sources)
