"""Matches by COCO or LVIS in runs on disk, of which those of a few categories at a time are in memory."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from evaluation.columns import Found, Truth
from evaluation.matches import MatchBlock, Matches, block_sizes
from evaluation.noticed import Noticed
from evaluation.run_files import RunContent
from evaluation.runs import StoredRuns

__all__ = ["StoredMatches", "piece_of"]

_MERGED = 1 << 19  # matches in memory at a time, or those of one category
_RECORD = np.dtype(
    [("score", "f8"), ("true", "u8"), ("spared", "u8"), ("image", "i4"), ("rank", "i4"), ("outside", "u1")]
)


def piece_of(matches: Matches, found: Found, rows: np.ndarray, noticed: Noticed) -> RunContent:
    """Return what is stored of the matches of some images.

    Args:
        matches: Of all detections of these images.
        found: The detections that were looked at.
        rows: int64 [images], rows of the table on each image.
        noticed: What was noticed about the detections.
    """
    stored = []
    for block in matches.blocks:
        records = np.empty(len(block.score), _RECORD)
        for name in ("score", "true", "spared", "rank", "outside"):
            records[name] = getattr(block, name)
        records["image"] = found.image[block.row]
        stored.append(records)
    start = tuple(block.start.astype(np.int64, copy=False) for block in matches.blocks)
    images = np.flatnonzero(rows).astype(np.int32)
    beyond = _beyond(found, np.diff(start[0]), matches.caps[-1])
    return RunContent(tuple(stored), start, images, rows[images].astype(np.int64), beyond, noticed._asdict())


def _beyond(found: Found, matched: np.ndarray, cap: int) -> np.ndarray:
    """Count the detections of cells above the cap, int32 [c, 3]."""
    looked_at = np.bincount(found.category[found.category >= 0], minlength=len(matched))
    full = looked_at > matched
    if not full.any():
        return np.zeros((0, 3), np.int32)
    rows = np.flatnonzero((found.category >= 0) & full[found.category])
    cells, count = np.unique(
        found.image[rows].astype(np.int64) * len(matched) + found.category[rows], return_counts=True
    )
    over = count > cap
    columns = np.divmod(cells[over], len(matched))
    return np.stack([*columns, count[over] - cap], axis=1).astype(np.int32)


@dataclass(frozen=True, eq=False)
class StoredMatches:
    """What `Matches` holds, in runs on disk; of a match the image is known, and no row of the table.

    Attributes:
        runs: On disk.
        thresholds: Number of IoU thresholds in each block.
        positives: As in `Matches`.
        caps: As in `Matches`.
        recalls: As in `Matches`.
        number: int32 [images], new number of each image of the runs, -1 for those left out; None for all of them.
    """

    runs: StoredRuns
    thresholds: tuple[int, ...]
    positives: np.ndarray
    caps: tuple[int, ...]
    recalls: np.ndarray
    number: np.ndarray | None = None

    @classmethod
    def of(
        cls,
        runs: StoredRuns,
        iou_thresholds: np.ndarray,
        positives: np.ndarray,
        caps: tuple[int, ...],
        recalls: np.ndarray,
    ) -> "StoredMatches":
        """Take the runs of a table; the rest is as in `find_matches`."""
        return cls(runs, block_sizes(len(iou_thresholds), positives.shape[1]), positives, caps, recalls)

    def batches(self) -> Iterator[tuple[int, int, Matches]]:
        """Yield the matches of the categories `low` to `high - 1`, numbered from 0, all categories in turn.

        In them `MatchBlock.row` is the image of a match.
        """
        for low, high in self.runs.batches(len(self.positives), _MERGED):
            blocks = tuple(self._merged(number, low, high) for number in range(len(self.thresholds)))
            yield low, high, Matches(blocks, self.thresholds, self.positives[low:high], self.caps, self.recalls)

    def looked_at(self) -> np.ndarray:
        """Return the number of detections that were looked at, int64 [k]."""
        beyond, count = self.runs.beyond, np.zeros(len(self.positives), np.int64)
        if self.number is None:
            count += self.runs.sizes(len(count))
        else:
            beyond = beyond[self.number[beyond[:, 0]] >= 0]
            for low, high in self.runs.batches(len(count), _MERGED):
                count[low:high] = np.diff(self._merged(0, low, high).start)
        np.add.at(count, beyond[:, 1], beyond[:, 2])
        return count

    def recall(self) -> np.ndarray:
        """Return the highest recall, float64 [t, k, a, m]; -1 where no ground truth counts."""
        return _joined([matches.recall() for _, _, matches in self.batches()], 1)

    def precision(self, cap: int, *, scores: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """Return interpolated precision and scores as `Matches.precision` does."""
        found = [matches.precision(cap, scores=scores) for _, _, matches in self.batches()]
        return _joined([part[0] for part in found], 3), _joined([part[1] for part in found], 3)

    def true_positives(self, place: int, cap: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return images in place of rows, categories and counts as `Matches.true_positives` does."""
        found = [
            (row, category + low, count)
            for low, _, matches in self.batches()
            for row, category, count in [matches.true_positives(place, cap)]
        ]
        return tuple(np.concatenate(column) for column in zip(*found, strict=True))  # type: ignore[return-value]

    def at(self, threshold: int) -> Iterator[tuple[int, MatchBlock, np.ndarray, np.ndarray]]:
        """Yield the first category of a batch, and what `Matches.at` returns of it."""
        for low, _, matches in self.batches():
            yield low, *matches.at(threshold)

    def resample_precision(self, truth: Truth, *arguments: Any) -> list[np.ndarray]:
        """Return what `evaluation.resampling.resample_precision` does, of all categories."""
        from evaluation.resampling import resample_precision  # here: its kernels are slow to load

        image = np.arange(len(truth.start) - 1, dtype=np.int32)
        parts = []
        for low, high, matches in self.batches():
            own = (truth.category >= low) & (truth.category < high)
            start = np.concatenate(([0], np.cumsum(own)))[truth.start]
            some = Truth(start, *(column[own] for column in truth[1:]))
            some = some._replace(category=some.category - np.int32(low))
            parts.append(resample_precision(matches, some, image, *arguments))
        return [_joined(columns, 1) for columns in zip(*parts, strict=True)]

    def _merged(self, number: int, low: int, high: int) -> MatchBlock:
        records, start = self.runs.merged(number, low, high, _RECORD, self.number)
        names = ("image", "rank", "score", "outside", "true", "spared")
        return MatchBlock(start, *(np.ascontiguousarray(records[name]) for name in names))


def _joined(parts: Sequence[np.ndarray], axis: int) -> np.ndarray:
    """Join arrays in the order in memory of a whole one, on which it depends how a mean is rounded."""
    return np.ascontiguousarray(np.concatenate(parts, axis=axis))
