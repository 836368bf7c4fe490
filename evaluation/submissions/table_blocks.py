"""Tables of any size, in pieces of whole images."""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from evaluation.submissions.audit import Block
from fusion.errors import InputError
from fusion.storage import part_paths, read_table
from fusion.table import DetectionTable, Metadata

__all__ = ["TableBlocks", "block_of"]

_ROWS = 65536


class TableBlocks:
    """A table in memory or on disk that can be gone through again and again.

    Args:
        table: A table, or the path of one: a Parquet file or a folder of parts.

    Attributes:
        source: Its name for messages.
        rows: Number of detections.
        metadata: What the table, or its first part, says about itself.

    Raises:
        InputError: If there is no table.
    """

    def __init__(self, table: DetectionTable | str | os.PathLike[str]) -> None:
        self._table = table if isinstance(table, DetectionTable) else None
        self._paths = [] if isinstance(table, DetectionTable) else part_paths(table)
        self.source = "the table" if isinstance(table, DetectionTable) else str(table)
        if self._table is not None:
            self.metadata, self.rows = self._table.metadata, len(self._table)
            return
        found = [_metadata(path) for path in self._paths]
        self.metadata, self.rows = found[0][0], sum(rows for _, rows in found)
        if any(metadata != self.metadata for metadata, _ in found):
            raise InputError(
                self.source, "its parts disagree in their metadata", "Do not mix parts of different tables in a folder"
            )

    def __iter__(self) -> Iterator[DetectionTable]:
        """Yield the table in pieces; all rows of an image are in one piece.

        Raises:
            InputError: If rows break a rule of detection tables, or an image is in several pieces.
        """
        if self._table is not None:
            yield from _cut(self._table)
            return
        seen: set[int | str] = set()
        for path in self._paths:
            for piece in _pieces(path, self.metadata):
                ids = piece.image_ids.tolist()
                again = seen.intersection(ids)
                if again:
                    raise InputError(
                        path,
                        f"image {next(iter(again))!r} occurs again after others: the rows are not sorted by image",
                        "Read it with fusion.read_table and write it again",
                    )
                seen.update(ids)
                yield piece


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


def _metadata(path: Path) -> tuple[Metadata, int]:
    try:
        file = pq.ParquetFile(path)
        metadata = msgspec.json.decode(file.schema_arrow.metadata[b"quorum"], type=Metadata)
    except (pa.ArrowException, OSError, TypeError, KeyError, msgspec.MsgspecError):
        table = read_table(path)  # says what is wrong
        return table.metadata, len(table)
    return metadata, file.metadata.num_rows


def _pieces(path: Path, metadata: Metadata) -> Iterator[DetectionTable]:
    rest: pa.Table | None = None
    for batch in pq.ParquetFile(path, pre_buffer=False).iter_batches(_ROWS):
        arrow = pa.Table.from_batches([batch])
        if rest is not None:
            arrow = pa.concat_tables([rest, arrow]).unify_dictionaries()
        table = DetectionTable.from_arrow(arrow, metadata, path)
        if not len(table):
            continue
        last = int(table.image_start[-2])  # the last image may go on in the next batch
        rest = table.arrow.slice(last)
        if last:
            yield replace(table, arrow=table.arrow.slice(0, last))
    if rest is not None and len(rest):
        yield DetectionTable.from_arrow(rest, metadata, path)
