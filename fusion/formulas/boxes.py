"""Boxes: corners (x1, y1, x2, y2) with x1 <= x2 and y1 <= y2, in any unit; areas are (x2 - x1) * (y2 - y1)."""

import math
from typing import Any

__all__ = ["distance", "intersection", "iou", "lies_inside", "match", "overlap"]


def intersection(
    ax1: float, ay1: float, ax2: float, ay2: float, bx1: float, by1: float, bx2: float, by2: float
) -> float:
    """Return the area two boxes share, 0 where they only touch."""
    width = min(ax2, bx2) - max(ax1, bx1)
    height = min(ay2, by2) - max(ay1, by1)
    return max(0.0, width) * max(0.0, height)


def iou(
    ax1: float,
    ay1: float,
    ax2: float,
    ay2: float,
    area_a: float,
    bx1: float,
    by1: float,
    bx2: float,
    by2: float,
    area_b: float,
) -> float:
    """Return intersection over union; 0 where nothing is shared, so two empty boxes do not overlap.

    Boxes so large that the area they share is not finite count as not overlapping.
    """
    shared = max(0.0, min(ax2, bx2) - max(ax1, bx1)) * max(0.0, min(ay2, by2) - max(ay1, by1))
    if not 0.0 < shared < math.inf:
        return 0.0
    return shared / (area_a + area_b - shared)


def match(
    ax1: float,
    ay1: float,
    ax2: float,
    ay2: float,
    area_a: float,
    bx1: float,
    by1: float,
    bx2: float,
    by2: float,
    area_b: float,
    crowd: bool,
    least: float,
) -> float:
    """Return how well a detection (a) matches ground truth (b), as pycocotools: IoU; of a crowd, the share of a in it.

    0 where that is clearly below `least`. `area_b` of a crowd is 0. Areas are as given, not of the corners.
    """
    width = min(ax2, bx2) - max(ax1, bx1)
    height = min(ay2, by2) - max(ay1, by1)
    shared = max(width, 0.0) * max(height, 0.0)
    union = area_a + area_b - shared
    # one branch without a division drops nearly all pairs; the slack is far above rounding
    if not shared > least * (1 - 1e-9) * union:
        return 0.0
    return shared / (area_a if crowd else union)


def overlap(x1: Any, y1: Any, x2: Any, y2: Any, i: int, j: int) -> float:
    """Return the IoU of boxes i and j of some: what suppression and clusters go by where it is above a threshold."""
    left, top, right, bottom = x1[i], y1[i], x2[i], y2[i]
    u1, v1, u2, v2 = x1[j], y1[j], x2[j], y2[j]
    return iou(left, top, right, bottom, (right - left) * (bottom - top), u1, v1, u2, v2, (u2 - u1) * (v2 - v1))


def distance(x1: Any, y1: Any, x2: Any, y2: Any, i: int, j: int) -> Any:
    """Return the squared distance of two boxes' centres, in squared diagonals of the box around both (Zheng 2020)."""
    width, height = max(x2[i], x2[j]) - min(x1[i], x1[j]), max(y2[i], y2[j]) - min(y1[i], y1[j])
    unit = max(width, height)  # squares of large numbers are not finite
    across, down = (x1[i] + x2[i] - x1[j] - x2[j]) / (2 * unit), (y1[i] + y2[i] - y1[j] - y2[j]) / (2 * unit)
    width, height = width / unit, height / unit
    return (across * across + down * down) / (width * width + height * height)


def lies_inside(
    x1: float, y1: float, x2: float, y2: float, ox1: float, oy1: float, ox2: float, oy2: float, ioa: float
) -> bool:
    """Return whether a share `ioa` of one box lies in another (o), larger one."""
    area = (x2 - x1) * (y2 - y1)
    larger = area > 0.0 and area < (ox2 - ox1) * (oy2 - oy1)
    return larger and intersection(x1, y1, x2, y2, ox1, oy1, ox2, oy2) >= ioa * area
