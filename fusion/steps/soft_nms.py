"""Soft non-maximum suppression."""

from dataclasses import dataclass
from typing import ClassVar

from fusion.checks import one_of, within
from fusion.columns import Fused
from fusion.pool import Pool, Tables
from fusion.run import apply
from fusion.suppression import METHODS, check_decay, soften, suppress
from fusion.table import DetectionTable

__all__ = ["SoftNms", "soft_nms"]


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
    boxes that stay, so the others are what they would have been with it.

    Attributes:
        method: "gaussian" or "linear".
        sigma: Width of the gaussian, above 0; without effect on "linear".
        iou: Threshold in [0, 1] of "linear"; without effect on "gaussian".
        floor: Least score that stays, at least 0.
    """

    cellwise: ClassVar[bool] = True

    method: str = "gaussian"
    sigma: float = 0.5
    iou: float = 0.5
    floor: float = 0.001

    def __post_init__(self) -> None:
        one_of("method", self.method, METHODS)
        within("iou", self.iou, 0.0, 1.0)
        check_decay(self.sigma, self.floor)

    def fuse(self, pool: Pool, sources: bool = False) -> Fused:
        """Return what stays of the pool, in order of (cell, score descending, row)."""
        kernel = soften(pool.columns, None, self.floor, (self.method == "gaussian", self.sigma, self.iou))
        return suppress(pool.columns, kernel, sources)


def soft_nms(
    tables: Tables,
    *,
    method: str = "gaussian",
    sigma: float = 0.5,
    iou: float = 0.5,
    floor: float = 0.001,
    device: str = "cpu",
) -> DetectionTable:
    """Lower the scores of covered boxes and drop those under a floor; see `SoftNms`.

    Args:
        tables: One table or several; several are pooled.
        method: "gaussian" or "linear".
        sigma: Width of the gaussian.
        iou: Threshold of "linear".
        floor: Boxes with a lower score are dropped.
        device: "cpu", "cuda", or "auto"; see `fusion.apply`.

    Returns:
        The rows that stay, with their lowered scores; boxes unchanged. Empty input gives an empty table.

    Raises:
        InputError: If an option is out of range or the tables do not go together.
    """
    return apply(SoftNms(method=method, sigma=sigma, iou=iou, floor=floor), tables, device=device)
