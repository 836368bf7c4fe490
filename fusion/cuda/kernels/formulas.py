"""The formulas of `fusion/geometry.py` as device functions."""

from collections.abc import Callable
from typing import Any

from fusion import geometry
from fusion.cuda.kernels.device import device_function

__all__ = ["area_of", "formula", "gaussian", "intersection", "iou", "linear", "match", "overlap"]


def formula(function: Callable[..., float]) -> Any:
    """Compile a formula that the CPU's kernels use as well."""
    return device_function(function)


intersection = formula(geometry.intersection)
iou = formula(geometry.iou)
gaussian = formula(geometry.gaussian)
linear = formula(geometry.linear)
match = formula(geometry.match)


@device_function
def area_of(x1, y1, x2, y2):
    """Return the area of a box."""
    return (x2 - x1) * (y2 - y1)


@device_function
def overlap(columns, i, j):
    """Return the IoU of boxes i and j of the columns."""
    ax1, ay1, ax2, ay2 = columns.x1[i], columns.y1[i], columns.x2[i], columns.y2[i]
    bx1, by1, bx2, by2 = columns.x1[j], columns.y1[j], columns.x2[j], columns.y2[j]
    return iou(
        ax1, ay1, ax2, ay2, (ax2 - ax1) * (ay2 - ay1), bx1, by1, bx2, by2, (bx2 - bx1) * (by2 - by1)
    )  # fmt: skip
