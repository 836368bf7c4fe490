"""Tables of any size, in pieces of whole images."""

import os
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from evaluation.submissions.audit import Block
from fusion.storage import read_metadata, read_pieces
from fusion.table import DetectionTable

__all__ = ["TableBlocks", "block_of"]

_ROWS = 65536


class TableBlocks:
    """A table in memory or on disk that can be gone through again and again.

    Args:
        table: A table, or the path of one: a Parquet file or a folder of parts.

    Attributes:
        source: Its name for messages.
        rows: Number of detections.
        metadata: What the table says about itself.

    Raises:
        InputError: If there is no table.
    """

    def __init__(self, table: DetectionTable | str | os.PathLike[str]) -> None:
        self._table = table
        if isinstance(table, DetectionTable):
            self.source, self.metadata, self.rows = "the table", table.metadata, len(table)
        else:
            self.source = str(table)
            self.metadata, self.rows = read_metadata(table)

    def __iter__(self) -> Iterator[DetectionTable]:
        """Yield the table in pieces; all rows of an image are in one piece.

        Raises:
            InputError: If rows break a rule of detection tables, or an image is in several pieces.
        """
        if isinstance(self._table, DetectionTable):
            return _cut(self._table)
        return read_pieces(self._table, _ROWS)


def block_of(table: DetectionTable, first_row: int) -> Block:
    """Return a piece of a table as the audit takes it.

    Args:
        table: The piece.
        first_row: Number of its first row in the whole table, for messages.
    """
    ids = table.image_id

    def place(row: int) -> str:
        return f"row {first_row + row} (image {ids[row]})"

    box = np.stack([table.column(name).astype(np.float64) for name in "xywh"], axis=1)
    score = table.score.astype(np.float64)
    category = table.category_id.astype(np.int64)
    number = np.arange(first_row, first_row + len(table))
    return Block(ids, category, score, box, table.mask, table.metadata.unit == "normalized", number, "row", place)


def _cut(table: DetectionTable) -> Iterator[DetectionTable]:
    starts = table.image_start
    low = 0
    while low < len(table):
        # as many whole images as fit, but at least one
        last = max(int(np.searchsorted(starts, low + _ROWS, side="right")) - 1, 0)
        high = int(starts[last])
        if high <= low:
            high = int(starts[int(np.searchsorted(starts, low, side="right"))])
        yield replace(table, arrow=table.arrow.slice(low, high - low))
        low = high
