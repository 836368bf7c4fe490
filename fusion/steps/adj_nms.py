"""Hard suppression, then soft suppression of what is left."""

from dataclasses import dataclass
from typing import ClassVar

from fusion.checks import within
from fusion.columns import Fused
from fusion.pool import Pool, Tables
from fusion.run import apply
from fusion.suppression import check_decay, soften, suppress
from fusion.table import DetectionTable

__all__ = ["AdjNms", "adj_nms"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AdjNms:
    """Hard suppression, then gaussian soft suppression of what is left (mmfruit-openimages2019, sec. 3, Eq. 7).

    See `Nms` and `SoftNms`; both work on the same (image, category) cell. With sources, a box comes
    with those that hard suppression removed for it.

    Attributes:
        iou: Threshold of hard suppression in [0, 1].
        sigma: Width of the gaussian, above 0.
        floor: Least score that stays, at least 0.
    """

    cellwise: ClassVar[bool] = True

    iou: float = 0.5
    sigma: float = 0.5
    floor: float = 0.001

    def __post_init__(self) -> None:
        within("iou", self.iou, 0.0, 1.0)
        check_decay(self.sigma, self.floor)

    def fuse(self, pool: Pool, sources: bool = False) -> Fused:
        """Return what stays of the pool, in order of (cell, score descending, row)."""
        return suppress(pool.columns, soften(pool.columns, self.iou, self.floor, (True, self.sigma, 0.0)), sources)


def adj_nms(
    tables: Tables, *, iou: float = 0.5, sigma: float = 0.5, floor: float = 0.001, device: str = "cpu"
) -> DetectionTable:
    """Suppress hard, then softly; see `AdjNms`.

    Args:
        tables: One table or several; several are pooled.
        iou: Threshold of hard suppression.
        sigma: Width of the gaussian.
        floor: Boxes with a lower score are dropped.
        device: "cpu", "cuda", or "auto"; see `fusion.apply`.

    Returns:
        The rows that stay, with their lowered scores; boxes unchanged. Empty input gives an empty table.

    Raises:
        InputError: If an option is out of range or the tables do not go together.
    """
    return apply(AdjNms(iou=iou, sigma=sigma, floor=floor), tables, device=device)
