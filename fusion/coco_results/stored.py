"""Columns of results that are too many for memory: files without a name, mapped into memory."""

import mmap
from collections.abc import Sequence
from typing import IO, Any

import numpy as np
import pyarrow as pa

from fusion.table_columns import MASK_TYPE
from fusion.unnamed_files import unnamed_files

__all__ = ["StoredColumns"]

_KINDS = ((np.int32, 1), (np.int32, 1), (np.float64, 1), (np.float64, 4), (np.int64, 1))
_MASKS = pa.schema([("mask", MASK_TYPE)])


class StoredColumns:
    """Image, category, score, box and number of records, and their masks, in the folder for temporary files.

    The system reads back what is looked at and lets go of it where memory is short. Nothing is left when the process
    ends, however it ends.
    """

    def __init__(self) -> None:
        self._files: list[IO[bytes]] = []
        self._text: IO[bytes] | None = None
        self._masks: Any = None
        self._mapped: list[mmap.mmap] = []

    def __bool__(self) -> bool:
        return bool(self._files)

    def append(self, columns: Sequence[np.ndarray], masks: Sequence[pa.Array]) -> None:
        """Store some records behind those that are there.

        Args:
            columns: Image, category, score, box and number; none where there are no records.
            masks: Arrays of `MASK_TYPE`, of as many rows in all.
        """
        if not self._files:
            *self._files, self._text = unnamed_files(self, len(_KINDS) + 1)
            self._masks = pa.ipc.new_stream(pa.PythonFile(self._text, mode="w"), _MASKS)
        for file, column, (kind, _) in zip(self._files, columns, _KINDS, strict=False):
            file.write(np.ascontiguousarray(column, kind).data)
        for mask in masks:
            self._masks.write_batch(pa.record_batch([mask], schema=_MASKS))

    def arrays(self) -> list[np.ndarray]:
        """Return image, category, score, box [n, 4] and number, read-only."""
        found = []
        for file, (kind, width) in zip(self._files, _KINDS, strict=True):
            column = np.frombuffer(self._map(file), kind)
            found.append(column.reshape(-1, width) if width > 1 else column)
        return found

    def masks(self) -> pa.ChunkedArray:
        """Return the masks; nothing can be appended after it."""
        self._masks.close()
        if self._text is None:
            raise ValueError("nothing was stored")
        return pa.ipc.open_stream(pa.BufferReader(pa.py_buffer(self._map(self._text)))).read_all()["mask"]

    def forget(self) -> None:
        """Let go of the pages that were read; they are read again when they are looked at."""
        for mapped in self._mapped if hasattr(mmap, "MADV_DONTNEED") else ():
            mapped.madvise(mmap.MADV_DONTNEED)

    def _map(self, file: IO[bytes]) -> mmap.mmap:
        file.flush()
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self._mapped.append(mapped)
        return mapped
