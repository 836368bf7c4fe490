"""Precision and recall of a result as curves."""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from fusion.errors import InputError, option

if TYPE_CHECKING:
    from evaluation.columns import Judged
    from evaluation.result import CocoResult

__all__ = ["Reliability", "curve_by_score", "mean_curve", "precision_at", "reliability"]


def precision_at(result: "CocoResult", iou: float | None) -> np.ndarray:
    """Return precision [r, k] over all areas at the largest cap; -1 where a category has no ground truth.

    Args:
        result: Of an evaluation.
        iou: One of its thresholds; None for the mean over all of them.

    Raises:
        InputError: If it is none of them.
    """
    precision = result.best_precision[0]
    if iou is None:
        return np.asarray(precision.mean(axis=0))
    chosen = np.flatnonzero(result.iou_thresholds == iou)
    if not len(chosen):
        raise InputError(
            f"option {option('iou')}", f"{iou:g} is not among the thresholds {result.iou_thresholds.tolist()}"
        )
    return np.asarray(precision[chosen[0]])


def mean_curve(result: "CocoResult", iou: float | None = None) -> np.ndarray:
    """Return interpolated precision at 101 recalls, mean over categories: float64 [101].

    Args:
        result: Of an evaluation.
        iou: One of its thresholds; None for the mean over all of them.

    Returns:
        NaN where no category has ground truth.
    """
    values = precision_at(result, iou)
    known = (values > -1).all(axis=0)
    return values[:, known].mean(axis=1) if known.any() else np.full(len(values), np.nan)


def curve_by_score(judged: "Judged") -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return precision and recall of the detections of at least some score, all categories together.

    Returns:
        float64 [s] each: the scores that there are, descending, and precision and recall at each; NaN without objects.
    """
    right, wrong = np.cumsum(judged.right), np.cumsum(judged.wrong)
    ends = np.flatnonzero(np.append(np.diff(judged.score) != 0, True)) if len(judged.score) else np.zeros(0, np.int64)
    with np.errstate(invalid="ignore", divide="ignore"):
        return judged.score[ends], right[ends] / (right + wrong)[ends], right[ends] / judged.objects.sum()


class Reliability(NamedTuple):
    """How often detections of some score are right; b bins of scores that have detections.

    Attributes:
        score: float64 [b], mean score.
        share: float64 [b], of them that is right.
        bounds: Lowest and highest score of all bins: 0 and 1 where scores are probabilities.
        probabilities: Whether scores are in [0, 1].
        gap: Expected calibration error; NaN where scores are no probabilities, or there are none.
    """

    score: np.ndarray
    share: np.ndarray
    bounds: tuple[float, float]
    probabilities: bool
    gap: float


def reliability(judged: "Judged", bins: int) -> Reliability:
    """Return the share of right detections over their score, in bins of equal width.

    Args:
        judged: Detections that count.
        bins: Number of bins, empty ones included.
    """
    score, weight = judged.score, judged.right + judged.wrong
    low, high = (float(score[-1]), float(score[0])) if len(score) else (0.0, 1.0)
    probabilities = low >= 0 and high <= 1
    low, high = (0.0, 1.0) if probabilities else (low, high)
    edges = np.linspace(low, high, bins + 1)
    place = np.clip(np.searchsorted(edges, score, side="right") - 1, 0, bins - 1)
    total, right, scores = (np.bincount(place, column, bins) for column in (weight, judged.right, weight * score))
    used = total > 0
    gap = float(np.abs(scores - right).sum() / total.sum()) if probabilities and used.any() else float("nan")
    return Reliability(scores[used] / total[used], right[used] / total[used], (low, high), probabilities, gap)
