"""Hard non-maximum suppression."""

from dataclasses import dataclass
from typing import ClassVar

from fusion.checks import within
from fusion.columns import Fused
from fusion.kernels.suppress import nms_cells
from fusion.pool import Pool, Tables
from fusion.run import apply
from fusion.suppression import suppress
from fusion.table import DetectionTable

__all__ = [
    "Nms",
    "nms",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Nms:
    """Greedy hard suppression within each (image, category) cell.

    Boxes are taken by score, ties by row; a box is kept unless its IoU with a box kept before it is
    above the threshold (equal is not above). Scores and boxes stay as they are. With sources, a kept
    box comes with those it suppressed: each belongs to the first kept box that covers it.

    Attributes:
        iou: Threshold in [0, 1].
    """

    cellwise: ClassVar[bool] = True

    iou: float = 0.5

    def __post_init__(self) -> None:
        within("iou", self.iou, 0.0, 1.0)

    def fuse(self, pool: Pool, sources: bool = False) -> Fused:
        """Return the kept boxes of the pool, in order of (cell, score descending, row)."""
        columns, threshold = pool.columns, float(self.iou)
        return suppress(
            columns, lambda low, high, work, out: nms_cells(columns, low, high, threshold, work, out), sources
        )


def nms(tables: Tables, *, iou: float = 0.5, device: str = "cpu") -> DetectionTable:
    """Keep the boxes that no better box of their image and category covers; see `Nms`.

    Args:
        tables: One table or several; several are pooled.
        iou: A box whose IoU with a kept one is above this is dropped.
        device: "cpu", "cuda", or "auto"; see `fusion.apply`.

    Returns:
        The kept rows, unchanged.

    Raises:
        InputError: If `iou` is not in [0, 1] or the tables do not go together.
    """
    return apply(Nms(iou=iou), tables, device=device)
