"""The result of a COCO or LVIS evaluation."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from evaluation.columns import Found, Judged, Paired, Truth
from evaluation.figures import Figure, figure_named
from evaluation.gathering import gathered, matches_on, numbered, paired_on
from evaluation.matches import MatchBlock, Matches, find_matches
from evaluation.measured import Measured
from evaluation.measures import AREA, Ranges, category_means
from evaluation.protocol import RECALLS, Coco, Lvis

if TYPE_CHECKING:
    from evaluation.prepared import Prepared

__all__ = ["CocoResult", "InRanges", "found_in", "truth_in"]


@dataclass(frozen=True, eq=False)
class InRanges:
    """Matches by ranges that are not the protocol's own, and the ground truth as they ignore it."""

    matches: Matches
    truth: Truth

    @cached_property
    def precision(self) -> np.ndarray:
        """float64 [ranges, t, r, k], at the largest cap."""
        return self.matches.precision(self.matches.caps[-1])[0]

    @cached_property
    def recall(self) -> np.ndarray:
        """float64 [t, k, ranges, m]."""
        return self.matches.recall()


@dataclass(frozen=True, eq=False, repr=False)
class CocoResult(Measured):
    """Figures of one evaluation by COCO or LVIS. Numbers are official: -1 stands for "no ground truth".

    Each figure of `evaluation.figures` is an attribute (`result.AP50`, `result.APtall`), of any protocol.

    Attributes:
        prepared: Ground truth.
        paired: Detections, and what of them can match what.
        found: Those that were looked at.
        matches: What did match, by the official area ranges.
    """

    none = -1.0

    prepared: "Prepared"
    paired: Paired
    found: Found
    matches: Matches
    _in_ranges: dict[Ranges, InRanges] = field(default_factory=dict, init=False, repr=False)

    @property
    def notes(self) -> tuple[str, ...]:
        """What the reader of the figures has to know."""
        return self.prepared.notes + self.paired.noticed.texts()

    @property
    def protocol(self) -> Coco | Lvis:
        """Options of the evaluation."""
        return self.prepared.protocol

    @property
    def truth(self) -> Truth:
        """Annotations of the matches."""
        return self.prepared.truth

    @property
    def iou_thresholds(self) -> np.ndarray:
        """float64 [t]."""
        return self.protocol.thresholds

    @property
    def area_ranges(self) -> tuple[str, ...]:
        """Names of the a area ranges."""
        return AREA.names

    @property
    def max_dets(self) -> tuple[int, ...]:
        """The m caps, ascending."""
        return self.matches.caps

    @property
    def category_ids(self) -> np.ndarray:
        """int32 [k]; -1 alone where categories were pooled."""
        return self.prepared.category_ids

    @property
    def category_names(self) -> tuple[str, ...]:
        """Names of the k categories."""
        return self.prepared.category_names

    @property
    def frequency(self) -> tuple[str, ...] | None:
        """Group "r", "c" or "f" for each of the k categories by LVIS; None by COCO."""
        return self.prepared.ground_truth.frequency if isinstance(self.protocol, Lvis) else None

    @property
    def images(self) -> int:
        """Number of images of the ground truth."""
        return len(self.truth.start) - 1

    @cached_property
    def truths(self) -> np.ndarray:
        """int64 [k], annotations, crowd regions included."""
        return np.bincount(self.truth.category, minlength=len(self.category_ids))

    @cached_property
    def detections(self) -> np.ndarray:
        """int64 [k], detections that were looked at."""
        category = self.found.category
        return np.bincount(category[category >= 0], minlength=len(self.category_ids))

    @property
    def AR(self) -> dict[int, float]:  # noqa: N802
        """Highest recall, mean over categories and thresholds, for each cap."""
        return {cap: getattr(self, f"AR{cap}") for cap in self.max_dets}

    def on(self, images: np.ndarray) -> "CocoResult":
        """Return the result of some of the images, see `Measured.on`."""
        prepared, number = self.prepared.on(images), numbered(images, self.images)
        truths = numbered(gathered(self.truth.start, images)[0], len(self.truth.category))
        paired, rows = paired_on(self.paired, images, number, truths)
        if isinstance(self.protocol, Lvis) and self.protocol.fixed_ap:
            return prepared.evaluate_paired(paired)  # of these images other detections are the best of a category
        found = paired.found._replace(category=self.found.category[rows])
        matches = matches_on(self.matches, numbered(rows, len(self.found.score)), prepared.positives)
        return CocoResult(prepared, paired, found, matches)

    def in_group(self, group: str) -> np.ndarray:
        """Return which categories are of an LVIS frequency group, bool [k]."""
        return np.array([name == group for name in self.frequency or [""] * len(self.category_ids)], dtype=bool)

    def matches_in(self, ranges: Ranges) -> tuple[Matches, Truth, np.ndarray]:
        """Return matches by some ranges, with the ground truth as they ignore it, and the image of each of `found`."""
        if ranges is AREA:
            return self.matches, self.truth, self.found.image
        own = self._matched(ranges)
        return own.matches, own.truth, self.found.image

    def resample_in(
        self, ranges: Ranges, weights: np.ndarray, wanted: tuple[tuple[int, float | None], ...]
    ) -> list[np.ndarray]:
        """Return average precisions of replicates by some ranges; see `evaluation.resampling.resample_precision`."""
        from evaluation.resampling import resample_precision  # here: its kernels are slow to load

        return resample_precision(*self.matches_in(ranges), self.iou_thresholds, weights, wanted)

    def precision_in(self, ranges: Ranges) -> np.ndarray:
        """Return float64 [ranges, t, r, k], precision at the largest cap; -1 where no ground truth counts."""
        return self.best_precision if ranges is AREA else self._matched(ranges).precision

    def recall_in(self, ranges: Ranges) -> np.ndarray:
        """Return float64 [t, k, ranges, m], highest recall; -1 where no ground truth counts."""
        return self.recall if ranges is AREA else self._matched(ranges).recall

    def _matched(self, ranges: Ranges) -> InRanges:
        if ranges not in self._in_ranges:
            self._in_ranges[ranges] = self._in(ranges)
        return self._in_ranges[ranges]

    def _in(self, ranges: Ranges) -> InRanges:
        truth, positives = truth_in(self.prepared, ranges)
        matches = find_matches(
            truth,
            found_in(self.found, ranges),
            self.paired.pairs,
            thresholds=self.iou_thresholds,
            caps=self.max_dets,
            positives=positives,
            recalls=RECALLS,
        )
        return InRanges(matches, truth)

    def _at(self, threshold: int) -> Iterator[tuple[int, MatchBlock, np.ndarray, np.ndarray]]:
        """Yield the first of some categories, their matches, and which of these are right and wrong at a threshold."""
        yield 0, *self.matches.at(threshold)

    @cached_property
    def best_precision(self) -> np.ndarray:
        """float64 [a, t, r, k]: interpolated precision at the largest cap."""
        return self.matches.precision(self.max_dets[-1])[0]

    @cached_property
    def recall(self) -> np.ndarray:
        """float64 [t, k, a, m]: highest recall per threshold, category, area range and cap."""
        return self.matches.recall()

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

    @cached_property
    def judged(self) -> Judged:
        """Right and wrong detections at IoU .5, all areas and the largest cap; none where .5 is no threshold."""
        objects = self.objects
        at = self._half
        if at is None:
            none = np.zeros(0)
            return Judged(*(none.astype(np.int32),) * 2, none, none, none, *(column[:0] for column in objects))
        parts = []
        for low, block, right, wrong in self._at(at):
            rows = np.flatnonzero(right | wrong)
            category = (low + np.searchsorted(block.start, rows, side="right") - 1).astype(np.int32)
            parts.append((self.found.image[block.row[rows]], category, block.score[rows], right[rows]))
        image, category, score, right = map(np.concatenate, zip(*parts, strict=True))
        order = np.argsort(-score, kind="stable")
        right = right[order].astype(np.float64)
        return Judged(image[order], category[order], score[order], right, 1.0 - right, *objects)

    @property
    def objects(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Ground truth that counts: int32 [g] images and categories, and 1.0 for each."""
        counted = np.flatnonzero(self.truth.outside & 1 == 0)
        image = np.repeat(np.arange(self.images, dtype=np.int32), np.diff(self.truth.start))
        return image[counted], self.truth.category[counted], np.ones(len(counted))

    @property
    def _half(self) -> int | None:
        """The number of the IoU threshold .5; None where there is none."""
        at = np.flatnonzero(self.iou_thresholds == 0.5)
        return int(at[0]) if len(at) else None

    @property
    def average_precision_per_category(self) -> np.ndarray:
        """float64 [k]: AP of each category at the largest cap; NaN where it has no ground truth that counts."""
        return category_means(self.best_precision[0])

    def _named(self, name: str) -> Figure | None:
        figure = figure_named(name)
        # those of the other of the two protocols are -1, and so are those of other caps
        return figure if figure is not None and {"coco", "lvis"} & set(figure.protocols) else None

    def _counts(self) -> dict[str, np.ndarray]:
        return {"truths": self.truths, "detections": self.detections}

    def _options(self) -> dict[str, Any]:
        return {"iou_thresholds": self.iou_thresholds.tolist(), "max_dets": list(self.max_dets)}


def truth_in(prepared: "Prepared", ranges: Ranges) -> tuple[Truth, np.ndarray]:
    """Return ground truth as some ranges ignore it, and how much counts in each, int64 [k, ranges]."""
    if ranges.inside is None:
        return prepared.truth, prepared.positives
    sizes = prepared.ground_truth.xywh[prepared.source, 2:].T
    inside = ranges.inside(*sizes) & (prepared.truth.outside & 1 == 0)
    truth, k = prepared.truth._replace(outside=_bits(~inside)), len(prepared.category_ids)
    return truth, np.stack([np.bincount(truth.category[chosen], minlength=k) for chosen in inside], axis=1)


def found_in(found: Found, ranges: Ranges) -> Found:
    """Return detections as some ranges ignore them."""
    if ranges.inside is None:
        return found
    return found._replace(outside=_bits(~(ranges.inside(found.w, found.h) & (found.outside & 1 == 0))))


def _bits(outside: np.ndarray) -> np.ndarray:
    """Pack bool [r, n] into bits, uint8 [n]."""
    bits = np.zeros(outside.shape[1], np.uint8)
    for place, column in enumerate(outside):
        bits |= column.astype(np.uint8) << np.uint8(place)
    return bits
