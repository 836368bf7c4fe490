"""What of a table is right, wrong or missed in each image, as pictures show it."""

from dataclasses import dataclass

import numpy as np

from evaluation.analysis.curves import best_of
from evaluation.analysis.overlaps import IGNORED, LEFT_OUT, NOTHING, Overlaps
from evaluation.prepared import Prepared
from evaluation.result import CocoResult
from fusion.table import DetectionTable

__all__ = ["HIDDEN", "NEITHER", "RIGHT", "WRONG", "Verdicts", "judge", "per_image"]

HIDDEN, RIGHT, WRONG, NEITHER = 0, 1, 2, 3


@dataclass(frozen=True, eq=False)
class Verdicts:
    """One table's detections beside the ground truth.

    Attributes:
        name: Of the table.
        table: The detections.
        least_score: Those of a lower score are hidden.
        start: int64 [images + 1], offsets of the images in the table's rows.
        category: int32 [n], index into the evaluation's categories; -1 where they do not have it.
        verdict: uint8 [n], HIDDEN, RIGHT, WRONG or NEITHER, which counts neither way.
        missed: bool [g], objects that are not found, in the order of `Prepared.truth`.
        errors: float64 [images], wrong detections and missed objects, mean over the protocol's IoU thresholds.
        AP: The official figure.
    """

    name: str
    table: DetectionTable
    least_score: float
    start: np.ndarray
    category: np.ndarray
    verdict: np.ndarray
    missed: np.ndarray
    errors: np.ndarray
    AP: float

    def count(self, verdict: int) -> np.ndarray:
        """Return how many detections of each image have a verdict, int64 [images]."""
        return per_image(self.start, self.verdict == verdict)


def judge(
    table: DetectionTable,
    prepared: Prepared,
    name: str,
    *,
    iou: float,
    score: float | None,
    category: int | None,
    result: CocoResult | None = None,
) -> Verdicts:
    """Judge a table by the official matching.

    The best detections are matched first, so what is hidden changes nothing for the others.

    Args:
        table: Detections in pixels.
        prepared: Ground truth for boxes or masks.
        name: Of the table.
        iou: From which a detection is right; at least the protocol's smallest threshold.
        score: Detections of a lower score are hidden; by default those below the score of highest F1.
        category: Index of the only category to look at; None for all.
        result: The evaluation of the table, if there is one already.
    """
    result = prepared.evaluate(table) if result is None else result
    found, truth = result.found, prepared.truth
    overlaps = Overlaps(prepared, found, found.w * found.h, result.paired.pairs)
    wanted = found.category >= 0 if category is None else found.category == category
    objects = overlaps.counted if category is None else overlaps.counted & (truth.category == category)
    assigned = overlaps.assign(iou, cap=prepared.protocol.caps[-1])
    judged = wanted & (assigned.truth != LEFT_OUT)
    if score is None:
        rows = np.flatnonzero(judged & (assigned.truth != IGNORED))
        rows = rows[np.argsort(-found.score[rows], kind="stable")]
        best = best_of(found.score[rows], assigned.truth[rows] >= 0, int(np.count_nonzero(objects))).score
        score = -np.inf if np.isnan(best) else best
    seen = judged & (found.score >= score)
    verdict = np.full(len(found.score), HIDDEN, np.uint8)
    verdict[seen] = np.where(assigned.truth[seen] >= 0, RIGHT, NEITHER)
    verdict[seen & (assigned.truth == NOTHING)] = WRONG
    missed = objects.copy()
    missed[assigned.truth[seen & (assigned.truth >= 0)]] = False
    return Verdicts(
        name=name,
        table=table,
        least_score=score,
        start=found.start,
        category=found.category,
        verdict=verdict,
        missed=missed,
        errors=_errors(result, per_image(truth.start, objects), seen),
        AP=float(result.AP) if category is None else float(result.average_precision_per_category[category]),
    )


def _errors(result: CocoResult, objects: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Return wrong detections and missed objects of each image, mean over the IoU thresholds."""
    matches, images = result.matches, len(objects)
    total = np.zeros(images)
    for block, thresholds in zip(matches.blocks, matches.thresholds, strict=True):
        first = np.uint64((1 << thresholds) - 1)  # bits of the first area range, which is all
        rows = np.flatnonzero(seen[block.row])
        right = np.bitwise_count(block.true[rows] & first).astype(np.int64)
        spared = np.bitwise_count((block.true[rows] | block.spared[rows]) & first)
        wrong = np.where(block.outside[rows] & 1, 0, thresholds - spared)
        total += np.bincount(result.found.image[block.row[rows]], wrong - right, minlength=images)
    return np.asarray(total / sum(matches.thresholds) + objects)


def per_image(start: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Return how many rows of each image are chosen, int64 [images]."""
    return np.asarray(np.diff(np.concatenate(([0], np.cumsum(chosen)))[start]))
