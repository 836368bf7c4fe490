"""Matching detections with ground truth, and what precision and recall follow from it."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from evaluation.columns import Found, Pairs, Rules, Truth
from evaluation.kernels.matching import group_by_category, match
from evaluation.kernels.precision import count_true, fill_precision
from fusion.kernels.jit import chunks, run

__all__ = ["MatchBlock", "Matches", "block_sizes", "find_matches"]

_BITS = 64


class MatchBlock(NamedTuple):
    """Answers for some consecutive thresholds, in order of (category, score); n detections.

    Attributes:
        start: int64 [k + 1], offsets of the categories.
        row: int32 [n], row of `Found`.
        rank: int32 [n], place in its cell by score.
        score: float64 [n].
        outside: uint8 [n], bit a is set where the area is outside area range a.
        true: uint64 [n], bit `area range * thresholds + threshold` is set for a true positive.
        spared: uint64 [n], the same for one inside the area range that is no false positive.
    """

    start: np.ndarray
    row: np.ndarray
    rank: np.ndarray
    score: np.ndarray
    outside: np.ndarray
    true: np.ndarray
    spared: np.ndarray


@dataclass(frozen=True, eq=False)
class Matches:
    """Which detections are true positives, false positives or ignored, at every threshold and area range.

    Attributes:
        blocks: Answers, 16 thresholds at a time where there are four area ranges.
        thresholds: Number of IoU thresholds in each block.
        positives: int64 [k, a], ground truth that counts per category and area range.
        caps: Ascending numbers of detections per cell, the largest of which was used to match.
        recalls: float64 [r], recall points.
    """

    blocks: tuple[MatchBlock, ...]
    thresholds: tuple[int, ...]
    positives: np.ndarray
    caps: tuple[int, ...]
    recalls: np.ndarray

    def recall(self) -> np.ndarray:
        """Return the highest recall, float64 [t, k, a, m]; -1 where no ground truth counts."""
        categories, areas = self.positives.shape
        parts = []
        for block, thresholds in zip(self.blocks, self.thresholds, strict=True):
            hits = np.zeros((categories, len(self.caps), areas * thresholds), np.int64)
            caps = np.array(self.caps)

            def task(
                low: int, high: int, block: MatchBlock = block, hits: np.ndarray = hits, caps: np.ndarray = caps
            ) -> None:
                count_true(low, high, block.start, block.rank, block.true, caps, hits)

            run(task, chunks(block.start))
            parts.append(hits.reshape(categories, len(self.caps), areas, thresholds).transpose(3, 0, 2, 1))
        counts = np.concatenate(parts)
        positives = self.positives[None, :, :, None]
        # in this order in memory, on which it depends how a mean is rounded
        return np.ascontiguousarray(np.where(positives > 0, counts / np.maximum(positives, 1), -1.0))

    def true_positives(self, place: int, cap: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the rows of `Found` that are true positives, their categories, and at how many thresholds; all int.

        Args:
            place: Area range.
            cap: Detections of a cell that count.
        """
        rows, categories, counts = [], [], []
        for block, thresholds in zip(self.blocks, self.thresholds, strict=True):
            bits = (block.true >> np.uint64(place * thresholds)) & np.uint64((1 << thresholds) - 1)
            chosen = np.flatnonzero((bits != 0) & (block.rank < cap))
            rows.append(block.row[chosen])
            categories.append(np.searchsorted(block.start, chosen, side="right") - 1)
            counts.append(np.bitwise_count(bits[chosen]))
        return np.concatenate(rows), np.concatenate(categories), np.concatenate(counts)

    def at(self, threshold: int) -> tuple[MatchBlock, np.ndarray, np.ndarray]:
        """Return the block of one threshold; which of its detections are right in the first range, bool [n], and wrong.

        Args:
            threshold: Its number.
        """
        first = 0
        for block, thresholds in zip(self.blocks, self.thresholds, strict=True):
            if threshold < first + thresholds:
                bit = np.uint64(threshold - first)
                right = ((block.true >> bit) & np.uint64(1)).astype(bool)
                spared = ((block.spared >> bit) & np.uint64(1)).astype(bool)
                return block, right, ((block.outside & 1) == 0) & ~spared & ~right
            first += thresholds
        raise IndexError(threshold)

    def precision(self, cap: int, *, scores: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """Return interpolated precision for the best `cap` detections of each cell.

        Args:
            cap: One of `caps`.
            scores: Whether the scores at the points are wanted.

        Returns:
            Precision and scores, float64 [a, t, r, k]; -1 where no ground truth counts. Scores are of
            size 0 unless wanted.
        """
        categories, areas = self.positives.shape
        parts = []
        for block, thresholds in zip(self.blocks, self.thresholds, strict=True):
            shape = (areas, thresholds, len(self.recalls), categories)
            precision = np.full(shape, -1.0)
            score = np.full(shape if scores else (0, 0, 0, 0), -1.0)

            def task(
                low: int,
                high: int,
                block: MatchBlock = block,
                precision: np.ndarray = precision,
                score: np.ndarray = score,
            ) -> None:
                fill_precision(low, high, block, self.positives, self.recalls, cap, precision, score)

            run(task, chunks(block.start))
            parts.append((precision, score))
        return (
            np.concatenate([part[0] for part in parts], axis=1) if len(parts) > 1 else parts[0][0],
            np.concatenate([part[1] for part in parts], axis=1) if len(parts) > 1 else parts[0][1],
        )


def find_matches(
    truth: Truth,
    found: Found,
    pairs: Pairs,
    *,
    thresholds: np.ndarray,
    caps: tuple[int, ...],
    positives: np.ndarray,
    recalls: np.ndarray,
) -> Matches:
    """Match at every threshold and area range at once.

    Args:
        truth: Ground truth.
        found: Detections.
        pairs: Their pairs, of at least the smallest threshold.
        thresholds: float64 [t], ascending IoU thresholds in (0, 1].
        caps: Ascending numbers of detections per cell.
        positives: int64 [k, a], ground truth that counts per category and area range.
        recalls: float64 [r], recall points, ascending.

    Returns:
        The answers; detections beyond the largest cap of their cell are left out.
    """
    categories, areas = positives.shape
    detections = group_by_category(found, pairs, categories)
    images = len(found.start) - 1
    sizes = block_sizes(len(thresholds), areas)
    parts = np.split(thresholds, np.cumsum(sizes)[:-1])
    blocks = [_match_block(truth, images, detections, pairs, _rules(part, areas, caps[-1])) for part in parts]
    return Matches(tuple(blocks), sizes, positives, caps, recalls)


def block_sizes(thresholds: int, areas: int) -> tuple[int, ...]:
    """Return the number of IoU thresholds in each block of `Matches`: as many as there are bits for."""
    most = _BITS // areas
    return tuple(min(most, thresholds - low) for low in range(0, thresholds, most))


def _match_block(
    truth: Truth, images: int, detections: tuple[np.ndarray, ...], pairs: Pairs, rules: Rules
) -> MatchBlock:
    matched = np.zeros(len(truth.category), np.uint64)

    def task(low: int, high: int) -> tuple[np.ndarray, ...]:
        return match(low, high, images, detections, pairs, truth, rules, matched)  # type: ignore[no-any-return]

    parts = run(task, chunks(detections[0]) or [(0, 0)])
    columns = [np.concatenate([part[i] for part in parts]) for i in range(6)]
    sizes = np.concatenate([np.diff(part[6]) for part in parts])
    return MatchBlock(np.concatenate(([0], np.cumsum(sizes))), *columns)


def _rules(thresholds: np.ndarray, areas: int, cap: int) -> Rules:
    count = len(thresholds)
    one_area = [(1 << passed) - 1 for passed in range(count + 1)]
    passed = [sum(bits << (a * count) for a in range(areas)) for bits in one_area]
    spread = [sum(one_area[-1] << (a * count) for a in range(areas) if ranges >> a & 1) for ranges in range(1 << areas)]
    return Rules(np.minimum(thresholds, 1 - 1e-10), np.array(passed, np.uint64), np.array(spread, np.uint64), cap)
