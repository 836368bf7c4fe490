"""Learning the maps that bring the scores of different members onto one scale."""

from collections.abc import Callable, Iterable
from typing import Literal

import numpy as np

from evaluation.ground_truth import GroundTruth
from evaluation.open_images import PreparedOpenImages
from evaluation.prepared import Prepared, prepare
from evaluation.protocol import Coco, OpenImages
from evaluation.worth import Worth, expected_iou, mean_precision
from fusion.checks import at_least, one_of, within
from fusion.errors import InputError
from fusion.score_maps import KINDS, CategoryMaps, ScoreMap
from fusion.table import DetectionTable

__all__ = ["TARGETS", "Target", "choose_least", "learn_calibration"]

TARGETS = ("mean_precision", "expected_iou")
Target = Literal["mean_precision", "expected_iou"] | float

# Knots of a rank map; with more the map is only longer.
_KNOTS = 256
# Part of a map that simply rises from knot to knot, so that the flat steps of an isotonic fit make no ties.
_RISE = 1e-3
# What cross-validation chooses from, in detections with an object, of a category.
_CHOICES = (10, 20, 50, 100, 200, 500, 1000)
_FOLDS = 5
_NOTHING = Worth(np.zeros(0), np.zeros(0), np.zeros(0, np.int64), np.zeros(0, np.int32))


def learn_calibration(
    table: DetectionTable | Iterable[DetectionTable],
    ground_truth: GroundTruth | Prepared | PreparedOpenImages | None,
    kind: str = "isotonic",
    *,
    target: Target = "mean_precision",
    per_category: bool = False,
    least: int | None = None,
) -> ScoreMap | CategoryMaps:
    """Learn a member's score map, or maps, on images with ground truth.

    What a calibrated score estimates is the `target`:

    * "mean_precision": the precision among detections of that score, mean over the protocol's IoU thresholds. AP is
      made of these precisions, so that members whose boxes are loose, which are right at .5 and wrong at .75, get the
      low scores that they are worth.
    * an IoU, one of the protocol's thresholds: the precision there.
    * "expected_iou": the IoU with the object that the detection finds, 0 for clutter and for duplicates (MoCaE, arXiv
      2309.14976, takes the largest IoU with any object). It does not know that .6 is worth less than two thirds of .9.

    The shape of the map is its `kind`:

    * `isotonic`: the rising map that fits best by least squares.
    * `linear`: the straight line that does, kept inside (0, 1).
    * `platt`: a sigmoid of the score by maximum likelihood with Platt's softened targets (Platt 1999). Suits scores
      that are evidence without bounds.
    * `rank`: the share of the member's own scores below a score; needs no ground truth.

    With `per_category`, a category with at least `least` detections that find an object gets a map of its own, and all
    others share the member's pooled map. Unless given, `least` is chosen by `choose_least`.

    Args:
        table: One member's detections, or pieces of them, each of whole images, of which one is in memory at a time;
            those on images outside `ground_truth` are not used.
        ground_truth: The split to learn on; prepared, it brings its protocol, otherwise it is COCO's, or Open Images'
            where its boxes are normalized. May be None for `rank`.
        kind: One of `fusion.score_maps.KINDS`.
        target: What a score is to say.
        per_category: Learn maps per category as well; not for `rank`, by which rare categories would claim the
            same scores as common ones.
        least: Detections with an object that a category needs for a map of its own.

    Returns:
        A strictly rising map; with `per_category`, several.

    Raises:
        InputError: If the table has no detection to learn from, or is in another unit than the ground truth.
    """
    one_of("kind", kind, KINDS)
    if isinstance(target, str):
        one_of("target", target, TARGETS)
    else:
        within("target", target, 0.0, 1.0)
    if least is not None:
        at_least("least", least, 1, whole=True)
    if kind != "rank" and ground_truth is None:
        raise InputError("calibration", f"kind {kind} needs ground truth", "Give it, or use kind rank")
    if kind == "rank" and per_category:
        raise InputError("calibration", "kind rank has no maps per category", "Use another kind")
    pieces = (table,) if isinstance(table, DetectionTable) else table
    if pieces is table and isinstance(ground_truth, Prepared) and getattr(ground_truth.protocol, "fixed_ap", False):
        raise InputError("calibration", "LVIS's fixed AP needs all detections at once", "Give the table as a whole")
    name, judged = _gathered(pieces, ground_truth, None if kind == "rank" else target, with_ids=per_category)
    if not len(judged.score):
        raise InputError(
            name,
            "has no detection on the images of the ground truth"
            if kind != "rank"
            else "has no detection to learn from",
            "Learn on images where the member finds something",
        )
    if kind == "rank":
        return _rank(judged.score)
    pooled = _FITS[kind](judged.score, judged.worth)
    if not per_category:
        return pooled
    needed = choose_least(judged, kind) if least is None else least
    return CategoryMaps(pooled=pooled, category={} if needed is None else _own_maps(judged, kind, needed))


def _gathered(
    pieces: Iterable[DetectionTable],
    ground_truth: GroundTruth | Prepared | PreparedOpenImages | None,
    target: Target | None,
    *,
    with_ids: bool,
) -> tuple[str, Worth]:
    """Return the name of a table for messages, and what its detections are worth.

    Args:
        pieces: The table.
        ground_truth: What it is judged on; None for scores alone.
        target: What a score is to say; None for scores alone.
        with_ids: Whether images and categories are wanted.
    """
    truth = ground_truth if isinstance(ground_truth, GroundTruth | None) else ground_truth.ground_truth
    name, found = "table", [_NOTHING]
    judge = None if target is None or ground_truth is None else _judge(ground_truth, target)
    for piece in pieces:
        own = piece if truth is None else piece.select_images(truth.image_id)
        name = f"table {piece.metadata.member or ''}".rstrip()
        if judge is None:
            found.append(_NOTHING._replace(score=own.score.astype(np.float64)))
            continue
        judged = judge(own).known()
        found.append(judged if with_ids else _NOTHING._replace(score=judged.score, worth=judged.worth))
    score, worth, ids, category = zip(*found, strict=True)
    known = [some for some in ids if len(some)] or ids[:1]  # ids of an empty piece may be of another kind
    return name, Worth(*(np.concatenate(column) for column in (score, worth, known, category)))


def _judge(
    ground_truth: GroundTruth | Prepared | PreparedOpenImages, target: Target
) -> Callable[[DetectionTable], Worth]:
    """Return what says of each detection of a table what it is worth."""
    if target == "expected_iou":
        truth = ground_truth if isinstance(ground_truth, GroundTruth) else ground_truth.ground_truth
        return lambda table: expected_iou(table, truth)
    if isinstance(ground_truth, GroundTruth):
        ground_truth = prepare(ground_truth, OpenImages() if ground_truth.unit == "normalized" else Coco())
    prepared, at = ground_truth, None if isinstance(target, str) else target
    return lambda table: mean_precision(table, prepared, at)


def choose_least(judged: Worth, kind: str) -> int | None:
    """Choose how many detections with an object a category needs for a map of its own, by cross-validation.

    Of the numbers 10, 20, 50, ..., 1000 and "no category has one", the one whose maps, learned on four fifths of
    the images, have the smallest squared error on the last fifth, over all five fifths; of equals the largest.

    Args:
        judged: Detections without NaN.
        kind: As in `learn_calibration`, except rank.

    Returns:
        The number; None for no maps per category.
    """
    images, fold = np.unique(judged.image_id, return_inverse=True)
    categories, category = np.unique(judged.category_id, return_inverse=True)
    if len(images) < _FOLDS or len(categories) < 2:
        return None
    fold = fold % _FOLDS
    worth = judged.worth
    fit = _FITS[kind]
    gain = np.zeros(len(_CHOICES))  # by which the squared error falls
    for number in range(_FOLDS):
        held = fold == number
        if held.all():
            continue
        pooled = fit(judged.score[~held], judged.worth[~held])
        error = (pooled(judged.score) - worth) ** 2
        for rows in _rows_of(category, len(categories)):
            learn, test = rows[~held[rows]], rows[held[rows]]
            count = np.count_nonzero(judged.worth[learn] > 0)
            if count < _CHOICES[0] or not len(test):
                continue
            own = fit(judged.score[learn], judged.worth[learn])
            gain[np.array(_CHOICES) <= count] += (error[test] - (own(judged.score[test]) - worth[test]) ** 2).sum()
    best = int(np.flatnonzero(gain == gain.max())[-1])
    return _CHOICES[best] if gain[best] > 0 else None


def _own_maps(judged: Worth, kind: str, least: int) -> dict[int, ScoreMap]:
    categories, category = np.unique(judged.category_id, return_inverse=True)
    maps = {}
    for one, rows in zip(categories.tolist(), _rows_of(category, len(categories)), strict=True):
        if np.count_nonzero(judged.worth[rows] > 0) >= least:
            maps[one] = _FITS[kind](judged.score[rows], judged.worth[rows])
    return maps


def _rows_of(group: np.ndarray, groups: int) -> list[np.ndarray]:
    order = np.argsort(group, kind="stable")
    return np.split(order, np.searchsorted(group[order], np.arange(1, groups)))


def _rank(score: np.ndarray) -> ScoreMap:
    scores, counts = np.unique(score, return_counts=True)
    middle = (np.cumsum(counts) - counts / 2) / counts.sum()
    knots = np.unique(np.linspace(0, len(scores) - 1, min(_KNOTS, len(scores))).round().astype(int))
    return ScoreMap(kind="rank", score=scores[knots].tolist(), value=middle[knots].tolist())


def _isotonic(score: np.ndarray, worth: np.ndarray) -> ScoreMap:
    from sklearn.isotonic import IsotonicRegression

    fit = IsotonicRegression(y_min=0.0, y_max=1.0).fit(score, worth)
    rise = np.arange(1, len(fit.X_thresholds_) + 1) / (len(fit.X_thresholds_) + 1)
    value = (1 - _RISE) * fit.y_thresholds_ + _RISE * rise
    return ScoreMap(kind="isotonic", score=fit.X_thresholds_.tolist(), value=value.tolist())


def _linear(score: np.ndarray, worth: np.ndarray) -> ScoreMap:
    low, high = float(score.min()), float(score.max())
    mean = float(worth.mean())
    center = score - score.mean()
    spread = float(center @ center)
    slope = float(center @ worth) / spread if spread > 0 else 0.0
    if slope > 0:
        # the part of the line that is inside (0, 1) and among the scores seen
        ends = [(edge - mean) / slope + float(score.mean()) for edge in (_RISE, 1 - _RISE)]
        knots = [max(low, ends[0]), min(high, ends[1])]
        if knots[0] < knots[1]:
            values = [mean + slope * (knot - float(score.mean())) for knot in knots]
            if values[0] < values[1]:
                return ScoreMap(kind="linear", score=knots, value=values)
    return _flat("linear", low, high, mean)


def _platt(score: np.ndarray, worth: np.ndarray) -> ScoreMap:
    from sklearn.linear_model import LogisticRegression

    positive, count = float(worth.sum()), len(worth)
    target = worth * (positive + 1) / (positive + 2) + (1 - worth) / (count - positive + 2)
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
