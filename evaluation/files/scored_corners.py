"""Text lines of a word, a score and four corners, which several formats have."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from evaluation.files.text_rows import TextRows
from fusion.arrow_arrays import numpy_array
from fusion.errors import InputError

__all__ = ["ScoredCorners", "read_scored_corners"]


class ScoredCorners(NamedTuple):
    """Lines of text.

    Attributes:
        rows: The lines.
        word: [n] the first word of each.
        score: float64 [n].
        box: float64 [n, 4].
    """

    rows: TextRows
    word: pa.ChunkedArray
    score: np.ndarray
    box: np.ndarray


def read_scored_corners(folder: Path, names: list[str], what: str, expected: str) -> ScoredCorners:
    """Read files of such lines.

    Args:
        folder: Where the files are.
        names: The files.
        what: What a file is, for messages.
        expected: The words of a line, for messages.

    Raises:
        InputError: If a line has other words; it is named.
    """
    rows = TextRows(folder, names, what)
    columns = rows.columns([pa.dictionary(pa.int32(), pa.string()), *[pa.float64()] * 5])
    if columns is None:
        row, words = next((row, words) for row, words in rows.rows() if len(words) != 6)
        raise InputError(rows.place(row), f"expected {expected}, got {len(words)} words", "Mend or drop the line")
    word, *numbers = columns
    score, *box = (numpy_array(column) for column in numbers)
    return ScoredCorners(rows, word, score, np.stack(box, axis=1))
