"""Everything there is to say about one table, as frames, pictures and sentences."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from evaluation.analysis.calibrated import Calibration, calibration_curve
from evaluation.analysis.confusion import Confusion, confusion_matrix
from evaluation.analysis.curves import BestF1, best_f1, curve_frame
from evaluation.analysis.errors import MAIN_ERRORS, Errors, analyze_errors
from evaluation.analysis.overlaps import IGNORED, LEFT_OUT, Assigned, Overlaps, find_overlaps
from evaluation.analysis.pictures import (
    calibration_picture,
    category_picture,
    confusion_picture,
    curve_picture,
    error_picture,
    save_picture,
    size_picture,
)
from evaluation.analysis.sizes import size_frame
from evaluation.figures import Figure, by_default, figure_of
from evaluation.open_images import PreparedOpenImages
from evaluation.open_images_result import OpenImagesResult
from evaluation.prepared import Prepared
from evaluation.result import CocoResult
from fusion.table import DetectionTable

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["BACKGROUND", "TableAnalysis", "analyze_table"]

BACKGROUND = 0.1
"""IoU up to which a detection has nothing to do with an object."""

_ENOUGH = 20  # objects of a size or category before it is worth a sentence


@dataclass(frozen=True, eq=False)
class TableAnalysis:
    """The analysis of one table.

    Attributes:
        result: The official evaluation.
        errors: TIDE's errors.
        best: The score of highest F1 for all categories together.
        f1_frame: The same per category.
        calibration: Scores against precision and IoU.
        bias: Mean score less precision over all detections; NaN where scores are no probabilities.
        confusion: At the score of highest F1.
        sizes: AP and AR by size and shape.
        figures: Names of those in the first sentence and per category; None for the usual ones.
        left_out: What the analysis has not, in a sentence.
    """

    result: CocoResult | OpenImagesResult
    errors: Errors
    best: BestF1
    f1_frame: "pd.DataFrame"
    calibration: Calibration
    bias: float
    confusion: Confusion
    sizes: "pd.DataFrame"
    figures: tuple[str, ...] | None = None
    left_out: str = ""

    def sentences(self) -> list[str]:
        """Say in plain words what was found."""
        if figure_of("AP").missing(self.result.AP):
            return ["There are no objects to find, so nothing can be measured."]
        if not self.result.detections.any():
            return ["There are no detections: every object is missed."]
        names = by_default(self.result.protocol, "steps") if self.figures is None else self.figures
        values = self.result.figures(names).items()
        lines = [", ".join(f"{name} {_figure(figure_of(name), value)}" for name, value in values) + "."]
        lines += self._about_errors() + self._about_scores() + self._about_groups()
        return [*lines, self.left_out] if self.left_out else lines

    def _about_errors(self) -> list[str]:
        costs, counts = self.errors.costs, self.errors.counts
        first, second = sorted(MAIN_ERRORS, key=lambda name: -costs[name])[:2]
        if costs[first] == 0:
            return ["No kind of error costs anything at this IoU."]
        return [
            f"The most expensive error is {first} ({MAIN_ERRORS[first]}): {_points(costs[first])} AP points at IoU "
            f"{self.errors.iou:g}, {counts[first]:,} times. Next is {second} ({MAIN_ERRORS[second]}): "
            f"{_points(costs[second])} points, {counts[second]:,} times.",
            f"All false positives together cost {_points(costs['FalsePos'])} points, all objects not found "
            f"{_points(costs['FalseNeg'])}.",
        ]

    def _about_scores(self) -> list[str]:
        lines = []
        if not np.isnan(self.best.score):
            lines.append(
                f"The best confidence threshold is {self.best.score:.3g}: F1 {self.best.f1:.3f} with precision "
                f"{self.best.precision:.3f} and recall {self.best.recall:.3f}."
            )
        if np.isnan(self.calibration.ECE):
            lines.append(
                "The scores are not all in [0, 1], so they are no probabilities and have no calibration error."
            )
        else:
            way = "higher" if self.bias > 0 else "lower"
            lines.append(
                f"Scores are on average {abs(self.bias):.3f} {way} than precision; the expected calibration error is "
                f"{self.calibration.ECE:.3f}, against localisation quality {self.calibration.LaECE:.3f} (LaECE)."
            )
        return lines

    def _about_groups(self) -> list[str]:
        lines = []
        of_sides = self.sizes["bins"].isin(("side", "share"))
        sides = self.sizes[of_sides & (self.sizes["objects"] >= _ENOUGH)]
        if len(sides) > 1 and sides["AP"].isna().all():
            worst, best = sides.loc[sides["AR"].idxmin()], sides.loc[sides["AR"].idxmax()]
            unit = " of the image's side" if worst["bins"] == "share" else ""
            lines.append(
                f"Of objects of {worst['size']}{unit} the fewest are found ({worst['AR']:.1%} of "
                f"{worst['objects']:,}), of those of {best['size']} the most ({best['AR']:.1%} of {best['objects']:,})."
            )
        elif len(sides) > 1:
            worst, best = sides.loc[sides["AP"].idxmin()], sides.loc[sides["AP"].idxmax()]
            lines.append(
                f"Objects of {worst['size']} are hardest (AP {_points(worst['AP'])}, {worst['objects']:,} objects), "
                f"those of {best['size']} easiest (AP {_points(best['AP'])})."
            )
        ap = np.where(self.result.truths >= _ENOUGH, self.result.average_precision_per_category, np.nan)
        if np.count_nonzero(~np.isnan(ap)) > 1:
            low, high = int(np.nanargmin(ap)), int(np.nanargmax(ap))
            names = self.result.category_names
            lines.append(
                f"Of the categories with at least {_ENOUGH} objects {names[low]} is the hardest "
                f"(AP {_points(ap[low])}), {names[high]} the easiest (AP {_points(ap[high])})."
            )
        cells = self.confusion.to_frame()
        cells = cells[
            (cells["object"] != cells["detection"])
            & (cells["object"] != "background")
            & (cells["detection"] != "background")
        ]
        if len(cells):
            top = cells.iloc[0]
            lines.append(
                f"The most frequent confusion: {top['object']} is taken for {top['detection']}, {top['count']:,} times "
                f"({top['share']:.1%} of its objects)."
            )
        return lines

    def write(self, folder: Path, title: str, picture: str = "png") -> list[str]:
        """Write frames (CSV, the curves as Parquet) and pictures into a folder.

        Args:
            folder: Exists.
            title: Name of the table, for the pictures.
            picture: "png" or "svg".

        Returns:
            The names of the pictures, in the order in which a report shows them.
        """
        frames = {
            "errors": self.errors.to_frame(),
            "errors_per_category": self.errors.to_category_frame(),
            "categories": self.result.to_frame(self.figures).reset_index(),
            "best_threshold_per_category": self.f1_frame,
            "calibration": self.calibration.to_frame(),
            "calibration_per_category": self.calibration.to_category_frame(),
            "confusion": self.confusion.to_frame(),
            "sizes": self.sizes,
        }
        for name, frame in frames.items():
            frame.to_csv(folder / f"{name}.csv", index=False)
        curve_frame(self.result).to_parquet(folder / "curves.parquet", index=False)
        pictures = {
            "errors": error_picture(self.errors, title),
            "curves": curve_picture(self.result, title),
            "sizes": size_picture(self.sizes, title),
            "calibration": calibration_picture(self.calibration, title),
        }
        if len(self.result.category_ids) > 1:
            pictures["categories"] = category_picture(self.result, title)
            pictures["confusion"] = confusion_picture(self.confusion, title)
        for name, figure in pictures.items():
            save_picture(figure, folder / f"{name}.{picture}")
        return [f"{name}.{picture}" for name in pictures]


def analyze_table(
    table: DetectionTable,
    prepared: Prepared | PreparedOpenImages,
    *,
    iou: float = 0.5,
    figures: tuple[str, ...] | None = None,
    result: CocoResult | OpenImagesResult | None = None,
) -> TableAnalysis:
    """Analyze one table.

    Args:
        table: Detections in pixels; for Open Images in shares of the image as well.
        prepared: Ground truth for boxes or masks.
        iou: From which a detection is right, in errors, thresholds, calibration and confusion; for Open Images its
            protocol's own.
        figures: Names, of `evaluation.figures`, of those shown; the usual ones by default.
        result: The evaluation of the table, if there is one already.

    Raises:
        InputError: If an option is out of range, or table and ground truth do not belong together.
    """
    if isinstance(prepared, PreparedOpenImages):
        return _analyze_open_images(table, prepared, figures, result)
    overlaps = find_overlaps(table, prepared, BACKGROUND)
    errors = analyze_errors(overlaps, prepared, iou=iou, background=BACKGROUND)
    result = result if isinstance(result, CocoResult) else prepared.evaluate(table)
    assigned = overlaps.assign(iou, cap=prepared.protocol.caps[-1])
    best, f1_frame = best_f1(overlaps, assigned)
    calibration, bias = _calibration(overlaps, assigned)
    return TableAnalysis(
        result=result,
        errors=errors,
        best=best,
        f1_frame=f1_frame,
        calibration=calibration,
        bias=bias,
        confusion=confusion_matrix(overlaps, iou, -np.inf if np.isnan(best.score) else best.score),
        sizes=size_frame(overlaps, result),
        figures=figures,
    )


def _analyze_open_images(
    table: DetectionTable,
    prepared: PreparedOpenImages,
    figures: tuple[str, ...] | None,
    result: CocoResult | OpenImagesResult | None,
) -> TableAnalysis:
    from evaluation.analysis.open_images import LEFT_OUT_HERE, beside, errors_of, sizes_of

    result = result if isinstance(result, OpenImagesResult) else prepared.evaluate(table)
    found = beside(table, prepared, result, BACKGROUND)
    calibration, bias = _calibration(found.overlaps, found.assigned)
    least = -np.inf if np.isnan(result.threshold) else result.threshold
    return TableAnalysis(
        result=result,
        errors=errors_of(found, result),
        best=BestF1(result.threshold, result.P, result.R, result.F1),
        f1_frame=best_f1(found.overlaps, found.assigned)[1],
        calibration=calibration,
        bias=bias,
        confusion=confusion_matrix(found.overlaps, float(prepared.protocol.iou_threshold), least),
        sizes=sizes_of(found, prepared.ground_truth),
        figures=figures,
        left_out=LEFT_OUT_HERE,
    )


def _calibration(overlaps: Overlaps, assigned: Assigned) -> tuple[Calibration, float]:
    """Return the calibration, and mean score less precision."""
    calibration = calibration_curve(overlaps, assigned)
    judged = (assigned.truth != IGNORED) & (assigned.truth != LEFT_OUT)
    if np.isnan(calibration.ECE):
        return calibration, float("nan")
    return calibration, float(overlaps.found.score[judged].mean() - (assigned.truth[judged] >= 0).mean())


def _figure(figure: Figure, value: float) -> str:
    return _points(value) if figure.share and not figure.missing(value) else figure.text(value)


def _points(figure: float) -> str:
    return f"{100 * figure:.1f}"
