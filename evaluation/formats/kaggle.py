"""Kaggle's CSV with a PredictionString per image: global wheat's and VinBigData's."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from evaluation.files.look import Look
from evaluation.files.raw_columns import keyed, raw_columns
from evaluation.formats.base import Format, Progress
from evaluation.formats.csv import csv_header
from evaluation.open_images_csv.columns import TEXT, read_csv
from fusion.arrow_arrays import numpy_array
from fusion.coco_results import RawResults, Reading, Vocabulary
from fusion.coco_results.raw import RecordKey
from fusion.errors import InputError

__all__ = ["KaggleFormat"]

_NOTHING = "14 1 0 0 1 1"  # VinBigData's "no finding"


class KaggleFormat(Format):
    """`score x y w h ...` (global wheat) or `class score x1 y1 x2 y2 ...` (VinBigData), in pixels."""

    title = "Kaggle's PredictionString: global wheat and VinBigData"

    def recognises(self, look: Look) -> int:
        """Take CSV of image_id and PredictionString, or of a folder the file submission.csv."""
        if look.folder:
            return 2 * any(self.recognises(look.into(name)) for name in _files(look))
        names = {name.lower() for name in csv_header(look)[0]}
        return int("predictionstring" in names and "image_id" in names)

    def results(
        self, path: Path, vocabulary: Vocabulary | None, reading: Reading, progress: Progress | None
    ) -> RawResults:
        """Read a submission."""
        look = Look.at(path)
        if look.folder:
            names = _files(look)
            if len(names) > 1:
                raise InputError(path, f"several files may be meant: {', '.join(names)}", "Name one of them")
            path = path / names[0]
            look = Look.at(path)
        header = {name.lower(): name for name in csv_header(look)[0]}
        image, string = header["image_id"], header["predictionstring"]
        file = read_csv(path, {image: TEXT, string: pa.string()})
        texts = pc.utf8_trim_whitespace(pc.fill_null(file.table[string], "")).combine_chunks()
        nothing = numpy_array(pc.equal(texts, _NOTHING))
        words = pc.utf8_split_whitespace(pc.if_else(pa.array(nothing), "", texts))
        count = numpy_array(pc.list_value_length(words)).astype(np.int64)
        count[numpy_array(pc.or_(pc.equal(texts, ""), pa.array(nothing)))] = 0
        flat = words.filter(pa.array(count > 0)).flatten()
        step = _step(count, flat, file.lines, path)
        boxes = count // step
        row = np.repeat(np.arange(len(count)), boxes)
        numbers = _numbers(flat, step, path, row, file.lines)
        images, of_row = keyed(file.texts(image))
        if step == 6:
            categories, category = keyed(flat.take(pa.array(np.arange(0, len(flat), 6))))
        else:
            only = 1 if vocabulary is None or len(vocabulary.category_ids) != 1 else int(vocabulary.category_ids[0])
            categories, category = [RecordKey(only, None)], np.zeros(len(row), np.int32)
        columns = raw_columns(
            images=images,
            image=of_row[row],
            categories=categories,
            category=category,
            score=numbers[:, 0],
            box=numbers[:, 1:],
        )
        first = np.cumsum(boxes) - boxes
        notes = [f"{int(nothing.sum())} images have the entry for no finding, which is no box"] if nothing.any() else []
        return RawResults.of(
            str(path),
            columns,
            native="xyxy" if step == 6 else "xywh",
            notes=notes,
            place=lambda one: f"line {file.lines[row[one]]}, detection {one - first[row[one]] + 1}",
        )


def _files(look: Look) -> list[str]:
    names = [name for name in look.ending(".csv") if "/" not in name and not name.startswith("sample_")]
    wanted = {name for name in names if "submission" in name}
    return sorted(wanted or names)


def _step(count: np.ndarray, flat: pa.Array, lines: np.ndarray, path: Path) -> int:
    """Return how many words a detection has: 6, or 5 without a class."""
    some = count[count > 0]
    fitting = [step for step in (6, 5) if not (some % step).any()]
    if len(fitting) == 2 and len(flat):  # of 30 words per image: a class is a whole number and a score is not
        first = flat.take(pa.array(np.arange(0, len(flat), 6))).to_pylist()
        fitting = [6] if all(word.isdigit() for word in first) else [5]
    if not fitting:
        row = int(np.flatnonzero((count % 6 > 0) & (count % 5 > 0) & (count > 0))[:1].sum())
        problem = f"expected `score x y w h` or `class score x1 y1 x2 y2` for each box, got {count[row]} words"
        raise InputError(f"{path}, line {lines[row]}, column PredictionString", problem, "Mend the row")
    return fitting[0]


def _numbers(flat: pa.Array, step: int, path: Path, row: np.ndarray, lines: np.ndarray) -> np.ndarray:
    """Return score and box of each detection, float64 [n, 5]."""
    chosen = flat if step == 5 else flat.take(pa.array(np.flatnonzero(np.arange(len(flat)) % 6)))
    try:
        return numpy_array(chosen.cast(pa.float64())).reshape(-1, 5)
    except pa.ArrowInvalid as error:
        for place, word in enumerate(chosen.to_pylist()):
            try:
                float(word)
            except ValueError:
                where = f"{path}, line {lines[row[place // 5]]}, column PredictionString"
                raise InputError(where, f"expected a number, got {word[:40]!r}", "Mend the row") from error
        raise InputError(path, f"expected numbers ({str(error).splitlines()[0]})", "Mend the rows") from error
