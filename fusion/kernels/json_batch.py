"""Where scanned detection records are put: arrays that are filled, taken over and filled again."""

from typing import NamedTuple

import numpy as np

__all__ = [
    "CATEGORY",
    "COUNTS",
    "DIGITS",
    "HARD",
    "IMAGE",
    "INTEGER",
    "NAMES",
    "PADDING",
    "RECORDS",
    "ROWS",
    "TEXT",
    "Batch",
    "new_batch",
]

# Kinds of ids.
INTEGER = 0
TEXT = 1

# Places in Batch.used.
ROWS, IMAGE, CATEGORY, DIGITS, HARD, COUNTS, NAMES, RECORDS = range(8)

# Zero bytes behind the text: every loop over the text stops there, without a test of its own.
PADDING = 8


class Batch(NamedTuple):
    """Rows under way; texts lie one behind the other, `*_end[i + 1]` closes row i.

    Attributes:
        record: int64 [rows], number of the record in the file.
        image: int64 [rows], the id where it is an integer.
        image_kind: uint8 [rows], INTEGER or TEXT.
        image_text: uint8, UTF-8 of the ids that are texts.
        image_end: int32 [rows + 1].
        category: int64 [rows]; its kind, text and end as for the image.
        category_kind: uint8 [rows].
        category_text: uint8.
        category_end: int32 [rows + 1].
        value: float64 [rows, 5], score and the four numbers of the box.
        boxed: bool [rows], whether there was a box.
        digits: uint8, the numbers that are left to Arrow.
        digits_end: int32 [5 rows + 1].
        digits_slot: int64 [5 rows], where each belongs in `value.ravel()`.
        masked: bool [rows], whether there was a mask.
        size: int32 [rows, 2], height and width of the mask.
        pixels: int64 [rows], sum of its runs, -1 where they are not in order.
        counts: uint8, the compressed runs.
        counts_end: int32 [rows + 1].
        names: uint8, keys that mean nothing to the scanner, each once.
        names_end: int32, where each name ends.
        used: int64 [8], how much of the above is in use.
    """

    record: np.ndarray
    image: np.ndarray
    image_kind: np.ndarray
    image_text: np.ndarray
    image_end: np.ndarray
    category: np.ndarray
    category_kind: np.ndarray
    category_text: np.ndarray
    category_end: np.ndarray
    value: np.ndarray
    boxed: np.ndarray
    digits: np.ndarray
    digits_end: np.ndarray
    digits_slot: np.ndarray
    masked: np.ndarray
    size: np.ndarray
    pixels: np.ndarray
    counts: np.ndarray
    counts_end: np.ndarray
    names: np.ndarray
    names_end: np.ndarray
    used: np.ndarray


def new_batch(room: int) -> Batch:
    """Make a batch that can take `room` bytes of JSON without checking for space: texts only get shorter."""
    rows = room // 56 + 1  # a record with all of its keys takes at least 56 bytes
    return Batch(
        record=np.empty(rows, np.int64),
        image=np.empty(rows, np.int64),
        image_kind=np.empty(rows, np.uint8),
        image_text=np.empty(room, np.uint8),
        image_end=np.zeros(rows + 1, np.int32),
        category=np.empty(rows, np.int64),
        category_kind=np.empty(rows, np.uint8),
        category_text=np.empty(room, np.uint8),
        category_end=np.zeros(rows + 1, np.int32),
        value=np.empty((rows, 5)),
        boxed=np.empty(rows, np.bool_),
        digits=np.empty(room, np.uint8),
        digits_end=np.zeros(5 * rows + 1, np.int32),
        digits_slot=np.empty(5 * rows, np.int64),
        masked=np.empty(rows, np.bool_),
        size=np.empty((rows, 2), np.int32),
        pixels=np.empty(rows, np.int64),
        counts=np.empty(room, np.uint8),
        counts_end=np.zeros(rows + 1, np.int32),
        names=np.empty(4096, np.uint8),
        names_end=np.zeros(65, np.int32),
        used=np.zeros(8, np.int64),
    )
