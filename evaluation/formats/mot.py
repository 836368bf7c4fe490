"""MOT challenge: CSV without a header, `frame,id,x,y,w,h,confidence,...`, a file per sequence."""

import re
from pathlib import Path, PurePosixPath

import numpy as np
import pyarrow as pa

from evaluation.files.image_rows import left_out
from evaluation.files.look import Look
from evaluation.files.raw_columns import raw_columns
from evaluation.files.table_pieces import TablePieces
from evaluation.files.text_rows import TextRows
from evaluation.formats.base import Format, Progress
from evaluation.ground_truth import GroundTruth
from fusion.arrow_arrays import numpy_array
from fusion.atomic import replacing
from fusion.coco_results import RawResults, Reading, Vocabulary
from fusion.coco_results.raw import RecordKey
from fusion.errors import InputError

__all__ = ["MotFormat"]

_NUMBER = r"[-+]?[0-9.]+(?:[eE][-+]?[0-9]+)?"
_LINE = re.compile(rf"[0-9]+(?:\s*,\s*{_NUMBER}){{6,9}}\s*")
_FRAMES = re.compile(r"(?:^|/)([^/]+)/(?:det|gt)/[^/]+$")


class MotFormat(Format):
    """Detections of the MOT challenge; frames are images, and the eighth number is a category if there is one."""

    title = "MOT challenge text (det.txt), a file per sequence"

    def recognises(self, look: Look) -> int:
        """Take lines of seven to ten numbers with commas between, the first a frame's."""
        if look.folder:
            return 2 * any(self.recognises(look.into(name)) for name in _det_files(look)[:5])
        return 2 * any(_LINE.fullmatch(line.strip()) is not None for line in look.lines[:1])

    def results(
        self, path: Path, vocabulary: Vocabulary | None, reading: Reading, progress: Progress | None
    ) -> RawResults:
        """Read sequences; of several, images are called sequence/img1/000001.jpg."""
        look = Look.at(path)
        folder, names = (path, _det_files(look)) if look.folder else (path.parent, [path.name])
        rows = TextRows(folder, names, "MOT text", ",")
        columns = rows.columns([pa.float64()] * max(rows.width, 7))
        if columns is None:
            row, words = next((row, words) for row, words in rows.rows() if len(words) != rows.width)
            problem = f"expected {rows.width} numbers as in the first line, got {len(words)}"
            raise InputError(rows.place(row), problem, "Mend or drop the line")
        numbers = np.stack([numpy_array(column) for column in columns], axis=1)
        frame = numbers[:, 0].astype(np.int64)
        label = numbers[:, 7].astype(np.int64) if numbers.shape[1] > 7 else np.full(len(rows), -1)
        if (label < 0).all():
            only = 1 if vocabulary is None or len(vocabulary.category_ids) != 1 else int(vocabulary.category_ids[0])
            label = np.full(len(rows), only)
        pairs = np.unique(np.stack([rows.file, frame], axis=1), axis=0, return_inverse=True)
        several = len(names) > 1
        images = [
            RecordKey(None, f"{_sequence(names[file])}/img1/{number:06d}.jpg") if several else RecordKey(number, None)
            for file, number in pairs[0].tolist()
        ]
        labels, category = np.unique(label, return_inverse=True)
        found = raw_columns(
            images=images,
            image=pairs[1].ravel(),
            categories=[RecordKey(number, None) for number in labels.tolist()],
            category=category,
            score=numbers[:, 6],
            box=numbers[:, 2:6],
        )
        return RawResults.of(str(path), found, native="xywh", place=rows.within)

    def write(self, table: TablePieces, path: Path, truth: GroundTruth | None) -> list[str]:
        """Write one sequence; categories stand in the eighth column where there are several."""
        if table.metadata.unit != "pixel":
            raise InputError(path, "MOT has boxes in pixels, those of the table are shares", "Export another format")
        several = len(table.category_ids) > 1
        with replacing(path) as temporary, temporary.open("w", encoding="utf-8") as file:
            for piece in table:
                ids = piece.image_id
                if ids.dtype == object or ids.min() < 1:
                    problem = "its image ids have to be numbers of frames from 1"
                    raise InputError("export mot", f"{problem}, got {ids[0]!r}", "Export another format")
                category = piece.category_id.tolist() if several else [-1] * len(piece)
                columns = [piece.column(name).astype(np.float64).tolist() for name in ("x", "y", "w", "h", "score")]
                for frame, x, y, w, h, score, label in zip(ids.tolist(), *columns, category, strict=True):
                    file.write(f"{frame},-1,{x},{y},{w},{h},{score},{label},-1,-1\n")
        return left_out(table, "mask", "soft_mask", "member", "view", "votes")


def _det_files(look: Look) -> list[str]:
    names = look.ending(".txt")
    return [name for name in names if PurePosixPath(name).name == "det.txt"] or names


def _sequence(name: str) -> str:
    match = _FRAMES.search(name)
    return match[1] if match else PurePosixPath(name).stem
