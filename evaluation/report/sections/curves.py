"""Precision over recall."""

import numpy as np

from evaluation.curves import curve_by_score, mean_curve
from evaluation.measured import Measured
from evaluation.report.blocks import Chart, Choice, PageBlock, Series
from evaluation.report.material import Material
from evaluation.report.page import Section
from evaluation.result import CocoResult

__all__ = ["section"]

_POINTS = 400
_IOUS = {"IoU .50": 0.5, "IoU .75": 0.75, "mean of all IoU thresholds": None}
_INTERPOLATED = "precision (interpolated, mean over categories)"


def section(material: Material) -> Section | None:
    """Return a chart of all entries for each IoU threshold."""
    official = {name: result for name, result in material.results.items() if isinstance(result, CocoResult)}
    if official:
        charts = {what: _at(official, what, iou) for what, iou in _IOUS.items() if _has(official, iou)}
        return Section("Precision and recall", [Choice("At", charts)])
    if material.results:
        series = [_pooled(name, result) for name, result in material.results.items()]
        chart = Chart("Precision over recall, all categories together, IoU .50", "recall", "precision", series)
        return Section("Precision and recall", [chart])
    return None


def _has(results: dict[str, CocoResult], iou: float | None) -> bool:
    return iou is None or all(iou in result.iou_thresholds for result in results.values())


def _at(results: dict[str, CocoResult], what: str, iou: float | None) -> PageBlock:
    series = []
    for name, result in results.items():
        values = mean_curve(result, iou)
        series.append(Series(f"{name} (AP {100 * values.mean():.1f})", np.linspace(0, 1, len(values)), values))
    return Chart(f"Precision over recall, {what}", "recall", _INTERPOLATED, series)


def _pooled(name: str, result: Measured) -> Series:
    _, precision, recall = curve_by_score(result.judged)
    kept = np.unique(np.linspace(0, len(recall) - 1, min(_POINTS, len(recall))).astype(np.int64))
    return Series(name, recall[kept], precision[kept])
