"""Scalar formulas on boxes and scores: one definition for every kernel.

Plain Python functions of floats; each kernel file wraps the ones it needs with its own compiler, so
that every backend computes the same thing. They do not call one another: a compiler sees only what it
wraps. Boxes are corners (x1, y1, x2, y2) with x1 <= x2 and
y1 <= y2, in any unit; areas are (x2 - x1) * (y2 - y1).
"""

import math

__all__ = ["gaussian", "intersection", "iou", "linear", "match"]


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


def gaussian(squares: float, sigma: float) -> float:
    """Return the factor by which gaussian soft-NMS lowers a score: exp(-sum of IoU^2 / sigma) (Bodla 2017)."""
    return math.exp(-squares / sigma)


def linear(overlap: float, threshold: float) -> float:
    """Return the factor 1 - IoU, or 1 up to the threshold, of linear soft-NMS (Bodla 2017)."""
    return 1.0 - overlap if overlap > threshold else 1.0
