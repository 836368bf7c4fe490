"""Kaggle's CSV with a PredictionString per image: global wheat's and VinBigData's."""

from pathlib import Path

import numpy as np
import pyarrow as pa

from evaluation.files.look import Look
from evaluation.files.prediction_strings import PredictionStrings, read_strings
from evaluation.files.raw_columns import keyed, raw_columns
from evaluation.formats.base import Format, Progress
from evaluation.formats.csv import csv_header
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
        strings = read_strings(path, image, string, _NOTHING)
        step = _step(strings)
        row, numbers = strings.rows(step), strings.numbers(step)
        images, of_row = keyed(strings.image)
        if step == 6:
            categories, category = keyed(strings.words.take(pa.array(np.arange(0, len(strings.words), 6))))
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
        first = np.cumsum(strings.length // step) - strings.length // step
        notes = [f"{strings.ignored} images have the entry for no finding, which is no box"] if strings.ignored else []
        return RawResults.of(
            str(path),
            columns,
            native="xyxy" if step == 6 else "xywh",
            notes=notes,
            place=lambda one: f"line {strings.lines[row[one]]}, detection {one - first[row[one]] + 1}",
        )


def _files(look: Look) -> list[str]:
    names = [name for name in look.ending(".csv") if "/" not in name and not name.startswith("sample_")]
    wanted = {name for name in names if "submission" in name}
    return sorted(wanted or names)


def _step(strings: PredictionStrings) -> int:
    """Return how many words a detection has: 6, or 5 without a class."""
    count = strings.length
    fitting = [step for step in (6, 5) if not (count % step).any()]
    if len(fitting) == 2 and len(strings.words):  # of 30 words per image: a class is a whole number, a score is not
        first = strings.words.take(pa.array(np.arange(0, len(strings.words), 6))).to_pylist()
        fitting = [6] if all(word.isdigit() for word in first) else [5]
    if not fitting:
        row = int(np.flatnonzero((count % 6 > 0) & (count % 5 > 0))[:1].sum())
        problem = f"expected `score x y w h` or `class score x1 y1 x2 y2` for each box, got {count[row]} words"
        raise InputError(strings.where(row), problem, "Mend the row")
    return fitting[0]
