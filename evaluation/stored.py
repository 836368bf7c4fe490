"""An evaluation of a table in parts by COCO or LVIS, in memory that does not grow with the table."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from evaluation.columns import Found, Judged, Paired, Pairs, Truth
from evaluation.fixed_ap import BestOfCategory, LastOfCategory
from evaluation.gathering import numbered
from evaluation.matches import MatchBlock, find_matches
from evaluation.measures import AREA, Ranges
from evaluation.noticed import Noticed
from evaluation.protocol import RECALLS, Lvis
from evaluation.result import CocoResult, InRanges, found_in, truth_in
from evaluation.run_files import RunContent
from evaluation.runs import StoredRuns, key_of, pieces_of, runs_of
from evaluation.stored_matches import StoredMatches, piece_of
from fusion.parquet import content_key
from fusion.places import place_of
from fusion.shards import Shard
from fusion.storage import part_paths, read_table
from fusion.table import DetectionTable

if TYPE_CHECKING:
    from evaluation.prepared import Prepared

__all__ = ["StoredResult", "evaluate_stored"]

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, eq=False)
class _Source:
    """A table in parts, which is matched by one kind of ranges after another.

    Attributes:
        prepared: Ground truth.
        path: Of the table.
        images: [n] ids of the images that are read; None for all.
        progress: As in `evaluate_stored`.
        shard: As in `evaluate_stored`.
    """

    prepared: "Prepared"
    path: Path
    images: np.ndarray | None
    progress: Progress | None
    shard: Shard | None = None
    _runs: dict[Ranges, StoredRuns] = field(default_factory=dict)

    def runs(self, ranges: Ranges) -> StoredRuns:
        """Return the runs by some ranges: those that are kept, or new ones."""
        if ranges not in self._runs:
            last = self._last() if self._fixed else None
            truth, positives = truth_in(self.prepared, ranges)

            def make(part: Path) -> Iterator[RunContent]:
                for piece in self._read(part):
                    yield self._matched(piece, ranges, truth, positives, last)

            contents = tuple(content_key(part) for part in part_paths(self.path)) if self._fixed else ()
            key = key_of(self.prepared.identity, ranges.names, self.images, contents)
            ids = self.prepared.ground_truth.image_id
            shard = self.shard if ranges is AREA else None  # others are asked for when these are whole
            self._runs[ranges] = runs_of(self.path, key, make, ids, self.progress, shard)
        return self._runs[ranges]

    @property
    def _fixed(self) -> bool:
        return isinstance(self.prepared.protocol, Lvis) and self.prepared.protocol.fixed_ap

    def _read(self, part: Path) -> Iterator[DetectionTable]:
        columns = () if self.prepared.masks is None else ("mask",)
        return pieces_of(read_table(part, images=self.images, columns=columns))

    def _last(self) -> LastOfCategory:
        """Find the last detection of each category that counts by fixed AP, which takes those of all parts."""
        candidates = BestOfCategory(len(self.prepared.category_ids))
        for part in part_paths(self.path):
            for piece in self._read(part):
                candidates.add(*self.prepared.named(piece))
        return candidates.last()

    def _matched(
        self,
        table: DetectionTable,
        ranges: Ranges,
        truth: Truth,
        positives: np.ndarray,
        last: LastOfCategory | None,
    ) -> RunContent:
        prepared = self.prepared
        paired = prepared.paired(table)
        found = paired.found
        if prepared.federated is not None:
            found = prepared.federated.cut(found, paired.named, last)
        matches = find_matches(
            truth,
            found_in(found, ranges),
            paired.pairs,
            thresholds=prepared.protocol.thresholds,
            caps=prepared.protocol.caps,
            positives=positives,
            recalls=RECALLS,
        )
        return piece_of(matches, found, np.diff(found.start), paired.noticed)


@dataclass(frozen=True, eq=False, repr=False)
class StoredResult(CocoResult):
    """The result of a table in parts: whatever it is asked for equals what the whole table has.

    Figures take the memory of the largest category's matches; replicates of figures at a score, and `judged`, 33 bytes
    for each detection.

    Attributes:
        source: The table.
        number: int32 [images of the source], number here of each image, -1 for those left out; None for all of them.
    """

    matches: StoredMatches  # type: ignore[assignment]
    source: _Source
    number: np.ndarray | None = None

    @property
    def rows(self) -> int:
        """Number of rows of the table on the images."""
        return self.matches.runs.rows_on(self.number)

    @cached_property
    def detections(self) -> np.ndarray:
        """int64 [k], detections that were looked at."""
        return self.matches.looked_at()

    def on(self, images: np.ndarray) -> "StoredResult":
        """Return the result of some of the images, see `Measured.on`."""
        prepared = self.prepared.on(images)
        if isinstance(self.protocol, Lvis) and self.protocol.fixed_ap:
            # of these images other detections are the best of a category
            alone = evaluate_stored(prepared, self.source.path, images=prepared.ground_truth.image_id)
            return replace(alone, paired=alone.paired._replace(noticed=self.paired.noticed))
        number = numbered(images, self.images, self.number)
        matches = replace(self.matches, positives=prepared.positives, number=number)
        nothing = _nothing(len(images), self.paired.noticed)
        return StoredResult(prepared, nothing, nothing.found, matches, self.source, number)

    def resample_in(
        self, ranges: Ranges, weights: np.ndarray, wanted: tuple[tuple[int, float | None], ...]
    ) -> list[np.ndarray]:
        """Return average precisions of replicates by some ranges; see `CocoResult.resample_in`."""
        matches, truth, _ = self.matches_in(ranges)
        return matches.resample_precision(truth, self.iou_thresholds, weights, wanted)  # type: ignore[no-any-return, attr-defined]

    def by_score(self, score: float | None) -> Judged:
        """Return what is right and wrong between the scores of what is right; see `ByScore.by_score`."""
        known: dict[float | None, Judged] = self.__dict__.setdefault("_by_score", {})
        if score not in known:
            known[score] = self._summed(score)
        return known[score]

    def _summed(self, score: float | None) -> Judged:
        at = self._half
        if at is None:
            return self.judged
        ends = [np.zeros(0) if score is None else np.array([score])]
        for _, block, right, wrong in self._at(at):
            own = block.score[right | wrong]
            ends += [np.unique(block.score[right]), own[np.argmax(own) :][:1] if len(own) else own]
        found = np.unique(np.concatenate(ends))
        sums = np.zeros((2, len(found) + 1))  # first what is below all of them
        for _, block, right, wrong in self._at(at):
            for total, chosen in zip(sums, (right, wrong), strict=True):
                total += np.bincount(np.searchsorted(found, block.score[chosen], "right"), minlength=len(total))
        nowhere, (hits, misses) = np.zeros(len(found), np.int32), (total[:0:-1] for total in sums)
        return Judged(nowhere, nowhere, found[::-1], hits, misses, *self.objects)

    def counted_from(self, least: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return what is right and wrong of at least some score by category; see `ByScore.counted_from`."""
        at, k = self._half, len(self.category_ids)
        if at is None:
            return super().counted_from(least)
        counts = np.zeros((2, k))
        for low, block, right, wrong in self._at(at):
            for total, chosen in zip(counts, (right, wrong), strict=True):
                kept = np.concatenate(([0], np.cumsum(chosen & (block.score >= least))))
                total[low : low + len(block.start) - 1] = np.diff(kept[block.start])
        _, category, amount = self.objects
        return counts[0], counts[1], np.bincount(category, amount, k)

    def _in(self, ranges: Ranges) -> InRanges:
        truth, positives = truth_in(self.prepared, ranges)
        matches = _stored(self.source, ranges, positives, self.number)
        return InRanges(matches, truth)  # type: ignore[arg-type]

    def _at(self, threshold: int) -> Iterator[tuple[int, MatchBlock, np.ndarray, np.ndarray]]:
        return self.matches.at(threshold)


def evaluate_stored(
    prepared: "Prepared",
    path: str | os.PathLike[str],
    progress: Progress | None = None,
    *,
    images: npt.ArrayLike | None = None,
    shard: Shard | None = None,
) -> StoredResult:
    """Evaluate a folder of parts, a few parts in memory at a time; every number is that of the whole table.

    The matches are kept in the folder `.quorum` of the table, where it can be written to: the same evaluation reads
    them, and finds those of a part anew where it has changed. That folder may be removed at any time.

    Args:
        prepared: Ground truth.
        path: A table on disk.
        progress: Called with (what, done, total) before each part.
        images: [n] ids, to read the rows of these alone.
        shard: Match only this share of the parts; whoever finds all others matched has the result.

    Raises:
        SharesLeft: If others have not matched all of their parts.
        InputError: As `Prepared.evaluate`; if an image is in two parts.
    """
    source = _Source(prepared, place_of(path), None if images is None else np.asarray(images), progress, shard)
    matches = _stored(source, AREA, prepared.positives, None)
    nothing = _nothing(len(prepared.ground_truth.image_id), Noticed(**matches.runs.noticed()))
    return StoredResult(prepared, nothing, nothing.found, matches, source)


def _stored(source: _Source, ranges: Ranges, positives: np.ndarray, number: np.ndarray | None) -> StoredMatches:
    protocol = source.prepared.protocol
    matches = StoredMatches.of(source.runs(ranges), protocol.thresholds, positives, protocol.caps, RECALLS)
    return replace(matches, number=number)


def _nothing(images: int, noticed: Noticed) -> Paired:
    """Return detections of which only the image is known, and that as its own number."""
    none, few = np.zeros(0), np.zeros(0, np.int32)
    image = np.arange(images, dtype=np.int32)
    found = Found(np.zeros(images + 1, np.int64), image, few, none, none, none, none, none, few.astype(np.uint8))
    return Paired(found, few, Pairs(np.zeros(1, np.int64), few, none), noticed)
