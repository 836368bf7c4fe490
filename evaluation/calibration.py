"""Learning the maps that bring the scores of different members onto one scale."""

import numpy as np

from evaluation.ground_truth import GroundTruth, places_of
from evaluation.kernels.best_match import match_cells
from fusion.calibrate import KINDS, ScoreMap
from fusion.checks import one_of
from fusion.errors import InputError
from fusion.kernels.jit import chunks, run
from fusion.pool import pool_tables
from fusion.table import DetectionTable

__all__ = ["learn_calibration", "matched_iou"]

# Knots of a rank map; with more the map is only longer.
_KNOTS = 256
# Part of a map that simply rises from knot to knot, so that the flat steps of an isotonic fit make no ties.
_RISE = 1e-3
# IoU from which a detection is taken to mean an object.
_LEAST = 0.3


def learn_calibration(table: DetectionTable, ground_truth: GroundTruth | None, kind: str = "isotonic") -> ScoreMap:
    """Learn a member's score map on images with ground truth.

    * `isotonic`: the rising map of score to the IoU with the object that the detection finds (0 for
      clutter and for duplicates), fitted by least squares. The calibrated score estimates how good a
      box is. Isotonic regression to IoU is MoCaE's (arXiv 2309.14976); that a duplicate counts as 0 is ours: on
      MVOR it is worth about one AP point against the largest IoU with any object.
    * `rank`: the share of the member's own scores below a score; needs no ground truth.

    Args:
        table: One member's detections; those on images outside `ground_truth` are not used.
        ground_truth: The split to learn on; may be None for `rank`.
        kind: One of `fusion.calibrate.KINDS`.

    Returns:
        A strictly rising map.

    Raises:
        InputError: If the table has no detection to learn from.
    """
    one_of("kind", kind, KINDS)
    if ground_truth is not None:
        table = table.select_images(ground_truth.image_id)
    name = f"table {table.metadata.member or ''}".rstrip()
    if kind == "rank":
        if len(table) == 0:
            raise InputError(name, "has no detection to learn from", "Learn on images where the member finds something")
        scores, counts = np.unique(table.score.astype(np.float64), return_counts=True)
        middle = (np.cumsum(counts) - counts / 2) / counts.sum()
        knots = np.unique(np.linspace(0, len(scores) - 1, min(_KNOTS, len(scores))).round().astype(int))
        return ScoreMap(kind=kind, score=scores[knots].tolist(), value=middle[knots].tolist())
    if ground_truth is None:
        raise InputError(f"calibration of {name}", f"kind {kind} needs ground truth", "Give it, or use kind rank")
    score, overlap = matched_iou(table, ground_truth)
    known = ~np.isnan(overlap)
    if not known.any():
        raise InputError(
            name,
            "has no detection on the images of the ground truth",
            "Learn on images where the member finds something",
        )
    from sklearn.isotonic import IsotonicRegression

    fit = IsotonicRegression(y_min=0.0, y_max=1.0).fit(score[known], overlap[known])
    rise = np.arange(1, len(fit.X_thresholds_) + 1) / (len(fit.X_thresholds_) + 1)
    value = (1 - _RISE) * fit.y_thresholds_ + _RISE * rise
    return ScoreMap(kind=kind, score=fit.X_thresholds_.tolist(), value=value.tolist())


def matched_iou(table: DetectionTable, ground_truth: GroundTruth) -> tuple[np.ndarray, np.ndarray]:
    """Pair detections with objects one to one, best score first, and measure how well the boxes fit.

    Args:
        table: Detections; images and categories that the ground truth does not have match nothing.
        ground_truth: The objects.

    Returns:
        Scores and IoUs, float64 [n], in order of (image, category, score descending): 0 for a
        detection that finds no object, NaN for one in a crowd region.
    """
    pool = pool_tables(table)
    columns = pool.columns
    count = len(ground_truth.category_id)
    key = ground_truth.image.astype(np.int64) * count + ground_truth.category
    order = np.argsort(key, kind="stable")
    x, y, w, h = ground_truth.xywh[order].T
    truth = (x.copy(), y.copy(), x + w, y + h, ground_truth.crowd[order], np.ones(len(order), dtype=np.bool_))
    image = places_of(ground_truth.image_id, pool.image_ids)[columns.image]
    category = places_of(ground_truth.category_id, pool.category_ids)[columns.category]
    cell = np.where((image >= 0) & (category >= 0), image * count + category, -1)
    first, last = (np.searchsorted(key[order], cell, side) for side in ("left", "right"))
    overlap = np.empty(len(columns.score))
    run(
        lambda low, high: match_cells(columns, low, high, truth, first, last, _LEAST, overlap),
        chunks(columns.start),
    )
    return columns.score, overlap
