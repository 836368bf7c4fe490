"""Detections attached to prepared ground truth: evaluated again and again while only their scores change."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from evaluation.kernels.attaching import lay_out
from evaluation.kernels.rescoring import rescore
from evaluation.protocol import RECALLS
from evaluation.result import CocoResult
from fusion.errors import InputError
from fusion.kernels.jit import chunks, run
from fusion.table import DetectionTable

if TYPE_CHECKING:
    from evaluation.columns import Paired
    from evaluation.prepared import Prepared

__all__ = ["Attached", "Layout", "attach", "category_means"]

_MOST = 1 << 23  # numbers of a kind in memory at once: 64 MiB
_SMALL = 1 << 16  # rows a thread takes at once


class Layout(NamedTuple):
    """Detections by category, in row order: with pairs, without, and those that only fill a cell above the cap.

    Categories without ground truth that counts have no rows. k categories, n rows, p of them with
    pairs, m pairs, s rows in cells above the cap.

    Attributes:
        section: int64 [k + 1, 3], where each part of each category starts.
        row: int32 [n], row of `Found`.
        first_paired: int64 [k + 1], number of rows with pairs before each category.
        inside: bool [p], the area is in the range "all".
        pair_start: int64 [p + 1].
        pair_truth: int32 [m], place of the annotation in its category.
        passed: int32 [m], number of IoU thresholds the pair passes.
        flags: uint8 [m], see `kernels.attaching`.
        truths: int64 [k], annotations.
        crowd_start: int64 [k + 1], offsets of the next two.
        slot: int32 [s], place of a row in its category.
        cell: int32 [s], its image.
    """

    section: np.ndarray
    row: np.ndarray
    first_paired: np.ndarray
    inside: np.ndarray
    pair_start: np.ndarray
    pair_truth: np.ndarray
    passed: np.ndarray
    flags: np.ndarray
    truths: np.ndarray
    crowd_start: np.ndarray
    slot: np.ndarray
    cell: np.ndarray


@dataclass(frozen=True, eq=False)
class Attached:
    """Detections and what they can match; made by `attach`, used with any number of score vectors.

    Scores are given by row of the table, as float64 [n] or, many candidates in one call, [c, n]. A
    score of minus infinity leaves the row out, as if it had not been submitted. Every figure equals
    that of the full evaluation of a table with these rows and scores, to the last bit. Memory is
    linear in rows and pairs; candidates are taken some at a time, so that it does not grow with them.

    Attributes:
        prepared: Ground truth.
        paired: Detections and their pairs.
        order: int64 [n], row of the table for each row of `paired`; None where they are the same.
        layout: What evaluation at the area range "all" needs.
        counted: int64 [j], dense categories with ground truth that counts.
        thresholds: Number of IoU thresholds.
        recalls: float64 [r], recalls at which precision is read.
    """

    prepared: "Prepared"
    paired: "Paired"
    order: np.ndarray | None
    layout: Layout
    counted: np.ndarray
    thresholds: int
    recalls: np.ndarray

    def __len__(self) -> int:
        return len(self.paired.found.score)

    def __repr__(self) -> str:
        return f"Attached({len(self):,} detections, {self.prepared})"

    def average_precision(self, scores: npt.ArrayLike) -> np.ndarray:
        """Return the AP of each candidate: the mean over categories and IoU thresholds.

        Args:
            scores: float64 [c, n] or [n].

        Returns:
            float64 [c], or of shape () for one vector; -1 where there is no ground truth that counts.

        Raises:
            InputError: If the shape is wrong or a score is NaN or plus infinity.
        """
        candidates, shape = self._candidates(scores)
        figures = np.full(len(candidates), -1.0)
        if len(self.counted):
            for first, precision in self._precision(candidates, self.counted):
                for i, values in enumerate(precision):
                    # one flat array in the official order, so that the sum is the official one to the last bit
                    figures[first + i] = np.mean(values.ravel())
        return figures.reshape(shape)

    def average_precision_per_category(
        self, scores: npt.ArrayLike, categories: Sequence[int] | np.ndarray | None = None
    ) -> np.ndarray:
        """Return the AP of each category, for each candidate.

        Args:
            scores: float64 [c, n] or [n]; rows of other categories are not looked at.
            categories: [k] ids of the categories wanted; all by default. A few cost a few times less:
                parameters of one category can be searched by its own AP.

        Returns:
            float64 [c, k] or [k]; NaN where a category has no ground truth that counts.

        Raises:
            InputError: If the shape is wrong, an id is unknown, or a score is NaN or plus infinity.
        """
        candidates, shape = self._candidates(scores)
        wanted = self._wanted(categories)
        places = np.flatnonzero(self.prepared.positives[wanted, 0] > 0)
        figures = np.full((len(candidates), len(wanted)), np.nan)
        if len(places):
            for first, precision in self._precision(candidates, wanted[places]):
                for i, values in enumerate(precision):
                    figures[first + i, places] = category_means(values, len(self.prepared.category_ids))
        return figures.reshape(*shape, len(wanted))

    def evaluate(self, scores: npt.ArrayLike) -> CocoResult:
        """Return all figures for one vector of scores.

        Args:
            scores: float64 [n].

        Raises:
            InputError: If the shape is wrong or a score is NaN or plus infinity.
        """
        candidates, shape = self._candidates(scores)
        if shape:
            raise InputError("scores", f"expected one vector, got {shape[0]} of them", "Evaluate them one by one")
        if not np.all(candidates < np.inf):
            raise _not_a_number(candidates)
        score = self._by_row(candidates)[0]
        found = self.paired.found
        category = np.where(score > -np.inf, found.category, np.int32(-1))
        return self.prepared.evaluate_paired(self.paired._replace(found=found._replace(score=score, category=category)))

    def _candidates(self, scores: npt.ArrayLike) -> tuple[np.ndarray, tuple[int, ...]]:
        """Return the scores as [c, n], and the shape of the answer."""
        given = np.ascontiguousarray(scores, dtype=np.float64)
        if given.ndim not in (1, 2) or given.shape[-1] != len(self):
            raise InputError(
                "scores",
                f"expected an array of shape [{len(self)}] or [candidates, {len(self)}], got {list(given.shape)}",
                "Give a score for every row of the table that was attached",
            )
        return np.atleast_2d(given), given.shape[:-1]

    def _wanted(self, categories: Sequence[int] | np.ndarray | None) -> np.ndarray:
        """Return the dense categories of some ids, int64."""
        known = self.prepared.category_ids
        if categories is None:
            return np.arange(len(known))
        ids = np.asarray(categories, dtype=np.int64).reshape(-1)
        places = np.minimum(np.searchsorted(known, ids), max(len(known) - 1, 0))
        unknown = ids[known[places] != ids] if len(known) else ids
        if len(unknown):
            raise InputError(
                "argument categories",
                f"{unknown[0]} is no category of the ground truth ({self.prepared.ground_truth.source})",
            )
        return places

    def _precision(self, candidates: np.ndarray, chosen: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
        """Yield precision of some candidates at a time: the number of the first, and float64 [c, t, r, j]."""
        thresholds, recalls, cap = self.thresholds, self.recalls, self.prepared.protocol.caps[-1]
        positives = self.prepared.positives[:, 0]
        sizes = self.layout.section[chosen + 1, 0] - self.layout.section[chosen, 0] + len(recalls)
        step = max(1, _MOST // max(thresholds * len(recalls) * len(chosen), len(self)))
        for first in range(0, len(candidates), step):
            part = self._cut(self._by_row(candidates[first : first + step]))
            precision = np.empty((len(part), thresholds, len(recalls), len(chosen)))

            def task(low: int, high: int, part: np.ndarray = part, precision: np.ndarray = precision) -> int:
                return rescore(  # type: ignore[no-any-return]
                    low, high, part, self.layout, chosen, positives, thresholds, recalls, cap, precision
                )

            if any(wrong >= 0 for wrong in run(task, _pieces(sizes, len(part)))):
                raise _not_a_number(candidates)
            yield first, precision

    def _by_row(self, candidates: np.ndarray) -> np.ndarray:
        """Return scores by row of `paired`, in memory that may be written to: kernels are compiled for that alone."""
        if self.order is not None:
            return np.take(candidates, self.order, axis=1)
        return candidates if candidates.flags.writeable else candidates.copy()

    def _cut(self, candidates: np.ndarray) -> np.ndarray:
        """Leave out what LVIS cuts from an image or a category; it depends on the scores."""
        federated, found, named = self.prepared.federated, self.paired.found, self.paired.named
        if federated is None:
            return candidates
        left = [federated.cut(found._replace(score=score), named).category for score in candidates]
        if all(category is found.category for category in left):
            return candidates
        return np.where(np.stack(left) >= 0, candidates, -np.inf)


def attach(prepared: "Prepared", table: DetectionTable) -> Attached:
    """Find, once, what of a table can match what, whatever the scores.

    Args:
        prepared: Ground truth.
        table: Detections in pixels.

    Raises:
        InputError: As in `Prepared.evaluate`.
    """
    paired = prepared.paired(table)
    found = paired.found
    order = None if prepared.protocol.use_cats else np.lexsort((table.category_id, found.image))
    counts = prepared.positives[:, 0] > 0
    thresholds = np.minimum(prepared.protocol.thresholds, 1 - 1e-10)
    layout = lay_out(
        found.start,
        found.category,
        found.outside,
        paired.pairs,
        prepared.truth,
        counts,
        prepared.protocol.caps[-1],
        thresholds,
    )
    return Attached(prepared, paired, order, Layout(*layout), np.flatnonzero(counts), len(thresholds), RECALLS)


def category_means(precision: np.ndarray, categories: int) -> np.ndarray:
    """Return the AP of some categories, to the last bit that of the official array, which has all of them.

    Args:
        precision: float64 [t, r, j], at thresholds and recalls.
        categories: Number of all categories.

    Returns:
        float64 [j].
    """
    if precision.shape[2] == 1 and categories > 1:
        # NumPy sums a lone column in another order than one of several
        return category_means(np.repeat(precision, 2, axis=2), categories)[:1]
    means: np.ndarray = precision.mean(axis=(0, 1))
    return means


def _pieces(sizes: np.ndarray, candidates: int) -> list[tuple[int, int]]:
    """Cut combinations of candidates and categories into runs of about equal work."""
    if candidates * int(sizes.sum()) <= _SMALL:
        return [(0, candidates * len(sizes))]
    return chunks(np.concatenate(([0], np.cumsum(np.tile(sizes, candidates)))), _SMALL)


def _not_a_number(candidates: np.ndarray) -> InputError:
    candidate, row = np.argwhere(~(candidates < np.inf))[0].tolist()
    return InputError(
        f"scores, candidate {candidate}, row {row}",
        f"expected a number, got {candidates[candidate, row]}",
        "Minus infinity leaves a row out",
    )
