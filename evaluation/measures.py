"""How figures follow from the arrays of a result: as observed, per category, and of replicates of the data set.

A measure knows nothing of names and tables; `evaluation.figures` says which figure is which measure.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

import numpy as np

from evaluation.columns import Judged
from evaluation.protocol import AREA_RANGES

if TYPE_CHECKING:
    from evaluation.open_images_result import OpenImagesResult
    from evaluation.result import CocoResult

__all__ = [
    "AREA",
    "AtScore",
    "AveragePrecision",
    "CategoryMean",
    "Measure",
    "Ranges",
    "Recall",
    "best_f1_end",
    "category_means",
    "useful_ends",
]


class Ranges(NamedTuple):
    """Ranges of a property of boxes, at most eight: figures are of the objects inside one of them.

    As with the official area ranges, objects outside are ignored, and so are unmatched detections outside.

    Attributes:
        names: Of the r ranges.
        inside: Takes widths and heights, float64 [n] each, and gives bool [r, n]; None for the protocol's own ranges.
    """

    names: tuple[str, ...]
    inside: Callable[[np.ndarray, np.ndarray], np.ndarray] | None


AREA = Ranges(tuple(AREA_RANGES), None)
"""The official area ranges."""


class Measure(Protocol):
    """What a figure is. Numbers are NaN where there is nothing to measure."""

    def value(self, result: Any) -> float:
        """Return the number as observed."""

    def per_category(self, result: Any) -> np.ndarray | None:
        """Return it for each category, float64 [k]; None where it is not defined for one."""

    @classmethod
    def replicates(cls, result: Any, weights: np.ndarray, measures: Sequence[Any]) -> list[np.ndarray | None]:
        """Return the numbers of replicates of the data set, for several measures of this class.

        Args:
            result: Of an evaluation.
            weights: int [b, images], how often each image occurs.
            measures: What is wanted.

        Returns:
            For each, float64 [b, some of the categories], of which the figure is the mean; or float64 [b]; or None
            where an interval would mean nothing.
        """


@dataclass(frozen=True)
class AveragePrecision:
    """The official average precision of COCO and LVIS, at the largest cap.

    Attributes:
        ranges: Ranges of objects.
        place: Which of them.
        iou: One IoU threshold; None for the mean over all.
        group: "r", "c" or "f" of LVIS; None for all categories.
    """

    ranges: Ranges = AREA
    place: int = 0
    iou: float | None = None
    group: str | None = None

    def value(self, result: "CocoResult") -> float:
        """Return the mean over categories and IoU thresholds."""
        return _official_mean(self._curve(result))

    def per_category(self, result: "CocoResult") -> np.ndarray | None:
        """Return the mean over IoU thresholds; None for a group of categories."""
        return None if self.group is not None else category_means(self._curve(result))

    @classmethod
    def replicates(
        cls, result: "CocoResult", weights: np.ndarray, measures: Sequence["AveragePrecision"]
    ) -> list[np.ndarray | None]:
        """Return float64 [b, categories of the group] for each measure."""
        found: dict[tuple[Ranges, int, float | None], np.ndarray] = {}
        for ranges in dict.fromkeys(measure.ranges for measure in measures):
            own = [measure for measure in measures if measure.ranges is ranges]
            wanted = dict.fromkeys((measure.place, measure.iou) for measure in own)
            arrays = result.resample_in(ranges, weights, tuple(wanted))
            found |= {(ranges, *key): array for key, array in zip(wanted, arrays, strict=True)}
        grouped: list[np.ndarray | None] = []
        for measure in measures:
            values = found[measure.ranges, measure.place, measure.iou]
            grouped.append(values if measure.group is None else values[:, result.in_group(measure.group)])
        return grouped

    def _curve(self, result: "CocoResult") -> np.ndarray:
        values: np.ndarray = result.precision_in(self.ranges)[self.place]
        if self.iou is not None:
            values = values[result.iou_thresholds == self.iou]
        if self.group is not None:
            values = values[:, :, result.in_group(self.group)]
        return values


@dataclass(frozen=True)
class Recall:
    """The highest recall by COCO and LVIS, mean over categories and IoU thresholds.

    Attributes:
        ranges: Ranges of objects.
        place: Which of them.
        cap: Detections that count; None for the largest cap.
    """

    ranges: Ranges = AREA
    place: int = 0
    cap: int | None = None

    def value(self, result: "CocoResult") -> float:
        """Return the mean; NaN where the protocol does not have the cap."""
        return _official_mean(self._curve(result))

    def per_category(self, result: "CocoResult") -> np.ndarray:
        """Return the mean over IoU thresholds."""
        return category_means(self._curve(result)[:, None])

    @classmethod
    def replicates(
        cls, result: "CocoResult", weights: np.ndarray, measures: Sequence["Recall"]
    ) -> list[np.ndarray | None]:
        """Return float64 [b, k] for each measure: true positives over objects, both sums over images."""
        arrays: list[np.ndarray | None] = []
        for measure in measures:
            matches, truth, image = result.matches_in(measure.ranges)
            k = matches.positives.shape[0]
            if measure.cap is not None and measure.cap not in matches.caps:
                arrays.append(np.full((len(weights), k), np.nan))
                continue
            rows, categories, counts = matches.true_positives(measure.place, measure.cap or matches.caps[-1])
            hits = _summed(weights, image[rows], categories, counts, k)
            inside = np.flatnonzero((truth.outside >> measure.place) & 1 == 0)
            objects = _summed(weights, _images(truth.start)[inside], truth.category[inside], np.ones(len(inside)), k)
            with np.errstate(invalid="ignore"):
                arrays.append(np.where(objects > 0, hits / (objects * len(result.iou_thresholds)), np.nan))
        return arrays

    def _curve(self, result: "CocoResult") -> np.ndarray:
        """Recall [t, k]; -1 where no object counts, and no thresholds where the cap is none of the protocol's."""
        values = result.recall_in(self.ranges)
        if self.cap is None:
            return values[:, :, self.place, -1]
        caps = result.max_dets
        return values[:, :, self.place, caps.index(self.cap)] if self.cap in caps else values[:0, :, self.place, -1]


@dataclass(frozen=True)
class AtScore:
    """What is right of the detections of at least some score, all categories together, at IoU .5.

    Attributes:
        what: Precision TP / (TP + FP), recall TP / objects, f1, their harmonic mean, or the score itself.
        score: Least score; None for the one that gives the highest F1 (of equals the highest score).
    """

    what: Literal["precision", "recall", "f1", "score"]
    score: float | None = None

    def value(self, result: "CocoResult | OpenImagesResult") -> float:
        """Return the number; NaN where there is no object, or for precision no detection."""
        judged = result.by_score(self.score)
        kept = self._kept(judged)
        if self.what == "score":
            return float(judged.score[kept - 1]) if self.score is None and kept else float("nan")
        right, wrong = judged.right[:kept].sum(), judged.wrong[:kept].sum()
        return float(self._ratio(np.array([right]), np.array([wrong]), np.array([judged.objects.sum()]))[0])

    def per_category(self, result: "CocoResult | OpenImagesResult") -> np.ndarray | None:
        """Return the number of each category at the common score."""
        if self.what == "score":
            return None
        judged = result.by_score(self.score)
        kept = self._kept(judged)
        return self._ratio(*result.counted_from(float(judged.score[kept - 1]) if kept else np.inf))

    @classmethod
    def replicates(
        cls, result: "CocoResult | OpenImagesResult", weights: np.ndarray, measures: Sequence["AtScore"]
    ) -> list[np.ndarray | None]:
        """Return float64 [b] for each measure, the best score chosen anew in each replicate; None for a score."""
        from evaluation.resampling import resample_best_f1  # here: its kernels are slow to load

        judged = result.judged
        everywhere = np.zeros(len(judged.objects), np.int32)
        objects = _summed(weights, judged.object_image, everywhere, judged.objects, 1)[:, 0]
        counts: dict[float | None, tuple[np.ndarray, np.ndarray]] = {}
        for score in dict.fromkeys(measure.score for measure in measures if measure.what != "score"):
            if score is None:
                counts[score] = resample_best_f1(judged, useful_ends(judged), weights, objects)
                continue
            kept = int(np.searchsorted(-judged.score, -score, side="right"))
            image, zeros = judged.image[:kept], np.zeros(kept, np.int32)
            right = _summed(weights, image, zeros, judged.right[:kept], 1)[:, 0]
            counts[score] = right, _summed(weights, image, zeros, judged.wrong[:kept], 1)[:, 0]
        return [
            None if measure.what == "score" else measure._ratio(*counts[measure.score], objects) for measure in measures
        ]

    def _kept(self, judged: Judged) -> int:
        """Return how many detections are of at least the score."""
        return best_f1_end(judged) if self.score is None else int(np.searchsorted(-judged.score, -self.score, "right"))

    def _ratio(self, right: np.ndarray, wrong: np.ndarray, objects: np.ndarray) -> np.ndarray:
        above, below = {
            "precision": (right, right + wrong),
            "recall": (right, objects),
            "f1": (2 * right, right + wrong + objects),
        }[self.what]
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where((objects > 0) & (below > 0), above / below, np.nan)


@dataclass(frozen=True)
class CategoryMean:
    """Mean over categories of what the Open Images protocol gives for each.

    Attributes:
        what: Area under the curve, or the highest recall.
    """

    what: Literal["ap", "recall"]

    def value(self, result: "OpenImagesResult") -> float:
        """Return the mean over the categories with ground truth."""
        values = self.per_category(result)
        return float(np.nanmean(values)) if not np.isnan(values).all() else float("nan")

    def per_category(self, result: "OpenImagesResult") -> np.ndarray:
        """Return it for each category."""
        return result.average_precision_per_category if self.what == "ap" else result.recall

    @classmethod
    def replicates(
        cls, result: "OpenImagesResult", weights: np.ndarray, measures: Sequence["CategoryMean"]
    ) -> list[np.ndarray | None]:
        """Return float64 [b, k] for each measure."""
        return [
            result.resample_precision(weights) if measure.what == "ap" else cls._recall(result, weights)
            for measure in measures
        ]

    @staticmethod
    def _recall(result: "OpenImagesResult", weights: np.ndarray) -> np.ndarray:
        trues, k = result.trues, len(result.category_ids)
        hits = _summed(weights, trues.key >> 32, trues.category, trues.label, k)
        objects = _summed(weights, *result.objects, k)
        with np.errstate(invalid="ignore"):
            return np.where(objects > 0, hits / objects, np.nan)


def useful_ends(judged: Judged) -> np.ndarray:
    """Return where F1 may be highest, bool [n]: the last of detections of equal score of which one is right."""
    if not len(judged.score):
        return np.zeros(0, bool)
    last = np.append(judged.score[1:] != judged.score[:-1], True)
    right = np.cumsum(judged.right > 0)
    useful = np.zeros(len(last), bool)
    useful[last] = np.diff(right[last], prepend=0) > 0
    return useful


def best_f1_end(judged: Judged) -> int:
    """Return the number of detections of at least the score of highest F1; 0 where there is nothing to choose from."""
    if not len(judged.score) or not judged.objects.sum():
        return 0
    ends = np.flatnonzero(useful_ends(judged))
    if not len(ends):  # F1 is 0 everywhere: the highest score
        return int(np.searchsorted(-judged.score, -judged.score[0], side="right"))
    right, wrong = np.cumsum(judged.right)[ends], np.cumsum(judged.wrong)[ends]
    return int(ends[np.argmax(2 * right / (right + wrong + judged.objects.sum()))]) + 1


def category_means(values: np.ndarray) -> np.ndarray:
    """Mean [k] over thresholds and recalls of [t, r, k]; NaN for categories without ground truth."""
    if not len(values):
        return np.full(values.shape[-1], np.nan)
    return np.where((values > -1).all(axis=(0, 1)), values.mean(axis=(0, 1)), np.nan)


def _official_mean(values: np.ndarray) -> float:
    """Mean over what has ground truth, summed in pycocotools' order; NaN where nothing has."""
    counted = values[values > -1]
    return float(np.mean(counted)) if counted.size else float("nan")


def _images(start: np.ndarray) -> np.ndarray:
    return np.repeat(np.arange(len(start) - 1), np.diff(start))


def _summed(
    weights: np.ndarray, image: np.ndarray, category: np.ndarray, amount: np.ndarray, categories: int
) -> np.ndarray:
    """Sum amounts per replicate and category, each as often as its image occurs: float64 [b, k]."""
    from scipy.sparse import coo_array

    cells = coo_array((amount, (category, image)), shape=(categories, weights.shape[1])).tocsr()
    summed: np.ndarray = (cells @ weights.T.astype(np.float64)).T
    return np.ascontiguousarray(summed)
