"""Precision and recall: curves per category, and the score that separates best."""

import itertools
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from evaluation.analysis.overlaps import IGNORED, LEFT_OUT, Assigned, Overlaps
from evaluation.columns import Judged
from evaluation.curves import curve_by_score, precision_at
from evaluation.measures import best_f1_end
from evaluation.open_images_result import OpenImagesResult
from evaluation.prepared import Prepared
from evaluation.result import CocoResult

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["BestF1", "best_f1", "best_f1_of", "best_of", "curve_frame"]


class BestF1(NamedTuple):
    """The score above which F1 is highest; NaN where there is nothing to choose from.

    Attributes:
        score: Keep detections of at least this score.
        precision: Of what is kept: TP / (TP + FP).
        recall: Of what is kept: TP / objects.
        f1: Harmonic mean of the two.
    """

    score: float
    precision: float
    recall: float
    f1: float


def curve_frame(result: CocoResult | OpenImagesResult) -> "pd.DataFrame":
    """Return curves as rows: category_id, name, recall, and interpolated precision at IoU .5, .75 and the mean.

    Categories without ground truth are left out. A threshold that the evaluation does not have is NaN. By Open Images
    category_id, name, score, recall and precision of the detections of at least that score.
    """
    import pandas as pd

    if isinstance(result, OpenImagesResult):
        return _by_score(result)

    every = precision_at(result, None)
    known = np.flatnonzero((every > -1).all(axis=0))
    recalls = np.linspace(0.0, 1.0, len(every))
    columns = {
        "category_id": np.repeat(result.category_ids[known], len(recalls)),
        "name": np.repeat(np.array(result.category_names, dtype=object)[known], len(recalls)),
        "recall": np.tile(recalls, len(known)),
    }
    for name, iou in (("precision_50", 0.5), ("precision_75", 0.75), ("precision_mean", None)):
        if iou is None or iou in result.iou_thresholds:
            columns[name] = precision_at(result, iou)[:, known].T.ravel()
        else:
            columns[name] = np.full(len(recalls) * len(known), np.nan)
    return pd.DataFrame(columns)


def _by_score(result: OpenImagesResult) -> "pd.DataFrame":
    import pandas as pd

    parts = []
    for k in np.flatnonzero(~np.isnan(result.average_precision_per_category)).tolist():
        score, precision, recall = curve_by_score(_of_category(result.judged, k))
        columns = {"category_id": result.category_ids[k], "name": result.category_names[k]}
        parts.append(pd.DataFrame(columns | {"score": score, "recall": recall, "precision": precision}))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def _of_category(judged: Judged, k: int) -> Judged:
    own, objects = judged.category == k, judged.object_category == k
    return Judged(*(column[own] for column in judged[:5]), *(column[objects] for column in judged[5:]))


def best_f1(overlaps: Overlaps, assigned: Assigned) -> tuple[BestF1, "pd.DataFrame"]:
    """Find the score thresholds of highest F1: one for all categories together, and one for each.

    Only thresholds that keep or drop all detections of equal score are tried; of equal F1 the highest
    score wins. Detections that COCO ignores count neither way.

    Args:
        overlaps: Detections and ground truth.
        assigned: Their matches at the IoU wanted.

    Returns:
        The common threshold, and a row per category: category_id, name, score, precision, recall, f1, objects.
    """
    rows = np.flatnonzero((assigned.truth != IGNORED) & (assigned.truth != LEFT_OUT))
    rows = rows[np.lexsort((-overlaps.found.score[rows], overlaps.found.category[rows]))]
    category, score, true = overlaps.found.category[rows], overlaps.found.score[rows], assigned.truth[rows] >= 0
    start = np.searchsorted(category, np.arange(len(overlaps.prepared.category_ids) + 1))
    return best_f1_of(lambda: [(start, score, true)], overlaps.prepared)


def best_f1_of(
    batches: Callable[[], Iterable[tuple[np.ndarray, np.ndarray, np.ndarray]]], prepared: Prepared
) -> tuple[BestF1, "pd.DataFrame"]:
    """Find what `best_f1` does in detections that count, of some categories at a time.

    Args:
        batches: Gives the offsets of some categories, all categories in turn, and scores and whether each is right, in
            order of (category, score descending); called twice.
        prepared: Ground truth.
    """
    import pandas as pd

    objects = _objects(prepared)
    best: list[BestF1] = []
    right, highest = [np.zeros(0)], -np.inf
    for start, score, true in batches():
        highest = max(highest, float(score.max(initial=-np.inf)))
        right.append(score[true])
        ends, own = start.tolist(), objects[len(best) :].tolist()
        best += [
            best_of(score[low:high], true[low:high], own[k]) for k, (low, high) in enumerate(itertools.pairwise(ends))
        ]
    frame = pd.DataFrame(best, columns=BestF1._fields)
    frame.insert(0, "category_id", prepared.category_ids)
    frame.insert(1, "name", list(prepared.category_names))
    frame["objects"] = objects
    # F1 is highest where something is right, or where nothing is at the highest score
    useful, hits = np.unique(np.concatenate(right), return_counts=True)
    useful, hits = (useful, hits) if len(useful) else (np.array([highest]), np.zeros(1, np.int64))
    wrong = np.zeros(len(useful) + 1, np.int64)
    for _, score, true in batches():
        wrong += np.bincount(np.searchsorted(useful, score[~true], side="right"), minlength=len(wrong))
    # wrong[k]: of scores from useful[k - 1] up to below useful[k]; both are added up from the highest score down
    return _best_of_counts(useful[::-1], hits[::-1], wrong[:0:-1], int(objects.sum()), highest), frame


def _best_of_counts(score: np.ndarray, right: np.ndarray, wrong: np.ndarray, objects: int, highest: float) -> BestF1:
    """Find the score of highest F1 by the right and wrong detections down to each score, descending."""
    if highest == -np.inf or not objects:
        return BestF1(np.nan, np.nan, np.nan, np.nan)
    hits, kept = np.cumsum(right), np.cumsum(right) + np.cumsum(wrong)
    at = int(np.argmax(2 * hits.astype(np.float64) / (kept + float(objects))))
    found, count = int(hits[at]), int(kept[at])
    return BestF1(float(score[at]), found / count, found / objects, 2 * found / (count + objects))


def best_of(score: np.ndarray, true: np.ndarray, objects: int) -> BestF1:
    """Find the score of highest F1 among detections that count.

    Args:
        score: float64 [n], descending.
        true: bool [n], which are true positives.
        objects: How many there are to find.
    """
    if not len(score) or not objects:
        return BestF1(np.nan, np.nan, np.nan, np.nan)
    nowhere = np.zeros(0, np.int32)
    right, wrong = true.astype(np.float64), (~true).astype(np.float64)
    kept = best_f1_end(Judged(nowhere, nowhere, score, right, wrong, nowhere, nowhere, np.array([float(objects)])))
    hits = int(np.count_nonzero(true[:kept]))
    return BestF1(float(score[kept - 1]), hits / kept, hits / objects, 2 * hits / (kept + objects))


def _objects(prepared: Prepared) -> np.ndarray:
    return np.asarray(prepared.positives[:, 0])
