"""KITTI: a text file per image, a line per object with its corners in pixels from 0."""

import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

import numpy as np
import pyarrow as pa

from evaluation.files.image_rows import ImageNames, category_names, corners_of, left_out
from evaluation.files.look import Look, stem_of
from evaluation.files.pictures import picture_files, picture_size
from evaluation.files.raw_columns import keyed, raw_columns
from evaluation.files.table_pieces import TablePieces
from evaluation.files.text_rows import TextRows
from evaluation.files.truths import NamedObjects
from evaluation.formats.base import Format, Progress
from evaluation.ground_truth import GroundTruth
from fusion.arrow_arrays import numpy_array
from fusion.atomic import replacing
from fusion.coco_results import RawResults, Reading, Vocabulary
from fusion.coco_results.raw import RecordKey
from fusion.errors import InputError

__all__ = ["KittiFormat"]

_NUMBER = r"[-+]?[0-9.]+(?:[eE][-+]?[0-9]+)?"
_LINE = re.compile(rf"\S+(?:[ \t]+{_NUMBER}){{14,15}}[ \t]*")
_WORD = pa.dictionary(pa.int32(), pa.string())
_UNSEEN = "DontCare"


class KittiFormat(Format):
    """Labels and results of KITTI's object benchmark; what they say of three dimensions is left alone."""

    title = "KITTI text, a file per image"

    def recognises(self, look: Look) -> int:
        """Take files of lines with a name and 14 numbers, or 15 with a score."""
        if look.folder:
            return 2 * any(self.recognises(look.into(name)) for name in look.ending(".txt")[:1000])
        return 2 * any(_LINE.fullmatch(line.strip()) is not None for line in look.lines[:1])

    def results(
        self, path: Path, vocabulary: Vocabulary | None, reading: Reading, progress: Progress | None
    ) -> RawResults:
        """Read lines of 16 words, the last of which is the score."""
        rows = _rows(path)
        columns = rows.columns([_WORD, *[pa.float64()] * 15])
        if columns is None:
            row, words = next((row, words) for row, words in rows.rows() if len(words) != 16)
            remedy = "Lines of 15 are labels without a score: give them as ground truth" if len(words) == 15 else ""
            raise InputError(rows.place(row), f"expected 16 words with a score at the end, got {len(words)}", remedy)
        categories, category = keyed(columns[0], "name")
        found = raw_columns(
            images=[RecordKey(_stem(name), None) for name in rows.names],
            image=rows.file,
            categories=categories,
            category=category,
            score=numpy_array(columns[15]),
            box=np.stack([numpy_array(column) for column in columns[4:8]], axis=1),
        )
        return RawResults.of(str(path), found, native="xyxy", place=rows.within)

    def truth(self, path: Path, files: Mapping[str, Path]) -> GroundTruth:
        """Read labels; regions that are not to be cared for are left out."""
        rows = _rows(path)
        columns = rows.columns([_WORD, *[pa.float64()] * 14])
        if columns is None:
            row, words = next((row, words) for row, words in rows.rows() if len(words) != 15)
            remedy = "Lines of 16 are results with a score: give them as results" if len(words) == 16 else ""
            raise InputError(rows.place(row), f"expected 15 words, got {len(words)}", remedy)
        beside = (folder.name.replace("label", "image") for folder in (rows.folder, rows.folder.parent))
        pictures = picture_files([rows.folder.parent / name for name in beside if "image" in name])
        found = NamedObjects(path)
        images = []
        for name in rows.names:
            file = pictures.get(_stem(name))
            suffix = ".png" if file is None else file.suffix
            images.append(found.add_image(_stem(name) + suffix, (0, 0) if file is None else picture_size(file)))
        box = np.stack([numpy_array(column) for column in columns[4:8]], axis=1).tolist()
        unseen = 0
        for row, (file, label, corners) in enumerate(zip(rows.file.tolist(), columns[0].to_pylist(), box, strict=True)):
            if label == _UNSEEN:
                unseen += 1
                continue
            if corners[2] < corners[0] or corners[3] < corners[1]:
                raise InputError(rows.place(row), f"its box ends before it begins: {corners}", "Mend or drop the line")
            found.add(images[file], label, tuple(corners))
        if unseen:
            found.notes.append(f"{unseen} regions marked {_UNSEEN} are left out; detections on them count as wrong")
        return found.truth()

    def write(self, table: TablePieces, path: Path, truth: GroundTruth | None) -> list[str]:
        """Write a file for every image, as the benchmark wants it."""
        if table.metadata.unit != "pixel":
            raise InputError(path, "KITTI has boxes in pixels, those of the table are shares", "Export another format")
        names = {n: "_".join(name.split()) for n, name in category_names(table, truth, "kitti").items()}
        images = ImageNames(truth, "kitti")
        with replacing(path, folder=True) as folder:
            for piece in table:
                columns = piece.category_id, corners_of(piece), piece.score.astype(np.float64)
                for image in images.of(piece):
                    rows = zip(*(column[image.rows].tolist() for column in columns), strict=True)
                    file = folder / f"{image.stem}.txt"
                    file.parent.mkdir(parents=True, exist_ok=True)
                    text = "".join(
                        f"{names[c]} -1 -1 -10 {x1} {y1} {x2} {y2} -1 -1 -1 -1000 -1000 -1000 -10 {s}\n"
                        for c, (x1, y1, x2, y2), s in rows
                    )
                    file.write_text(text, encoding="utf-8")
            for image in images.others():
                file = folder / f"{image.stem}.txt"
                file.parent.mkdir(parents=True, exist_ok=True)
                file.touch()
        return left_out(table, "mask", "soft_mask", "member", "view", "votes")


def _rows(path: Path) -> TextRows:
    look = Look.at(path)
    names = look.ending(".txt")
    inner = [name for name in names if "label" in name.rpartition("/")[0]]
    return TextRows(path if look.folder else path.parent, inner or names, "KITTI text")


def _stem(name: str) -> str:
    parts = PurePosixPath(stem_of(name)).parts
    return "/".join(part for place, part in enumerate(parts) if place == len(parts) - 1 or "label" not in part)
