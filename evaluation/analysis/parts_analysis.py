"""The analysis of a table on disk with some of its rows in memory, equal to that of the whole table to the last bit."""

import os
from collections.abc import Iterator

import numpy as np

from evaluation.analysis.calibrated import Calibration, calibration_of
from evaluation.analysis.confusion import confusion_of
from evaluation.analysis.curves import best_f1_of
from evaluation.analysis.errors import ErrorRows, error_rows, errors_of
from evaluation.analysis.overlaps import IGNORED, LEFT_OUT, Overlaps, find_overlaps
from evaluation.analysis.sizes import side_matches, side_truth, size_frame_of
from evaluation.analysis.table_analysis import BACKGROUND, TableAnalysis
from evaluation.files.table_pieces import TablePieces
from evaluation.noticed import Noticed
from evaluation.prepared import Prepared
from evaluation.protocol import RECALLS
from evaluation.run_files import RunContent, write_runs
from evaluation.runs import StoredRuns
from evaluation.stored import Progress, evaluate_stored
from evaluation.stored_matches import StoredMatches, piece_of
from fusion.unnamed_files import unnamed_files

__all__ = ["analyze_parts"]

_MERGED = 1 << 19  # entries in memory at a time, or those of one category
_WRONG, _RIGHT, _NEITHER = 0, 1, 2
_RECORD = np.dtype(
    [("score", "f8"), ("image", "i4"), ("state", "u1"), ("error", "i1"), ("moved", "?"), ("judged", "u1")]
)
_JUDGED = np.dtype([("category", "i4"), ("right", "u1"), ("quality", "f8")])


def analyze_parts(
    path: str | os.PathLike[str],
    prepared: Prepared,
    *,
    iou: float = 0.5,
    figures: tuple[str, ...] | None = None,
    images: np.ndarray | None = None,
    progress: Progress | None = None,
) -> TableAnalysis:
    """Analyze a table in parts; see `analyze_table`. The table is gone through three times.

    Args:
        path: A table on disk.
        prepared: Ground truth for boxes or masks.
        iou: As in `analyze_table`.
        figures: See there.
        images: [n] ids of the images that are read, ascending; None for all.
        progress: Called with (what, done, total).

    Raises:
        InputError: As `analyze_table`.
    """
    tell = progress or (lambda *_: None)
    result = evaluate_stored(prepared, path, progress, images=images)
    pieces = TablePieces(path, images=images)
    gathered = _Gathered(prepared)
    done = 0
    for piece in pieces:
        tell("finding errors", done, pieces.rows)
        gathered.add(find_overlaps(piece, prepared, BACKGROUND), iou)
        done += len(piece)
    best, f1_frame = best_f1_of(gathered.judged, prepared)
    calibration, bias = gathered.calibration()

    def overlaps() -> Iterator[Overlaps]:
        seen = 0
        for piece in pieces:
            tell("looking for confusions", seen, pieces.rows)
            yield find_overlaps(piece, prepared, BACKGROUND)
            seen += len(piece)

    least = -np.inf if np.isnan(best.score) else best.score
    return TableAnalysis(
        result=result,
        errors=errors_of(gathered.errors(), gathered.used, iou, prepared),
        best=best,
        f1_frame=f1_frame,
        calibration=calibration,
        bias=bias,
        confusion=confusion_of(overlaps(), prepared, iou, least),
        sizes=size_frame_of(gathered.sides(), result),
        figures=figures,
    )


class _Gathered:
    """What is left of pieces of a table, on disk.

    Attributes:
        used: uint8 [g], see `error_rows`.
    """

    def __init__(self, prepared: Prepared) -> None:
        self.used = np.zeros(len(prepared.truth.category), np.uint8)
        self._prepared, self._categories = prepared, len(prepared.category_ids)
        self._runs, self._sides = StoredRuns(), StoredRuns()
        self._files = unnamed_files(self, 4)

    def add(self, overlaps: Overlaps, iou: float) -> None:
        """Take up the detections of some images, which come after all before."""
        runs, sides, judged, scores = self._files
        found, cap = overlaps.found, self._prepared.protocol.caps[-1]
        assigned = overlaps.assign(iou, cap=cap)
        counted = (assigned.truth != IGNORED) & (assigned.truth != LEFT_OUT)
        kind = np.where(counted, np.where(assigned.truth >= 0, _RIGHT, _WRONG), _NEITHER).astype(np.uint8)
        self._runs.runs += write_runs([self._content(overlaps, iou, kind)], runs, "")
        content = piece_of(side_matches(overlaps), found, np.diff(found.start), Noticed())
        self._sides.runs += write_runs([content], sides, "")
        rows = np.empty(int(counted.sum()), _JUDGED)
        rows["category"], rows["right"] = found.category[counted], kind[counted]
        rows["quality"] = assigned.iou[counted]
        judged.write(rows.data)
        scores.write(np.ascontiguousarray(found.score[counted]).data)

    def _content(self, overlaps: Overlaps, iou: float, kind: np.ndarray) -> RunContent:
        """Return the entries of errors, and of the detections that are none of them but count."""
        found = overlaps.found
        entries, rows = error_rows(overlaps, self.used, iou, BACKGROUND, None)
        considered = np.zeros(len(kind), np.bool_)
        considered[rows] = True
        others = overlaps.order[(~considered & (kind != _NEITHER))[overlaps.order]]
        own = np.concatenate((rows, others))
        records = np.zeros(len(own), _RECORD)
        records["score"], records["image"] = found.score[own], found.image[own]
        first = slice(0, len(rows))
        records["state"][first], records["error"][first] = entries.state, entries.error
        records["moved"][first] = entries.moved
        records["judged"] = kind[own]
        records["judged"][first][entries.moved] = _NEITHER
        category = np.concatenate((entries.category, found.category[others]))
        order = np.lexsort((records["moved"], own, records["image"], -records["score"], category))
        start = np.searchsorted(category[order], np.arange(self._categories + 1)).astype(np.int64)
        none = np.zeros(0, np.int32)
        return RunContent((records[order],), (start,), none, none.astype(np.int64), none.reshape(0, 3), {})

    def _batches(self) -> Iterator[tuple[int, int, np.ndarray, np.ndarray]]:
        for low, high in self._runs.batches(self._categories, _MERGED):
            records, start = self._runs.merged(0, low, high, _RECORD)
            yield low, high, records, np.repeat(np.arange(high - low, dtype=np.int32), np.diff(start))

    def errors(self) -> Iterator[tuple[int, int, ErrorRows]]:
        """Yield what `errors_of` takes."""
        for low, high, records, category in self._batches():
            own = records["state"] > 0
            columns = (np.ascontiguousarray(records[name][own]) for name in ("score", "state", "error", "moved"))
            yield low, high, ErrorRows(category[own], *columns)

    def judged(self) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Yield what `best_f1_of` takes."""
        for low, high, records, category in self._batches():
            own = records["judged"] != _NEITHER
            start = np.searchsorted(category[own], np.arange(high - low + 1))
            yield start, np.ascontiguousarray(records["score"][own]), records["judged"][own] == _RIGHT

    def sides(self) -> StoredMatches:
        """Return the matches by the bins of sides."""
        protocol = self._prepared.protocol
        counted = side_truth(self._prepared)[1]
        return StoredMatches.of(self._sides, protocol.thresholds, counted, protocol.caps, RECALLS)

    def calibration(self) -> tuple[Calibration, float]:
        """Return the calibration, and mean score less precision."""
        found = calibration_of(self._blocks, self._prepared)
        if np.isnan(found.ECE):
            return found, float("nan")
        n, hits = 0, 0
        for _, _, right, _ in self._blocks():
            n, hits = n + len(right), hits + int(right.sum())
        # the mean of the whole column, which is added up in pairs
        score = np.memmap(self._files[3], np.float64, mode="r", shape=(n,))
        return found, float(score.mean() - hits / n)

    def _blocks(self) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
        _, _, judged, scores = self._files
        judged.flush()
        scores.flush()
        place = 0
        while True:
            rows = np.empty(_MERGED, _JUDGED)
            judged.seek(place * _JUDGED.itemsize)
            count = judged.readinto(rows.view(np.uint8).data) // _JUDGED.itemsize  # type: ignore[attr-defined]
            if not count:
                judged.seek(0, os.SEEK_END)
                return
            score = np.empty(count)
            scores.seek(place * 8)
            scores.readinto(score.view(np.uint8).data)  # type: ignore[attr-defined]
            rows = rows[:count]
            category, quality = (np.ascontiguousarray(rows[name]) for name in ("category", "quality"))
            yield score, category, rows["right"].astype(np.float64), quality
            place += count
