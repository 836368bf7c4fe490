"""What results draw: on axes that are given, or on new ones; the pictures of reports are made of the same."""

from typing import TYPE_CHECKING

import numpy as np

from evaluation.curves import curve_by_score, mean_curve, precision_at, reliability

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from evaluation.columns import Judged
    from evaluation.measured import Measured
    from evaluation.result import CocoResult

__all__ = [
    "GREY",
    "PALETTE",
    "axes_or_new",
    "draw_curves",
    "draw_diagonal",
    "draw_pooled_curve",
    "draw_reliability",
    "draw_scores",
]

PALETTE = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#F0E442", "#000000")
"""Colours that colour-blind people can tell apart (Okabe and Ito 2008)."""
GREY = "#BBBBBB"


def axes_or_new(axes: "Axes | None") -> "Axes":
    """Return axes, or new ones on a figure of pyplot's, which notebooks show."""
    if axes is not None:
        return axes
    from matplotlib import pyplot

    return pyplot.subplots(layout="constrained")[1]


def draw_curves(axes: "Axes", result: "CocoResult") -> None:
    """Draw precision over recall at IoU .5, .75 and the mean, and the spread of the categories."""
    recalls = np.linspace(0, 1, 101)
    every = precision_at(result, None)
    every = every[:, (every > -1).all(axis=0)]
    if every.shape[1] > 1:
        low, high = np.percentile(every, (25, 75), axis=1)
        axes.fill_between(
            recalls, low, high, color=PALETTE[2], alpha=0.18, lw=0, label="middle half of the categories, IoU mean"
        )
    for iou, name, colour in (
        (0.5, "IoU .50", PALETTE[0]),
        (0.75, "IoU .75", PALETTE[1]),
        (None, "IoU mean", PALETTE[2]),
    ):
        if iou is None or iou in result.iou_thresholds:
            values = mean_curve(result, iou)
            axes.plot(recalls, values, color=colour, lw=2, label=f"{name}: AP {100 * values.mean():.1f}")
    axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="recall", ylabel="precision (interpolated, mean over categories)")
    axes.grid(alpha=0.3)


def draw_pooled_curve(axes: "Axes", judged: "Judged") -> None:
    """Draw precision over recall at IoU .5, the detections of all categories in one order of scores."""
    _, precision, recall = curve_by_score(judged)
    axes.plot(recall, precision, color=PALETTE[0], lw=2, label="all categories together, IoU .50")
    axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="recall", ylabel="precision")
    axes.grid(alpha=0.3)


def draw_scores(axes: "Axes", result: "Measured") -> None:
    """Draw precision, recall and F1 of the detections of at least some score, and where F1 is highest."""
    score, precision, recall = curve_by_score(result.judged)
    with np.errstate(invalid="ignore", divide="ignore"):
        f1 = np.where(precision + recall > 0, 2 * precision * recall / (precision + recall), 0.0)
    named = (("F1", f1, PALETTE[2]), ("precision", precision, PALETTE[0]), ("recall", recall, PALETTE[1]))
    for name, values, colour in named:
        axes.plot(score, values, color=colour, lw=2, drawstyle="steps-post", label=name)
    best = result.threshold
    if best == best:
        axes.axvline(best, color=GREY, ls="--", zorder=0, label=f"highest F1: {result.F1:.3f} at score {best:.3g}")
    axes.set(ylim=(0, 1.02), xlabel="least score kept", ylabel="at IoU .5, all categories together")
    axes.grid(alpha=0.3)


def draw_reliability(axes: "Axes", judged: "Judged", bins: int) -> None:
    """Draw the share of right detections over their score, in bins of equal width; on the diagonal score is precision.

    Where scores leave [0, 1], and are no probabilities, there is no diagonal.
    """
    found = reliability(judged, bins)
    if found.probabilities:
        draw_diagonal(axes)
    name = f"precision (ECE {found.gap:.3f})" if found.probabilities else "precision"
    axes.plot(found.score, found.share, color=PALETTE[0], marker="o", ms=4, label=name)
    axes.set(xlim=found.bounds, ylim=(0, 1.02), xlabel="score", ylabel="share that is right at IoU .5")
    axes.grid(alpha=0.3)


def draw_diagonal(axes: "Axes") -> None:
    """Draw where scores are what they say."""
    axes.plot([0, 1], [0, 1], color=GREY, ls="--", label="score = precision")
