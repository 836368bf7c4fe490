"""Soft non-maximum suppression, alone or after hard suppression."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from fusion.checks import at_least, one_of, within
from fusion.columns import Columns, Fused
from fusion.errors import InputError, option
from fusion.kernels.soft import soft_cells, soft_scratch
from fusion.kernels.suppress import Picked, Scratch, all_cells, nms_cells
from fusion.pool import Pool, Tables, apply
from fusion.steps.nms import suppress
from fusion.table import DetectionTable

__all__ = ["METHODS", "AdjNms", "NmsThenSoft", "SoftNms", "adj_nms", "nms_then_soft", "soft_nms"]

METHODS = ("gaussian", "linear")


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
        _check(self.sigma, self.floor)

    def fuse(self, pool: Pool, sources: bool = False) -> Fused:
        """Return what stays of the pool, in order of (cell, score descending, row)."""
        kernel = _kernel(pool.columns, None, self.floor, (self.method == "gaussian", self.sigma, self.iou))
        return suppress(pool.columns, kernel, sources)


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
        _check(self.sigma, self.floor)

    def fuse(self, pool: Pool, sources: bool = False) -> Fused:
        """Return what stays of the pool, in order of (cell, score descending, row)."""
        return suppress(pool.columns, _kernel(pool.columns, self.iou, self.floor, (True, self.sigma, 0.0)), sources)


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
        _check(self.sigma, self.floor)

    def fuse(self, pool: Pool, sources: bool = False) -> Fused:
        """Return what stays of the pool, in order of (cell, score descending, row)."""
        soft = (self.method == "gaussian", self.sigma, self.soft_iou)
        return suppress(pool.columns, _kernel(pool.columns, self.iou, self.floor, soft), sources)


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


def _check(sigma: object, floor: object) -> None:
    at_least("sigma", sigma, 0.0)
    if sigma == 0:
        raise InputError(f"option {option('sigma')}", "expected a number above 0, got 0")
    at_least("floor", floor, 0.0)


def _kernel(
    columns: Columns, hard: float | None, floor: float, method: tuple[bool, float, float]
) -> Callable[[int, int, Scratch, Picked], int]:
    """Hard suppression where `hard` is a threshold, then soft suppression (gaussian or not, sigma, threshold)."""
    gaussian, sigma, threshold = method
    soft = (gaussian, float(sigma), float(threshold))

    def kernel(low: int, high: int, work: Scratch, out: Picked) -> int:
        if hard is None:
            left = all_cells(columns, low, high, out)
        else:
            left = nms_cells(columns, low, high, float(hard), work, out)
        return int(soft_cells(columns, left, float(floor), soft, soft_scratch(columns, low, high), out))

    return kernel
