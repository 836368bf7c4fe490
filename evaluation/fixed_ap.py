"""LVIS's fixed AP of a table in parts: the last of each category's best detections, found part by part."""

from typing import NamedTuple

import numpy as np

from evaluation.protocol import FIXED_AP_DETECTIONS

__all__ = ["BestOfCategory", "LastOfCategory"]

_PENDING = 1 << 20  # rows that wait until those that are too many are dropped


class LastOfCategory(NamedTuple):
    """The last detection of each category that counts, by score descending, image, place in the image.

    Attributes:
        score: float64 [k]; minus infinity where all detections count.
        image: int64 [k].
        place: int64 [k].
    """

    score: np.ndarray
    image: np.ndarray
    place: np.ndarray

    def keeps(self, named: np.ndarray, score: np.ndarray, image: np.ndarray, start: np.ndarray) -> np.ndarray:
        """Return which detections count, bool [n].

        Args:
            named: int32 [n], categories, -1 for one that the data set does not have.
            score: float64 [n].
            image: int32 [n].
            start: int64 [images + 1], offsets of the images.
        """
        last_score, last_image, last_place = (column[named] for column in self)
        place = np.arange(len(image)) - start[image]
        before = (image < last_image) | ((image == last_image) & (place <= last_place))
        kept: np.ndarray = (named < 0) | (score > last_score) | ((score == last_score) & before)
        return kept


class BestOfCategory:
    """The best detections of each category among those that were seen."""

    def __init__(self, categories: int) -> None:
        whole = np.full(categories, -np.inf), np.zeros(categories, np.int64), np.zeros(categories, np.int64)
        self._last = LastOfCategory(*whole)
        self._kept: list[tuple[np.ndarray, ...]] = []
        self._pending = 0

    def add(self, named: np.ndarray, score: np.ndarray, image: np.ndarray, start: np.ndarray) -> None:
        """Take up the detections of some images; the arguments are those of `LastOfCategory.keeps`."""
        rows = np.flatnonzero((named >= 0) & self._last.keeps(named, score, image, start))
        place = rows - start[image[rows]]
        self._kept.append((named[rows], score[rows], image[rows], place))
        self._pending += len(rows)
        if self._pending > _PENDING:
            self._drop()

    def last(self) -> LastOfCategory:
        """Return the last that counts of each category."""
        self._drop()
        return self._last

    def _drop(self) -> None:
        if not self._kept:
            return
        columns = [np.concatenate(column) for column in zip(*self._kept, strict=True)]
        category, score, image, place = columns
        order = np.lexsort((place, image, -score, category))
        counts = np.bincount(category, minlength=len(self._last.score))
        start = np.cumsum(counts) - counts
        rank = np.arange(len(order)) - np.repeat(start, counts)
        full = np.flatnonzero(counts >= FIXED_AP_DETECTIONS)
        ends = order[start[full] + FIXED_AP_DETECTIONS - 1]
        for column, values in zip(self._last, (score, image, place), strict=True):
            column[full] = values[ends]
        kept = order[rank < FIXED_AP_DETECTIONS]
        self._kept, self._pending = [tuple(column[kept] for column in columns)], 0
