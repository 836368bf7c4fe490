"""How well a sample of confident detections agrees with the objects of the ground truth."""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from evaluation.ground_truth import GroundTruth

__all__ = ["IOU", "Agreement", "ObjectPairs", "Objects", "chance", "meeting"]

IOU = 0.5
_MOST_OBJECTS = 200


class ObjectPairs(NamedTuple):
    """Every sampled detection beside every object of its image.

    Attributes:
        row: int64 [p], index of the detection.
        corners: float64 [p, 4], the object, x1, y1, x2, y2 in pixels.
        category: int32 [p], the object's category id.
    """

    row: np.ndarray
    corners: np.ndarray
    category: np.ndarray


@dataclass(frozen=True)
class Agreement:
    """What detections meet.

    Attributes:
        meets: bool [n], whether a detection has IoU of at least 0.5 with an object of any category.
        right: bool [n], whether it has with one of its own category.
        best: float64 [n], its largest IoU with any object.
        met: int32 [n], category id of that object; -1 where there is none.
    """

    meets: np.ndarray
    right: np.ndarray
    best: np.ndarray
    met: np.ndarray


class Objects:
    """The objects of the ground truth, by image; regions of several objects are left out.

    Args:
        truth: The ground truth, in pixels.
    """

    def __init__(self, truth: GroundTruth) -> None:
        self._truth = truth

    def pairs(self, place: np.ndarray) -> ObjectPairs:
        """Return the objects of the images of detections, at most 200 of each image.

        Args:
            place: int64 [n], the image of each detection; -1 where it is none of the ground truth.
        """
        truth = self._truth
        wanted = np.zeros(len(truth.image_id) + 1, np.bool_)
        wanted[place] = True
        wanted[-1] = False
        rows = np.flatnonzero(wanted[truth.image] & ~truth.crowd)
        rows = rows[np.argsort(truth.image[rows], kind="stable")]
        image = truth.image[rows]
        count = np.bincount(image, minlength=len(truth.image_id) + 1)
        start = np.cumsum(count) - count
        count = np.minimum(count, _MOST_OBJECTS)
        count[-1] = 0
        many = count[place]
        row = np.repeat(np.arange(len(place)), many)
        within = np.arange(len(row)) - np.repeat(np.cumsum(many) - many, many)
        chosen = rows[start[place][row] + within]
        boxes = truth.xywh[chosen]
        corners = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)
        return ObjectPairs(row, corners, truth.category_id[truth.category[chosen]])


def meeting(corners: np.ndarray, category: np.ndarray, pairs: ObjectPairs) -> Agreement:
    """Return what detections meet.

    Args:
        corners: float64 [n, 4], x1, y1, x2, y2 in pixels.
        category: int64 [n], their category ids; any other number where there is none.
        pairs: The objects beside them.
    """
    ours, theirs = corners[pairs.row], pairs.corners
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        low, high = np.maximum(ours[:, :2], theirs[:, :2]), np.minimum(ours[:, 2:], theirs[:, 2:])
        shared = _area((high - low).clip(0))
        union = (
            _area((corners[:, 2:] - corners[:, :2]).clip(0))[pairs.row] + _area(theirs[:, 2:] - theirs[:, :2]) - shared
        )
        iou = np.nan_to_num(np.where(union > 0, shared / union, 0.0))
    n = len(corners)
    best = np.zeros(n)
    np.maximum.at(best, pairs.row, iou)
    right = np.zeros(n, np.bool_)
    right[pairs.row[(iou >= IOU) & (pairs.category == category[pairs.row])]] = True
    met = np.full(n, -1)
    top = iou >= np.maximum(best[pairs.row], IOU)
    met[pairs.row[top]] = pairs.category[top]
    return Agreement(best >= IOU, right, best, met)


def _area(sides: np.ndarray) -> np.ndarray:
    return np.asarray(sides[:, 0] * sides[:, 1])


def chance(n: int, k: int, p: float) -> float:
    """Return the chance that at least k of n happen, each with chance p."""
    if p >= 1 or k <= 0:
        return 1.0
    ways = math.lgamma(n + 1)
    logs = [
        ways - math.lgamma(i + 1) - math.lgamma(n - i + 1) + i * math.log(p) + (n - i) * math.log1p(-p)
        for i in range(k, n + 1)
    ]
    most = max(logs)
    return math.exp(most) * sum(math.exp(value - most) for value in logs)
