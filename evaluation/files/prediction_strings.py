"""Columns of Kaggle's prediction strings: the words of all detections of an image in one field."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from evaluation.open_images_csv.columns import TEXT, read_csv
from fusion.arrow_arrays import numpy_array
from fusion.errors import InputError

__all__ = ["PredictionStrings", "read_strings"]


class PredictionStrings(NamedTuple):
    """What stands in the strings of a file.

    Attributes:
        path: The file.
        image: [rows] image of each row.
        words: [words] all words, row after row.
        length: int64 [rows], number of words of each row.
        lines: int64 [rows], line of each row.
        column: Name of the column of strings.
        ignored: Number of rows that are the string for no finding.
    """

    path: Path
    image: pa.DictionaryArray
    words: pa.Array
    length: np.ndarray
    lines: np.ndarray
    column: str
    ignored: int

    def where(self, row: int) -> str:
        """Name a row for messages."""
        return f"{self.path}, line {self.lines[row]}, column {self.column}"

    def rows(self, step: int) -> np.ndarray:
        """Return the row of each detection of so many words: int64 [n]."""
        return np.repeat(np.arange(len(self.length)), self.length // step)

    def numbers(self, step: int) -> np.ndarray:
        """Return score and box of each detection, its last five words: float64 [n, 5].

        Raises:
            InputError: If a word is no number; its row is named.
        """
        chosen = self.words
        if step > 5:
            chosen = chosen.take(pa.array(np.flatnonzero(np.arange(len(chosen)) % step >= step - 5)))
        try:
            return numpy_array(chosen.cast(pa.float64())).reshape(-1, 5)
        except pa.ArrowInvalid as error:
            row = self.rows(step)
            for place, word in enumerate(chosen.to_pylist()):
                try:
                    float(word)
                except ValueError:
                    problem = f"expected a number, got {word[:40]!r}"
                    raise InputError(self.where(int(row[place // 5])), problem, "Mend the row") from error
            raise InputError(self.path, f"expected numbers ({str(error).splitlines()[0]})", "Mend the rows") from error


def read_strings(path: Path, image: str, column: str, nothing: str | None = None) -> PredictionStrings:
    """Read a file.

    Args:
        path: The CSV file.
        image: Name of the column of images.
        column: Name of that of strings.
        nothing: The string that stands for no detection, if any does.

    Raises:
        InputError: If it cannot be read.
    """
    file = read_csv(path, {image: TEXT, column: pa.string()})
    texts = pc.utf8_trim_whitespace(pc.fill_null(file.table[column], "")).combine_chunks()
    none = pa.array(np.zeros(len(texts), np.bool_)) if nothing is None else pc.equal(texts, nothing)
    words = pc.utf8_split_whitespace(texts)
    count = numpy_array(pc.list_value_length(words)).astype(np.int64)
    count[numpy_array(pc.or_(pc.equal(texts, ""), none))] = 0
    flat = words.filter(pa.array(count > 0)).flatten()
    ignored = int(numpy_array(none).sum())
    return PredictionStrings(path, file.texts(image), flat, count, file.lines, column, ignored)
