"""Learning the maps that bring the scores of different members onto one scale."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from evaluation.ground_truth import GroundTruth, places_of
from evaluation.kernels.best_match import match_cells
from fusion.checks import at_least, one_of
from fusion.errors import InputError
from fusion.kernels.jit import chunks, run
from fusion.pool import pool_tables
from fusion.score_maps import KINDS, CategoryMaps, ScoreMap
from fusion.table import DetectionTable

__all__ = ["Matched", "choose_least", "learn_calibration", "matched_iou"]

# Knots of a rank map; with more the map is only longer.
_KNOTS = 256
# Part of a map that simply rises from knot to knot, so that the flat steps of an isotonic fit make no ties.
_RISE = 1e-3
# IoU from which a detection is taken to mean an object.
_FOUND = 0.3
# IoU from which it is right, for `platt`.
_RIGHT = 0.5
# What cross-validation chooses from, in matched detections of a category.
_CHOICES = (10, 20, 50, 100, 200, 500, 1000)
_FOLDS = 5


class Matched(NamedTuple):
    """Detections and the objects they find, in order of (image, category, score descending); n detections.

    Attributes:
        score: float64 [n].
        iou: float64 [n], IoU with the object; 0 for one that finds none, NaN for one in a crowd region.
        image_id: [n] int64, or object array of str.
        category_id: int32 [n].
    """

    score: np.ndarray
    iou: np.ndarray
    image_id: np.ndarray
    category_id: np.ndarray


def learn_calibration(
    table: DetectionTable,
    ground_truth: GroundTruth | None,
    kind: str = "isotonic",
    *,
    per_category: bool = False,
    least: int | None = None,
) -> ScoreMap | CategoryMaps:
    """Learn a member's score map, or maps, on images with ground truth.

    * `isotonic`: the rising map of score to the IoU with the object that the detection finds (0 for
      clutter and for duplicates), fitted by least squares. The calibrated score estimates how good a
      box is. Isotonic regression to IoU is MoCaE's (arXiv 2309.14976); that a duplicate counts as 0 is ours: on
      MVOR it is worth about one AP point against the largest IoU with any object.
    * `linear`: the straight line of score to that IoU, by least squares (also MoCaE's), kept inside (0, 1).
    * `platt`: a sigmoid of the score, fitted to whether the detection finds an object with IoU >= 0.5 by maximum
      likelihood with Platt's softened targets (Platt 1999). Suits scores that are evidence without bounds.
    * `rank`: the share of the member's own scores below a score; needs no ground truth.

    With `per_category`, a category with at least `least` matched detections gets a map of its own, and all
    others share the member's pooled map. Unless given, `least` is chosen by `choose_least`.

    Args:
        table: One member's detections; those on images outside `ground_truth` are not used.
        ground_truth: The split to learn on; may be None for `rank`.
        kind: One of `fusion.score_maps.KINDS`.
        per_category: Learn maps per category as well; not for `rank`, by which rare categories would claim the
            same scores as common ones.
        least: Matched detections that a category needs for a map of its own.

    Returns:
        A strictly rising map; with `per_category`, several.

    Raises:
        InputError: If the table has no detection to learn from, or is in another unit than the ground truth.
    """
    one_of("kind", kind, KINDS)
    if least is not None:
        at_least("least", least, 1, whole=True)
    if ground_truth is not None:
        table = table.select_images(ground_truth.image_id)
    name = f"table {table.metadata.member or ''}".rstrip()
    if kind == "rank":
        if per_category:
            raise InputError(f"calibration of {name}", "kind rank has no maps per category", "Use another kind")
        if len(table) == 0:
            raise InputError(name, "has no detection to learn from", "Learn on images where the member finds something")
        return _rank(table.score.astype(np.float64))
    if ground_truth is None:
        raise InputError(f"calibration of {name}", f"kind {kind} needs ground truth", "Give it, or use kind rank")
    matched = matched_iou(table, ground_truth)
    known = np.flatnonzero(~np.isnan(matched.iou))
    if not len(known):
        raise InputError(
            name,
            "has no detection on the images of the ground truth",
            "Learn on images where the member finds something",
        )
    matched = Matched._make(column[known] for column in matched)
    pooled = _FITS[kind](matched.score, matched.iou)
    if not per_category:
        return pooled
    needed = choose_least(matched, kind) if least is None else least
    return CategoryMaps(pooled=pooled, category={} if needed is None else _own_maps(matched, kind, needed))


def choose_least(matched: Matched, kind: str) -> int | None:
    """Choose how many matched detections a category needs for a map of its own, by cross-validation.

    Of the numbers 10, 20, 50, ..., 1000 and "no category has one", the one whose maps, learned on four fifths of
    the images, have the smallest squared error on the last fifth, over all five fifths; of equals the largest.

    Args:
        matched: Detections without NaN.
        kind: As in `learn_calibration`, except rank.

    Returns:
        The number; None for no maps per category.
    """
    images, fold = np.unique(matched.image_id, return_inverse=True)
    categories, category = np.unique(matched.category_id, return_inverse=True)
    if len(images) < _FOLDS or len(categories) < 2:
        return None
    fold = fold % _FOLDS
    worth = _worth(matched.iou, kind)
    fit = _FITS[kind]
    gain = np.zeros(len(_CHOICES))  # by which the squared error falls
    for number in range(_FOLDS):
        held = fold == number
        if held.all():
            continue
        pooled = fit(matched.score[~held], matched.iou[~held])
        error = (pooled(matched.score) - worth) ** 2
        for rows in _rows_of(category, len(categories)):
            learn, test = rows[~held[rows]], rows[held[rows]]
            count = np.count_nonzero(matched.iou[learn] > 0)
            if count < _CHOICES[0] or not len(test):
                continue
            own = fit(matched.score[learn], matched.iou[learn])
            gain[np.array(_CHOICES) <= count] += (error[test] - (own(matched.score[test]) - worth[test]) ** 2).sum()
    best = int(np.flatnonzero(gain == gain.max())[-1])
    return _CHOICES[best] if gain[best] > 0 else None


def _own_maps(matched: Matched, kind: str, least: int) -> dict[int, ScoreMap]:
    categories, category = np.unique(matched.category_id, return_inverse=True)
    maps = {}
    for one, rows in zip(categories.tolist(), _rows_of(category, len(categories)), strict=True):
        if np.count_nonzero(matched.iou[rows] > 0) >= least:
            maps[one] = _FITS[kind](matched.score[rows], matched.iou[rows])
    return maps


def _rows_of(group: np.ndarray, groups: int) -> list[np.ndarray]:
    order = np.argsort(group, kind="stable")
    return np.split(order, np.searchsorted(group[order], np.arange(1, groups)))


def _worth(iou: np.ndarray, kind: str) -> np.ndarray:
    """What a map of this kind estimates."""
    return np.asarray(iou >= _RIGHT, np.float64) if kind == "platt" else iou


def _rank(score: np.ndarray) -> ScoreMap:
    scores, counts = np.unique(score, return_counts=True)
    middle = (np.cumsum(counts) - counts / 2) / counts.sum()
    knots = np.unique(np.linspace(0, len(scores) - 1, min(_KNOTS, len(scores))).round().astype(int))
    return ScoreMap(kind="rank", score=scores[knots].tolist(), value=middle[knots].tolist())


def _isotonic(score: np.ndarray, iou: np.ndarray) -> ScoreMap:
    from sklearn.isotonic import IsotonicRegression

    fit = IsotonicRegression(y_min=0.0, y_max=1.0).fit(score, iou)
    rise = np.arange(1, len(fit.X_thresholds_) + 1) / (len(fit.X_thresholds_) + 1)
    value = (1 - _RISE) * fit.y_thresholds_ + _RISE * rise
    return ScoreMap(kind="isotonic", score=fit.X_thresholds_.tolist(), value=value.tolist())


def _linear(score: np.ndarray, iou: np.ndarray) -> ScoreMap:
    low, high = float(score.min()), float(score.max())
    mean = float(iou.mean())
    center = score - score.mean()
    spread = float(center @ center)
    slope = float(center @ iou) / spread if spread > 0 else 0.0
    if slope > 0:
        # the part of the line that is inside (0, 1) and among the scores seen
        ends = [(edge - mean) / slope + float(score.mean()) for edge in (_RISE, 1 - _RISE)]
        knots = [max(low, ends[0]), min(high, ends[1])]
        if knots[0] < knots[1]:
            values = [mean + slope * (knot - float(score.mean())) for knot in knots]
            if values[0] < values[1]:
                return ScoreMap(kind="linear", score=knots, value=values)
    return _flat("linear", low, high, mean)


def _platt(score: np.ndarray, iou: np.ndarray) -> ScoreMap:
    from sklearn.linear_model import LogisticRegression

    right = iou >= _RIGHT
    positive, count = int(right.sum()), len(right)
    target = np.where(right, (positive + 1) / (positive + 2), 1 / (count - positive + 2))
    middle, scale = float(score.mean()), float(score.std())
    if scale > 0:
        standard = ((score - middle) / scale)[:, None]
        # each detection as a right and a wrong one, weighted by its target: the likelihood of a soft target
        fit = LogisticRegression(C=1e6, solver="newton-cholesky").fit(
            np.concatenate((standard, standard)),
            np.repeat([True, False], count),
            np.concatenate((target, 1 - target)),
        )
        slope, start = float(fit.coef_[0, 0]), float(fit.intercept_[0])
        if slope > 1e-6:
            # where one in ten is right, and where nine in ten are
            knots = [(edge - start) / slope * scale + middle for edge in (-np.log(9), np.log(9))]
            return ScoreMap(kind="platt", score=knots, value=[0.1, 0.9])
    return _flat("platt", float(score.min()), float(score.max()), float(target.mean()))


def _flat(kind: str, low: float, high: float, mean: float) -> ScoreMap:
    """Make the map of scores that say nothing: nearly constant, rising just enough to keep the order."""
    value = (1 - _RISE) * mean + _RISE * np.array([1 / 3, 2 / 3])
    return ScoreMap(kind=kind, score=[low, high if high > low else low + 1], value=value.tolist())


_FITS: dict[str, Callable[[np.ndarray, np.ndarray], ScoreMap]] = {
    "isotonic": _isotonic,
    "linear": _linear,
    "platt": _platt,
}


def matched_iou(table: DetectionTable, ground_truth: GroundTruth) -> Matched:
    """Pair detections with objects one to one, best score first, and measure how well the boxes fit.

    Args:
        table: Detections; images and categories that the ground truth does not have match nothing.
        ground_truth: The objects.

    Returns:
        The detections with their IoUs.

    Raises:
        InputError: If the boxes are in another unit than the ground truth's.
    """
    if len(table) and table.metadata.unit != ground_truth.unit:
        raise InputError(
            f"table {table.metadata.member or ''}".rstrip(),
            f"its boxes are {table.metadata.unit} where those of {ground_truth.source} are {ground_truth.unit}",
            "Import both in the same unit",
        )
    pool = pool_tables(table)
    columns = pool.columns
    count = len(ground_truth.category_id)
    key = ground_truth.image.astype(np.int64) * count + ground_truth.category
    order = np.argsort(key, kind="stable")
    corners = tuple(np.ascontiguousarray(side) for side in ground_truth.corners[order].T)
    truth = (*corners, ground_truth.crowd[order], np.ones(len(order), dtype=np.bool_))
    image = places_of(ground_truth.image_id, pool.image_ids)[columns.image]
    category = places_of(ground_truth.category_id, pool.category_ids)[columns.category]
    cell = np.where((image >= 0) & (category >= 0), image * count + category, -1)
    first, last = (np.searchsorted(key[order], cell, side) for side in ("left", "right"))
    overlap = np.empty(len(columns.score))
    run(
        lambda low, high: match_cells(columns, low, high, truth, first, last, _FOUND, overlap),
        chunks(columns.start),
    )
    sizes = np.diff(columns.start)
    image_id, category_id = pool.image_ids[columns.image], pool.category_ids[columns.category]
    return Matched(columns.score, overlap, np.repeat(image_id, sizes), np.repeat(category_id, sizes))
