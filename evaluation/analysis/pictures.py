"""Pictures of one table's analysis, as matplotlib figures without any global state."""

import os
from typing import TYPE_CHECKING

import numpy as np

from evaluation.analysis.calibrated import Calibration
from evaluation.analysis.confusion import Confusion
from evaluation.analysis.errors import MAIN_ERRORS, SPECIAL_ERRORS, Errors
from evaluation.open_images_result import OpenImagesResult
from evaluation.plots import GREY, PALETTE, draw_curves, draw_diagonal, draw_pooled_curve
from evaluation.result import CocoResult
from fusion.atomic import replacing

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "calibration_picture",
    "category_picture",
    "confusion_picture",
    "curve_picture",
    "error_picture",
    "heat_map",
    "new_figure",
    "save_picture",
    "shortened",
    "size_picture",
]

_MOST_CATEGORIES = 40
_MOST_CONFUSED = 15
_ENOUGH = 10  # annotations of a category before its AP says much
_LABEL = 24


def new_figure(width: float, height: float) -> "Figure":
    """Return an empty figure, sizes in inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=120, layout="constrained")


def save_picture(figure: "Figure", path: str | os.PathLike[str]) -> None:
    """Write a figure atomically; the ending of the name (.png or .svg) is its format.

    Raises:
        InputError: If the place cannot be written to.
    """
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    kind = str(path).rpartition(".")[2]
    FigureCanvasAgg(figure)
    # without a date and with a fixed salt, the same figure gives the same bytes
    with replacing(path) as temporary, rc_context({"svg.hashsalt": "quorum"}):
        figure.savefig(temporary, format=kind, metadata={"Date": None} if kind == "svg" else {})


def shortened(names: "list[str] | tuple[str, ...]", most: int = _LABEL) -> list[str]:
    """Cut names that are too long for a label in the middle, since many differ at their ends only."""
    head = most // 2
    return [name if len(name) <= most else f"{name[:head]}…{name[len(name) - (most - head - 1) :]}" for name in names]


def error_picture(errors: Errors, title: str) -> "Figure":
    """Draw what each kind of error costs, with the number of detections behind it."""
    figure = new_figure(8, 4.6)
    upper, lower = figure.subplots(2, 1, height_ratios=[6, 2], sharex=True)
    meanings = MAIN_ERRORS | SPECIAL_ERRORS
    for axes, names, colour in ((upper, MAIN_ERRORS, PALETTE[0]), (lower, SPECIAL_ERRORS, PALETTE[1])):
        costs = [100 * errors.costs[name] for name in names]
        bars = axes.barh(range(len(names)), costs, color=colour)
        counts = [
            f" {cost:.2f}" + (f"  ({errors.counts[n]:,})" if n in errors.counts else "")
            for n, cost in zip(names, costs, strict=True)
        ]
        axes.bar_label(bars, counts, fontsize=9)
        axes.set_yticks(range(len(names)), [f"{name}: {meanings[name]}" for name in names])
        axes.invert_yaxis()
        _bare(axes)
    _head(figure, title, f"what errors cost at IoU {errors.iou:g} (AP {100 * errors.AP:.1f}, TIDE)")
    upper.margins(x=0.2)
    lower.set_xlabel("AP points gained without the error (in brackets: number of errors)")
    return figure


def curve_picture(result: CocoResult | OpenImagesResult, title: str) -> "Figure":
    """Draw precision over recall, see `Measured.plot_pr`."""
    figure = new_figure(6.4, 4.8)
    axes = figure.subplots()
    if isinstance(result, CocoResult):
        draw_curves(axes, result)
    else:
        draw_pooled_curve(axes, result.judged)
    _head(figure, title, "precision and recall")
    _legend_below(figure)
    return figure


def calibration_picture(calibration: Calibration, title: str) -> "Figure":
    """Draw precision and localisation quality over the score, and how many detections there are."""
    figure = new_figure(6.4, 5.6)
    upper, lower = figure.subplots(2, 1, height_ratios=[3, 1], sharex=True)
    low, high = calibration.edges[0], calibration.edges[-1]
    used = calibration.detections > 0
    if not np.isnan(calibration.ECE):
        draw_diagonal(upper)
    named = (
        (calibration.precision, "precision", PALETTE[0], "o"),
        (calibration.quality, "mean IoU, misses 0", PALETTE[1], "s"),
    )
    for values, name, colour, marker in named:
        upper.plot(calibration.score[used], values[used], color=colour, marker=marker, ms=4, label=name)
    upper.set(ylim=(0, 1.02), ylabel="share or IoU", xlim=(low, high))
    if np.isnan(calibration.ECE):
        text = "scores are no probabilities"
    else:
        text = f"ECE {calibration.ECE:.3f}, LaECE {calibration.LaECE:.3f}"
    _head(figure, title, f"calibration ({text})")
    upper.grid(alpha=0.3)
    lower.bar(
        calibration.edges[:-1],
        calibration.detections,
        np.diff(calibration.edges),
        align="edge",
        color=GREY,
        ec="white",
    )
    lower.set_yscale("symlog", linthresh=1)
    lower.set(xlabel="score", ylabel="detections")
    _legend_below(figure)
    return figure


def confusion_picture(confusion: Confusion, title: str) -> "Figure":
    """Draw the part of the confusion matrix with most confusions between categories, as shares of the row's objects."""
    k = len(confusion.category_ids)
    matrix = confusion.matrix.astype(np.float64)
    between = matrix[:k, :k] - np.diag(np.diag(matrix[:k, :k]))
    weight = between.sum(axis=0) + between.sum(axis=1) + 1e-9 * matrix[:k].sum(axis=1)
    chosen = np.sort(np.argsort(-weight, kind="stable")[:_MOST_CONFUSED])
    rest = np.setdiff1d(np.arange(k), chosen)
    groups = [[c] for c in chosen] + ([rest.tolist()] if len(rest) else []) + [[k]]
    names = shortened([confusion.category_names[c] for c in chosen], 18)
    names += ([f"{len(rest)} others"] if len(rest) else []) + ["background"]
    shown = np.array([[matrix[np.ix_(row, column)].sum() for column in groups] for row in groups])
    total = shown[:-1].sum(axis=1, keepdims=True)
    share = np.full(shown.shape, np.nan)
    share[:-1] = shown[:-1] / np.where(total > 0, total, np.nan)
    texts = [[_count(value) for value in row] for row in shown.tolist()]
    side = max(4.6, 0.48 * len(groups) + 1.8)
    figure = new_figure(side + 0.9, side)
    axes = figure.subplots()
    heat_map(axes, share, names, names, texts, "share of the row's objects", 0, 1)
    axes.set(xlabel="detected as", ylabel="object is")
    _head(figure, title, f"confusion at IoU {confusion.iou:g}, score from {confusion.least_score:.3g}")
    return figure


def size_picture(frame: "pd.DataFrame", title: str) -> "Figure":
    """Draw AP and AR by the side of objects, from `size_frame` or `sizes_of`, which has no AP."""
    shares = bool((frame["bins"] == "share").any())
    rows = frame[frame["bins"] == ("share" if shares else "side")]
    figure = new_figure(7.2, 5.2)
    upper, lower = figure.subplots(2, 1, height_ratios=[3, 1], sharex=True)
    places = np.arange(len(rows))
    both = bool(rows["AP"].notna().any())
    for column, offset, colour in (("AP", -0.2, PALETTE[0]), ("AR", 0.2 if both else 0.0, PALETTE[1])):
        if column == "AP" and not both:
            continue
        bars = upper.bar(places + offset, 100 * rows[column], 0.38, color=colour, label=column)
        upper.bar_label(bars, ["" if value != value else f"{100 * value:.0f}" for value in rows[column]], fontsize=8)
    measured = "points (mean over IoU .50 to .95)" if both else "percent of objects found at any score"
    upper.set(ylim=(0, 105), ylabel=measured)
    _head(figure, title, "by size of the object")
    if both:
        upper.legend(frameon=False)
    bars = lower.bar(places, rows["objects"], 0.78, color=GREY)
    lower.bar_label(bars, [f"{count:,}" for count in rows["objects"]], fontsize=8)
    lower.margins(y=0.25)
    lower.set(ylabel="objects", xlabel=f"square root of the area, {'shares of the image' if shares else 'pixels'}")
    lower.set_xticks(places, [size.removesuffix(" px") for size in rows["size"]])
    for axes in (upper, lower):
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def category_picture(result: CocoResult | OpenImagesResult, title: str) -> "Figure":
    """Draw AP per category; of more than 40 the 20 lowest and the 20 highest."""
    ap = result.average_precision_per_category
    known = np.flatnonzero(~np.isnan(ap))
    note = "AP per category"
    if len(known) > _MOST_CATEGORIES:
        common = known[result.truths[known] >= _ENOUGH]
        rule = f" with {_ENOUGH} annotations or more" if len(common) > _MOST_CATEGORIES else ""
        known = common if rule else known
        note = f"best and worst {_MOST_CATEGORIES // 2} of {len(known)} categories{rule}"
    order = known[np.argsort(-ap[known], kind="stable")]
    cut = len(order) > _MOST_CATEGORIES
    if cut:
        order = np.concatenate((order[: _MOST_CATEGORIES // 2], order[-(_MOST_CATEGORIES // 2) :]))
    figure = new_figure(7, max(2.0, 0.2 * len(order) + 1.2))
    axes = figure.subplots()
    places = np.arange(len(order)) + (np.arange(len(order)) >= _MOST_CATEGORIES // 2 if cut else 0)
    bars = axes.barh(places, 100 * ap[order], color=PALETTE[0])
    labels = [f" {100 * ap[c]:.1f}  ({result.truths[c]:,})" for c in order]
    axes.bar_label(bars, labels, fontsize=7)
    axes.set_yticks(places, shortened([result.category_names[c] for c in order]), fontsize=7 if len(order) > 10 else 9)
    axes.invert_yaxis()
    axes.margins(y=0.01)
    axes.set(xlim=(0, 118), xlabel="AP points (in brackets: annotations)")
    _head(figure, title, note)
    _bare(axes)
    return figure


def heat_map(
    axes: "Axes",
    values: np.ndarray,
    rows: list[str],
    columns: list[str],
    texts: list[list[str]],
    label: str,
    low: float,
    high: float,
) -> None:
    """Draw a matrix with its numbers; NaN is grey.

    Args:
        axes: Where.
        values: float64 [r, c].
        rows: r names.
        columns: c names.
        texts: What to write in the cells.
        label: Of the colour bar.
        low: Value of the darkest colour.
        high: Value of the brightest colour.
    """
    from matplotlib import colormaps

    colours = colormaps["cividis"].with_extremes(bad="#EEEEEE")
    image = axes.imshow(np.ma.masked_invalid(values), cmap=colours, vmin=low, vmax=high, aspect="equal")
    axes.set_xticks(range(len(columns)), columns, rotation=90, fontsize=8)
    axes.set_yticks(range(len(rows)), rows, fontsize=8)
    size = 7 if max(values.shape) > 8 else 8
    for (r, c), value in np.ndenumerate(values):
        if not texts[r][c]:
            continue
        dark = not np.isnan(value) and value < low + 0.55 * (high - low)
        axes.text(c, r, texts[r][c], ha="center", va="center", fontsize=size, color="white" if dark else "black")
    axes.figure.colorbar(image, ax=axes, label=label, shrink=0.7)


def _count(value: float) -> str:
    if value == 0:
        return ""
    return f"{value:.0f}" if value < 1000 else f"{value / 1000:.1f}k" if value < 1e5 else f"{value / 1000:.0f}k"


def _head(figure: "Figure", title: str, text: str) -> None:
    """Write the title over the whole figure, where it has room."""
    figure.suptitle(f"{shortened([title], 32)[0]}: {text}", x=0.01, ha="left", fontsize=11)


def _bare(axes: "Axes") -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(axis="y", length=0)


def _legend_below(figure: "Figure") -> None:
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=9)
