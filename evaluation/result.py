"""The result of a COCO or LVIS evaluation."""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from evaluation.columns import Truth
from evaluation.matches import Matches
from evaluation.resampling import resample

if TYPE_CHECKING:
    import pandas as pd
    from rich.table import Table

__all__ = ["CategoryResult", "CocoResult"]


class CategoryResult(NamedTuple):
    """Figures of one category; NaN where it has no ground truth that counts.

    Attributes:
        category_id: As in the data set.
        name: As in the data set.
        AP: Mean over IoU thresholds.
        AP50: At IoU .5.
        AP75: At IoU .75.
        APs: Of small objects.
        APm: Of medium objects.
        APl: Of large objects.
        AR: Mean over IoU thresholds of the highest recall, at the largest cap.
        truths: Number of annotations, crowd regions included.
        detections: Number of detections that were looked at.
        frequency: "r", "c" or "f" by LVIS; "" in other data sets.
    """

    category_id: int
    name: str
    AP: float
    AP50: float
    AP75: float
    APs: float
    APm: float
    APl: float
    AR: float
    truths: int
    detections: int
    frequency: str = ""


@dataclass(frozen=True, eq=False)
class CocoResult:
    """Figures of one evaluation by COCO or LVIS. Numbers are official: -1 stands for "no ground truth".

    Attributes:
        AP: Mean over categories and IoU thresholds, at the largest cap.
        AP50: At IoU .5; -1 where that is no threshold.
        AP75: At IoU .75; -1 where that is no threshold.
        APs: Of small objects (area up to 32 ** 2).
        APm: Of medium objects.
        APl: Of large objects (area from 96 ** 2).
        AR: Highest recall, mean over categories and thresholds, for each cap.
        ARs: Of small objects, at the largest cap.
        ARm: Of medium objects.
        ARl: Of large objects.
        recall: float64 [t, k, a, m], highest recall per threshold, category, area range and cap.
        iou_thresholds: float64 [t].
        area_ranges: Names of the a area ranges.
        max_dets: The m caps, ascending.
        category_ids: int32 [k]; -1 alone where categories were pooled.
        category_names: Names of the k categories.
        frequency: "r", "c" or "f" for each of the k categories by LVIS; None by COCO.
        truths: int64 [k], annotations, crowd regions included.
        detections: int64 [k], detections.
        notes: What the reader of the figures has to know.
        matches: What the arrays are computed from.
        truth: Annotations of the matches.
        image: int32 [n], image of each detection, by row of the matches.
        best_precision: float64 [a, t, r, k], precision at the largest cap.
    """

    AP: float
    AP50: float
    AP75: float
    APs: float
    APm: float
    APl: float
    AR: dict[int, float]
    ARs: float
    ARm: float
    ARl: float
    recall: np.ndarray
    iou_thresholds: np.ndarray
    area_ranges: tuple[str, ...]
    max_dets: tuple[int, ...]
    category_ids: np.ndarray
    category_names: tuple[str, ...]
    frequency: tuple[str, ...] | None
    truths: np.ndarray
    detections: np.ndarray
    notes: tuple[str, ...]
    matches: Matches
    truth: Truth
    image: np.ndarray
    best_precision: np.ndarray

    @classmethod
    def from_matches(
        cls,
        matches: Matches,
        truth: Truth,
        image: np.ndarray,
        iou_thresholds: np.ndarray,
        area_ranges: tuple[str, ...],
        *,
        category_ids: np.ndarray,
        category_names: tuple[str, ...],
        frequency: tuple[str, ...] | None = None,
        truths: np.ndarray,
        detections: np.ndarray,
        notes: tuple[str, ...],
    ) -> "CocoResult":
        """Summarize matches.

        Args:
            matches: Of all detections.
            truth: What they were matched with.
            image: int32 [n], image of each detection (`Found.image`).
            iou_thresholds: float64 [t].
            area_ranges: Names of the area ranges: "all", "small", "medium", "large".
            category_ids: int32 [k].
            category_names: Their names.
            frequency: Their LVIS groups.
            truths: int64 [k], annotations.
            detections: int64 [k], detections.
            notes: What the reader of the figures has to know.
        """
        precision, _ = matches.precision(matches.caps[-1])
        recall = matches.recall()
        every, small, medium, large = precision
        return cls(
            AP=_mean(every),
            AP50=_mean(every[iou_thresholds == 0.5]),
            AP75=_mean(every[iou_thresholds == 0.75]),
            APs=_mean(small),
            APm=_mean(medium),
            APl=_mean(large),
            AR={cap: _mean(recall[:, :, 0, m]) for m, cap in enumerate(matches.caps)},
            ARs=_mean(recall[:, :, 1, -1]),
            ARm=_mean(recall[:, :, 2, -1]),
            ARl=_mean(recall[:, :, 3, -1]),
            recall=recall,
            iou_thresholds=iou_thresholds,
            area_ranges=area_ranges,
            max_dets=matches.caps,
            category_ids=category_ids,
            category_names=category_names,
            frequency=frequency,
            truths=truths,
            detections=detections,
            notes=notes,
            matches=matches,
            truth=truth,
            image=image,
            best_precision=precision,
        )

    @property
    def AR1(self) -> float:  # noqa: N802
        """Highest recall with one detection per image and category; -1 where 1 is no cap."""
        return self.AR.get(1, -1.0)

    @property
    def AR10(self) -> float:  # noqa: N802
        """Highest recall with 10 detections per image and category; -1 where 10 is no cap."""
        return self.AR.get(10, -1.0)

    @property
    def AR100(self) -> float:  # noqa: N802
        """Highest recall with 100 detections per image and category; -1 where 100 is no cap."""
        return self.AR.get(100, -1.0)

    @property
    def APr(self) -> float:  # noqa: N802
        """AP of LVIS's rare categories; -1 by COCO."""
        return self._of_group("r")

    @property
    def APc(self) -> float:  # noqa: N802
        """AP of LVIS's common categories; -1 by COCO."""
        return self._of_group("c")

    @property
    def APf(self) -> float:  # noqa: N802
        """AP of LVIS's frequent categories; -1 by COCO."""
        return self._of_group("f")

    def _of_group(self, group: str) -> float:
        chosen = np.array([name == group for name in self.frequency or ()], dtype=bool)
        return _mean(self.best_precision[0][:, :, chosen]) if chosen.any() else -1.0

    @property
    def images(self) -> int:
        """Number of images of the ground truth."""
        return len(self.truth.start) - 1

    @property
    def stats(self) -> dict[str, float]:
        """The figures by name in the official order: twelve by COCO with three caps, thirteen by LVIS."""
        names = ["AP", "AP50", "AP75", "APs", "APm", "APl", *(("APr", "APc", "APf") if self.frequency else ())]
        recalls = {f"AR{cap}": value for cap, value in self.AR.items()}
        return {n: getattr(self, n) for n in names} | recalls | {n: getattr(self, n) for n in ("ARs", "ARm", "ARl")}

    def resample(self, weights: np.ndarray, *, sizes: bool = True) -> dict[str, np.ndarray]:
        """Return AP per category of data sets in which each image is copied some times.

        Fixed AP's best 10,000 detections of a category are those of the data set as it is.

        Args:
            weights: int [b, images], how often each image occurs, in order of the ground truth's images.
            sizes: Whether APs, APm and APl are wanted as well.

        Returns:
            float64 [b, k] by name of figure, NaN where a replicate has no ground truth that counts; see
            `evaluation.resampling.resample`.
        """
        return resample(self.matches, self.truth, self.image, self.iou_thresholds, weights, sizes=sizes)

    @cached_property
    def precision(self) -> np.ndarray:
        """float64 [t, r, k, a, m]: interpolated precision at 101 recalls, as pycocotools' `eval['precision']`."""
        parts = [
            self.best_precision if cap == self.max_dets[-1] else self.matches.precision(cap)[0] for cap in self.max_dets
        ]
        return np.stack([part.transpose(1, 2, 3, 0) for part in parts], axis=-1)

    @cached_property
    def scores(self) -> np.ndarray:
        """float64 [t, r, k, a, m]: score at each precision, as pycocotools' `eval['scores']`."""
        parts = [self.matches.precision(cap, scores=True)[1] for cap in self.max_dets]
        return np.stack([part.transpose(1, 2, 3, 0) for part in parts], axis=-1)

    @property
    def average_precision_per_category(self) -> np.ndarray:
        """float64 [k]: AP of each category at the largest cap; NaN where it has no ground truth that counts."""
        return _per_category(self.best_precision[0])

    @cached_property
    def per_category(self) -> tuple[CategoryResult, ...]:
        """Figures of each category, in order of id."""
        every, small, medium, large = self.best_precision
        columns = [
            _per_category(every),
            _per_category(every[self.iou_thresholds == 0.5]),
            _per_category(every[self.iou_thresholds == 0.75]),
            _per_category(small),
            _per_category(medium),
            _per_category(large),
            _per_category(self.recall[:, None, :, 0, -1]),
        ]
        ids, figures = self.category_ids.tolist(), np.stack(columns, axis=1).tolist()
        groups = self.frequency or ("",) * len(ids)
        counts = zip(self.truths.tolist(), self.detections.tolist(), groups, strict=True)
        return tuple(
            CategoryResult._make((i, name, *row, *count))
            for i, name, row, count in zip(ids, self.category_names, figures, counts, strict=True)
        )

    def to_dict(self) -> dict[str, Any]:
        """Return all figures, ready for JSON at full precision; None where a category has no ground truth."""
        rows = [
            {name: None if value != value else value for name, value in row._asdict().items()}
            for row in self.per_category
        ]
        options = {"iou_thresholds": self.iou_thresholds.tolist(), "max_dets": list(self.max_dets)}
        return {**self.stats, **options, "notes": list(self.notes), "per_category": rows}

    def to_frame(self) -> "pd.DataFrame":
        """Return the figures per category as a data frame, one row each, indexed by category id."""
        import pandas as pd

        return pd.DataFrame(list(self.per_category), columns=list(CategoryResult._fields)).set_index("category_id")

    def to_rich(self, *, per_category: bool = False) -> "Table":
        """Return a table for the terminal: the figures by name, or a line per category."""
        from rich.table import Table

        if not per_category:
            table = Table("figure", "value")
            for name, value in self.stats.items():
                table.add_row(name, f"{value:.4f}")
            return table
        table = Table(*(CategoryResult._fields if self.frequency else CategoryResult._fields[:-1]))
        for row in self.per_category:
            cells = [("-" if v != v else f"{v:.4f}") if isinstance(v, float) else str(v) for v in row]
            table.add_row(*cells[: len(table.columns)])
        return table


def _mean(values: np.ndarray) -> float:
    """Mean over what has ground truth, summed in pycocotools' order; -1 where nothing has."""
    counted = values[values > -1]
    return float(np.mean(counted)) if counted.size else -1.0


def _per_category(values: np.ndarray) -> np.ndarray:
    """Mean [k] over thresholds and recalls of [t, r, k]; NaN for categories without ground truth."""
    if not len(values):
        return np.full(values.shape[-1], np.nan)
    return np.where((values > -1).all(axis=(0, 1)), values.mean(axis=(0, 1)), np.nan)
