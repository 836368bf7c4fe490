"""Hard suppression at a high threshold, then soft suppression of what is left."""

from dataclasses import dataclass
from typing import ClassVar

from fusion.checks import one_of, within
from fusion.columns import Fused
from fusion.pool import Pool, Tables
from fusion.run import apply
from fusion.suppression import METHODS, check_decay, soften, suppress
from fusion.table import DetectionTable

__all__ = ["NmsThenSoft", "nms_then_soft"]


@dataclass(frozen=True, slots=True, kw_only=True)
class NmsThenSoft:
    """Hard suppression at a high threshold, then soft suppression of what is left (lvisTraveler, sec. 3.3).

    As `AdjNms`, with a choice of the soft method; its threshold for "linear" is `soft_iou`.

    Attributes:
        iou: Threshold of hard suppression in [0, 1].
        method: "gaussian" or "linear".
        sigma: Width of the gaussian, above 0; without effect on "linear".
        soft_iou: Threshold in [0, 1] of "linear"; without effect on "gaussian".
        floor: Least score that stays, at least 0.
    """

    cellwise: ClassVar[bool] = True

    iou: float = 0.7
    method: str = "gaussian"
    sigma: float = 0.5
    soft_iou: float = 0.5
    floor: float = 0.001

    def __post_init__(self) -> None:
        within("iou", self.iou, 0.0, 1.0)
        one_of("method", self.method, METHODS)
        within("soft_iou", self.soft_iou, 0.0, 1.0)
        check_decay(self.sigma, self.floor)

    def fuse(self, pool: Pool, sources: bool = False) -> Fused:
        """Return what stays of the pool, in order of (cell, score descending, row)."""
        soft = (self.method == "gaussian", self.sigma, self.soft_iou)
        return suppress(pool.columns, soften(pool.columns, self.iou, self.floor, soft), sources)


def nms_then_soft(
    tables: Tables,
    *,
    iou: float = 0.7,
    method: str = "gaussian",
    sigma: float = 0.5,
    soft_iou: float = 0.5,
    floor: float = 0.001,
    device: str = "cpu",
) -> DetectionTable:
    """Suppress hard at a high threshold, then softly; see `NmsThenSoft`.

    Args:
        tables: One table or several; several are pooled.
        iou: Threshold of hard suppression.
        method: "gaussian" or "linear".
        sigma: Width of the gaussian.
        soft_iou: Threshold of "linear".
        floor: Boxes with a lower score are dropped.
        device: "cpu", "cuda", or "auto"; see `fusion.apply`.

    Returns:
        The rows that stay, with their lowered scores; boxes unchanged. Empty input gives an empty table.

    Raises:
        InputError: If an option is out of range or the tables do not go together.
    """
    return apply(
        NmsThenSoft(iou=iou, method=method, sigma=sigma, soft_iou=soft_iou, floor=floor), tables, device=device
    )
