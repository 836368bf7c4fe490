"""Matches of a table in parts, kept on disk: an evaluation by COCO or LVIS in memory that does not grow with the table.

Matching, caps and labels are local to an image; only the order of a category is not. So each piece of the table leaves
a run, sorted as its matches are, and the runs of some categories at a time are merged.
"""

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from evaluation.columns import Found, Judged, Paired, Pairs, Truth
from evaluation.matches import MatchBlock, Matches, find_matches
from evaluation.measures import AREA, Ranges
from evaluation.protocol import RECALLS, Lvis
from evaluation.result import CocoResult
from fusion.errors import InputError
from fusion.storage import part_paths, read_metadata, read_table
from fusion.table import DetectionTable
from fusion.unnamed_files import unnamed_files

if TYPE_CHECKING:
    from evaluation.prepared import Prepared

__all__ = ["StoredMatches", "StoredResult", "evaluate_stored"]

_ROWS = 1 << 20  # rows that are matched at a time
_MERGED = 1 << 19  # matches in memory at a time, or those of one category
_RECORD = np.dtype(
    [("score", "f8"), ("true", "u8"), ("spared", "u8"), ("image", "i4"), ("rank", "i4"), ("outside", "u1")]
)


class StoredMatches:
    """What `Matches` holds, in runs on disk; of a match the image is known, and no row of the table.

    Attributes:
        positives: As in `Matches`.
        caps: As in `Matches`.
        recalls: As in `Matches`.
    """

    def __init__(self, positives: np.ndarray, caps: tuple[int, ...], recalls: np.ndarray) -> None:
        self.positives, self.caps, self.recalls = positives, caps, recalls
        self._thresholds: tuple[int, ...] = ()
        self._files: list[IO[bytes]] = []
        self._starts: list[list[np.ndarray]] = []  # per block and run, int64 [k + 1], matches before each category

    def append(self, matches: Matches, image: np.ndarray) -> None:
        """Store the matches of a piece of the table, which has all detections of its images.

        Args:
            matches: By the rules of all others.
            image: int32 [n], image of each row of the piece.
        """
        if not self._files:
            self._thresholds = matches.thresholds
            self._files = unnamed_files(self, len(matches.blocks))
            self._starts = [[] for _ in matches.blocks]
        for file, starts, block in zip(self._files, self._starts, matches.blocks, strict=True):
            records = np.empty(len(block.score), _RECORD)
            for name in ("score", "true", "spared", "rank", "outside"):
                records[name] = getattr(block, name)
            records["image"] = image[block.row]
            begin = starts[-1][-1] if starts else 0
            starts.append(begin + block.start)
            file.write(records.data)

    def batches(self) -> Iterator[tuple[int, int, Matches]]:
        """Yield the matches of the categories `low` to `high - 1`, numbered from 0, all categories in turn.

        In them `MatchBlock.row` is the image of a match.
        """
        k = len(self.positives)
        sizes = np.zeros(k, np.int64)
        for start in self._starts[0] if self._starts else []:
            sizes += np.diff(start)
        for file in self._files:
            file.flush()
        low = 0
        while low < k:
            fitting = int(np.searchsorted(np.cumsum(sizes[low:]), _MERGED, side="right"))
            high = min(low + max(fitting, 1), k)
            blocks = tuple(self._merged(number, low, high) for number in range(len(self._files)))
            yield low, high, Matches(blocks, self._thresholds, self.positives[low:high], self.caps, self.recalls)
            low = high

    def recall(self) -> np.ndarray:
        """Return the highest recall, float64 [t, k, a, m]; -1 where no ground truth counts."""
        return np.concatenate([matches.recall() for _, _, matches in self.batches()], axis=1)

    def precision(self, cap: int, *, scores: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """Return interpolated precision and scores as `Matches.precision` does."""
        found = [matches.precision(cap, scores=scores) for _, _, matches in self.batches()]
        return np.concatenate([part[0] for part in found], axis=3), np.concatenate([part[1] for part in found], axis=3)

    def true_positives(self, place: int, cap: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return images in place of rows, categories and counts as `Matches.true_positives` does."""
        found = [
            (row, category + low, count)
            for low, _, matches in self.batches()
            for row, category, count in [matches.true_positives(place, cap)]
        ]
        return tuple(np.concatenate(column) for column in zip(*found, strict=True))  # type: ignore[return-value]

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
        return [np.concatenate(columns, axis=1) for columns in zip(*parts, strict=True)]

    def _merged(self, number: int, low: int, high: int) -> MatchBlock:
        """Merge the runs of some categories: by score descending; of equals by image, then as they are in a run."""
        starts = self._starts[number]
        pieces = [self._read(number, int(start[low]), int(start[high])) for start in starts]
        records = np.concatenate([np.zeros(0, _RECORD), *pieces])
        sizes = np.array([np.diff(start[low : high + 1]) for start in starts], np.int64).reshape(-1, high - low)
        category = np.repeat(np.tile(np.arange(high - low, dtype=np.int32), len(sizes)), sizes.ravel())
        order = np.lexsort((records["image"], -records["score"], category))
        names = ("image", "rank", "score", "outside", "true", "spared")
        columns = (np.ascontiguousarray(records[name][order]) for name in names)
        return MatchBlock(np.concatenate(([0], np.cumsum(sizes.sum(axis=0)))), *columns)

    def _read(self, number: int, first: int, last: int) -> np.ndarray:
        records = np.empty(last - first, _RECORD)
        self._files[number].seek(first * _RECORD.itemsize)
        self._files[number].readinto(records.view(np.uint8).data)  # type: ignore[attr-defined]
        return records


@dataclass(frozen=True, eq=False, repr=False)
class StoredResult(CocoResult):
    """The result of a table in parts: arrays and figures equal to those of the whole table, replicates too.

    What needs each detection is not there: figures at a score, ranges other than the official ones, some of the images.

    Attributes:
        looked_at: int64 [k], detections that were looked at.
        rows: Number of rows of the table that were read.
    """

    looked_at: np.ndarray
    rows: int

    @cached_property
    def detections(self) -> np.ndarray:
        """int64 [k], detections that were looked at."""
        return self.looked_at

    @cached_property
    def judged(self) -> Judged:
        """Not there.

        Raises:
            InputError: Always.
        """
        raise _not_in_memory("figures at a score")

    def on(self, images: np.ndarray) -> "StoredResult":
        """Not there.

        Raises:
            InputError: Always.
        """
        raise _not_in_memory("figures of some of its images")

    def matches_in(self, ranges: Ranges) -> tuple[Any, Truth, np.ndarray]:
        """Return the matches by the official ranges; see `CocoResult.matches_in`.

        Raises:
            InputError: For other ranges.
        """
        if ranges is not AREA:
            raise _not_in_memory("figures by other ranges than the official ones")
        return self.matches, self.truth, self.found.image

    def resample_in(
        self, ranges: Ranges, weights: np.ndarray, wanted: tuple[tuple[int, float | None], ...]
    ) -> list[np.ndarray]:
        """Return average precisions of replicates by the official ranges; see `CocoResult.resample_in`."""
        matches, truth, _ = self.matches_in(ranges)
        return matches.resample_precision(truth, self.iou_thresholds, weights, wanted)  # type: ignore[no-any-return]

    def precision_in(self, ranges: Ranges) -> np.ndarray:
        """Return precision by the official ranges; see `CocoResult.precision_in`."""
        self.matches_in(ranges)
        return self.best_precision

    def recall_in(self, ranges: Ranges) -> np.ndarray:
        """Return recall by the official ranges; see `CocoResult.recall_in`."""
        self.matches_in(ranges)
        return self.recall


def evaluate_stored(
    prepared: "Prepared",
    path: str | os.PathLike[str],
    progress: Callable[[str, int, int], None] | None = None,
    *,
    images: npt.ArrayLike | None = None,
) -> StoredResult:
    """Evaluate a folder of parts, one part in memory at a time; every number is that of the whole table.

    Args:
        prepared: Ground truth.
        path: A table on disk.
        progress: Called with (what, done, total) before each part.
        images: [n] ids, to read the rows of these alone.

    Raises:
        InputError: As `Prepared.evaluate`; if an image is in two parts; for LVIS's fixed AP, whose best detections of a
            category are of all images.
    """
    if isinstance(prepared.protocol, Lvis) and prepared.protocol.fixed_ap:
        raise _not_in_memory("LVIS's fixed AP")
    read_metadata(path)  # requires that all parts are there
    parts, count = part_paths(path), len(prepared.ground_truth.image_id)
    columns = () if prepared.masks is None else ("mask",)
    matches = StoredMatches(prepared.positives, prepared.protocol.caps, RECALLS)
    looked_at, seen = np.zeros(len(prepared.category_ids), np.int64), np.zeros(count, np.bool_)
    notes: dict[str, int] = {}
    rows = 0
    for number, part in enumerate(parts):
        if progress is not None:
            progress("matching", number, len(parts))
        for piece in _pieces(read_table(part, images=images, columns=columns)):
            paired = prepared.paired(piece)
            there = np.diff(paired.found.start) > 0
            if np.any(seen & there):
                twice = prepared.ground_truth.image_id[np.argmax(seen & there)]
                raise InputError(part, f"image {twice!r} is in another part, too", "Write the table again in parts")
            seen |= there
            found = paired.found
            if prepared.federated is not None:
                found = prepared.federated.cut(found, paired.named)
            own = find_matches(
                prepared.truth,
                found,
                paired.pairs,
                thresholds=prepared.protocol.thresholds,
                caps=prepared.protocol.caps,
                positives=prepared.positives,
                recalls=RECALLS,
            )
            matches.append(own, found.image)
            looked_at += np.bincount(found.category[found.category >= 0], minlength=len(looked_at))
            _count(notes, paired.notes)
            rows += len(piece)
    nothing = _nothing(count, _told(notes))
    return StoredResult(prepared, nothing, nothing.found, matches, looked_at, rows)  # type: ignore[arg-type]


def _pieces(table: DetectionTable) -> Iterator[DetectionTable]:
    """Cut a table between images; one without rows is a piece as well."""
    cuts = np.unique(np.searchsorted(table.image_start, np.arange(0, len(table), _ROWS)))
    bounds = np.unique([*table.image_start[cuts].tolist(), 0, len(table)]).tolist()
    for low, high in zip(bounds[:-1] or [0], bounds[1:] or [0], strict=True):
        yield replace(table, arrow=table.arrow.slice(low, high - low))


def _count(notes: dict[str, int], lines: tuple[str, ...]) -> None:
    """Add up what is counted in the notes of pieces."""
    for line in lines:
        number = re.match(r"\d+(?= detections )", line)
        text = line if number is None else line[number.end() :]
        notes[text] = 0 if number is None else notes.get(text, 0) + int(number[0])


def _told(notes: dict[str, int]) -> tuple[str, ...]:
    return tuple(f"{count or ''}{text}" for text, count in notes.items())


def _nothing(images: int, notes: tuple[str, ...]) -> Paired:
    """Return detections of which only the image is known, and that as its own number."""
    none, few = np.zeros(0), np.zeros(0, np.int32)
    image = np.arange(images, dtype=np.int32)
    found = Found(np.zeros(images + 1, np.int64), image, few, none, none, none, none, none, few.astype(np.uint8))
    return Paired(found, few, Pairs(np.zeros(1, np.int64), few, none), notes)


def _not_in_memory(what: str) -> InputError:
    return InputError(
        "detections", f"{what} need all detections, and of a table in parts not all are in memory", "Read it as a whole"
    )
