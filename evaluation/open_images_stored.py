"""An evaluation of a table in parts by the Open Images protocol, in memory that does not grow with the table."""

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace

import numpy as np

from evaluation.gathering import numbered
from evaluation.kernels.open_images import FALSE, TRUE
from evaluation.open_images_curve import KEY_BITS, Outcomes, TrueEntries, Trues, keys_of
from evaluation.open_images_result import OpenImagesResult, RankedEntries
from evaluation.run_files import RunContent
from evaluation.runs import StoredRuns

__all__ = ["StoredEntries", "StoredOpenImagesResult", "content_of_entries"]

_MERGED = 1 << 19  # entries in memory at a time, or those of one category
_FALSE, _TRUE, _REGION = range(3)
_RECORD = np.dtype([("score", "f8"), ("image", "i4"), ("place", "i4"), ("kind", "u1")])


def content_of_entries(
    outcomes: Outcomes, entries: TrueEntries, categories: int, rows: np.ndarray, noticed: dict[str, int]
) -> RunContent:
    """Return what is stored of some images.

    Args:
        outcomes: What became of their detections.
        entries: The true ones, as `true_entries` gives them.
        categories: Number of categories.
        rows: int64 [images], rows of the table on each image.
        noticed: Numbers to add up.
    """
    false = np.flatnonzero(outcomes.outcome == FALSE)
    hits = int(np.count_nonzero(outcomes.outcome == TRUE))
    kind = np.full(len(false) + len(entries.key), _FALSE, np.uint8)
    kind[len(false) :] = np.where(np.arange(len(entries.key)) < hits, _TRUE, _REGION)
    category = np.concatenate((outcomes.category[false], entries.category))
    score = np.concatenate((outcomes.score[false], entries.score))
    key = np.concatenate((keys_of(outcomes, false), entries.key))
    order = np.lexsort((key, -score, category))
    records = np.empty(len(order), _RECORD)
    records["score"], records["kind"] = score[order], kind[order]
    records["image"], records["place"] = np.divmod(key[order], 1 << KEY_BITS)
    start = np.searchsorted(category[order], np.arange(categories + 1)).astype(np.int64)
    images = np.flatnonzero(rows).astype(np.int32)
    return RunContent((records,), (start,), images, rows[images], np.zeros((0, 3), np.int32), noticed)


@dataclass(frozen=True, eq=False)
class StoredEntries:
    """True and false entries in runs on disk.

    Attributes:
        runs: On disk.
        categories: Number of categories.
        weight: Of a group-of region.
        number: int32 [images], new number of each image of the runs, -1 for those left out; None for all of them.
    """

    runs: StoredRuns
    categories: int
    weight: float
    number: np.ndarray | None = None

    def batches(self) -> Iterator[tuple[int, int, np.ndarray, np.ndarray]]:
        """Yield first category and one past the last, offsets of the categories, and records in order."""
        for low, high in self.runs.batches(self.categories, _MERGED):
            records, start = self.runs.merged(0, low, high, _RECORD, self.number)
            yield low, high, start, records

    def labels(self, records: np.ndarray) -> np.ndarray:
        """Return what each record adds to the true ones, float64 [n]."""
        return np.take([0.0, 1.0, self.weight], records["kind"])

    def trues(self) -> tuple[Trues, bool]:
        """Return the true entries with the false ones counted; and whether a false one has the score of a true one."""
        parts, between, counts, tied = [], [], [], False
        for low, high, start, records in self.batches():
            category = np.repeat(np.arange(high - low), np.diff(start))
            true, detected = records["kind"] != _FALSE, records["kind"] != _REGION
            before = np.cumsum(true)
            places = (before + category)[~true]
            between.append(np.bincount(places, minlength=int(true.sum()) + high - low))
            counts.append(np.bincount(category[detected], minlength=high - low))
            kept = records[true]
            label = self.labels(kept)
            parts.append(TrueEntries((category[true] + low).astype(np.int32), kept["score"], _keys(kept), label))
            tied = tied or _tied(category, records["score"], true)
        entries = TrueEntries(*(np.ascontiguousarray(np.concatenate(part)) for part in zip(*parts, strict=True)))
        place = np.searchsorted(entries.category, np.arange(self.categories + 1)).astype(np.int64)
        return Trues(place, entries, np.concatenate(between), np.concatenate(counts)), tied


@dataclass(frozen=True, eq=False, repr=False)
class StoredOpenImagesResult(OpenImagesResult):
    """The result of a table in parts: whatever it is asked for equals what the whole table has.

    Attributes:
        stored: Its entries.
    """

    stored: StoredEntries

    @classmethod
    def made_of(cls, result: OpenImagesResult, stored: StoredEntries) -> "StoredOpenImagesResult":
        """Take the figures of a result."""
        return cls(**{one.name: getattr(result, one.name) for one in fields(result)}, stored=stored)

    @property
    def rows(self) -> int:
        """Number of rows of the table on the images."""
        return self.stored.runs.rows_on(self.stored.number)

    def on(self, images: np.ndarray) -> "StoredOpenImagesResult":
        """Return the result of some of the images, see `Measured.on`."""
        stored = replace(self.stored, number=numbered(images, self.images, self.stored.number))
        categories = self.category_ids, self.category_names
        positives = self.positives_on(numbered(images, self.images))
        result = OpenImagesResult.of(
            stored.trues()[0], None, positives, len(images), categories, self.notes, self.protocol
        )
        return self.made_of(result, stored)

    def _false(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        parts = []
        for low, high, start, records in self.stored.batches():
            category = np.repeat(np.arange(low, high, dtype=np.int32), np.diff(start))
            chosen = records["kind"] == _FALSE
            parts.append((records[chosen], category[chosen]))
        records, category = (np.concatenate(column) for column in zip(*parts, strict=True))
        order = np.argsort(_keys(records))
        return records["image"][order], category[order], records["score"][order]

    def _batches(self) -> Iterator[tuple[int, int, RankedEntries]]:
        for low, high, start, records in self.stored.batches():
            category = np.repeat(np.arange(high - low, dtype=np.int32), np.diff(start))
            score, image = (np.ascontiguousarray(records[name]) for name in ("score", "image"))
            yield low, high, self._entries_of(start, category, score, image, self.stored.labels(records))


def _keys(records: np.ndarray) -> np.ndarray:
    return np.asarray((records["image"].astype(np.int64) << KEY_BITS) | records["place"])


def _tied(category: np.ndarray, score: np.ndarray, true: np.ndarray) -> bool:
    """Tell whether entries of a category and score are true and false."""
    if not len(score):
        return False
    heads = np.flatnonzero(np.concatenate(([True], (category[1:] != category[:-1]) | (score[1:] != score[:-1]))))
    hits = np.add.reduceat(true.astype(np.int64), heads)
    return bool(np.any((hits > 0) & (hits < np.diff(heads, append=len(score)))))
