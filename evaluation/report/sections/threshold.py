"""What is kept from some score on: precision, recall, F1 and counts, moved by a slider."""

import numpy as np

from evaluation.columns import Judged
from evaluation.measured import Measured
from evaluation.measures import best_f1_end
from evaluation.report.blocks import Threshold, Thresholds
from evaluation.report.material import Material
from evaluation.report.page import Section

__all__ = ["section", "thinned"]

_POINTS = 300  # of a curve of all categories
_ALL_POINTS = 60_000  # of the curves of single categories, all together
_FEWEST = 12


def section(material: Material) -> Section | None:
    """Return the slider over all entries, and their categories where there is room for them."""
    results = material.results
    if not results:
        return None
    categories = len(next(iter(results.values())).category_ids)
    each = min(_ALL_POINTS // (len(results) * categories), _POINTS // 3) if categories > 1 else 0
    entries = {name: _curves(result, each) for name, result in results.items()}
    lead = "Detections of at least the score are kept, at IoU .50; a detection that the protocol ignores counts "
    lead += "neither way. Counts and figures are exact at every step of the slider."
    return Section("Score threshold", [Thresholds(entries)], lead)


def _curves(result: Measured, points: int) -> dict[str, Threshold]:
    judged = result.judged
    curves = {"": thinned(judged, _POINTS)}
    if points < _FEWEST:
        return curves
    for k, name in enumerate(result.category_names):
        rows, objects = judged.category == k, judged.object_category == k
        if objects.any():
            own = judged._replace(
                image=judged.image[rows], category=judged.category[rows], score=judged.score[rows],
                right=judged.right[rows], wrong=judged.wrong[rows], object_image=judged.object_image[objects],
                object_category=judged.object_category[objects], objects=judged.objects[objects],
            )  # fmt: skip
            curves[name if name not in curves else f"{name} ({result.category_ids[k]})"] = thinned(own, points)
    return curves


def thinned(judged: Judged, points: int) -> Threshold:
    """Return the counts at some of the scores: even in rank and in what is found, the ends and the best of F1."""
    objects = float(judged.objects.sum())
    ends = np.flatnonzero(np.append(np.diff(judged.score) != 0, True)) if len(judged.score) else np.zeros(0, np.int64)
    right, wrong = np.cumsum(judged.right)[ends], np.cumsum(judged.wrong)[ends]
    if not len(ends):
        return Threshold(np.zeros(0), right, wrong, objects, -1)
    best = int(np.searchsorted(ends, best_f1_end(judged) - 1)) if objects else -1
    kept = np.arange(len(ends))
    if len(ends) > points:
        half = points // 2
        even = np.linspace(0, len(ends) - 1, half).astype(np.int64)
        found = np.searchsorted(right, np.linspace(0, right[-1], points - half - 1)).clip(0, len(ends) - 1)
        kept = np.unique(np.concatenate((even, found, [max(best, 0)])))
    place = int(np.searchsorted(kept, best)) if best >= 0 else -1
    return Threshold(judged.score[ends][kept], right[kept], wrong[kept], objects, place)
