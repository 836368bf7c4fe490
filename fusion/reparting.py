"""Tables cut into parts anew, in bounded memory."""

import os
import tempfile
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa

from fusion.arrow_arrays import arrow_array, numpy_array
from fusion.atomic import keep_inputs, replacing
from fusion.places import place_of
from fusion.storage import BY_ID, check_parts, part_name, part_of, read_metadata, read_pieces, read_table, write_table
from fusion.table import DetectionTable, Metadata, Part

__all__ = ["Dealer", "repart"]

_ROWS = 1 << 19  # rows in memory until they are dealt


def repart(path: str | os.PathLike[str], output: str | os.PathLike[str], parts: int) -> int:
    """Cut a table into parts by the ids of its images; one part at a time is in memory.

    Args:
        path: A Parquet file or a folder of parts, however it is cut.
        output: A folder that does not exist yet.
        parts: Their number, at most 512.

    Returns:
        The number of rows.

    Raises:
        InputError: If the table cannot be read or the folder not be written.
    """
    check_parts(parts)
    keep_inputs({"output": place_of(output)}, [place_of(path)])
    metadata, rows = read_metadata(path)
    with replacing(output, folder=True) as folder, Dealer(folder.parent, parts) as dealer:
        if not rows:
            dealer.take(read_table(path).arrow)
        for piece in read_pieces(path):
            dealer.take(piece.arrow)
        dealer.write(folder, metadata)
    return rows


class Dealer:
    """Rows of any images in any order, dealt to parts that wait on disk; a context, after which these are gone.

    Args:
        place: Folder on the disk that they wait on.
        parts: Number of parts.
    """

    def __init__(self, place: Path, parts: int) -> None:
        check_parts(parts)
        self._parts, self._waiting, self._rows = parts, list[pa.Table](), 0
        place.mkdir(parents=True, exist_ok=True)
        self._place = tempfile.TemporaryDirectory(prefix=".quorum-", suffix=".parts", dir=place)
        self._folder = Path(self._place.name)
        self._schema: pa.Schema | None = None

    def __enter__(self) -> "Dealer":
        return self

    def __exit__(self, *error: object) -> None:
        self._place.cleanup()

    def take(self, rows: pa.Table) -> None:
        """Take rows with the columns of a detection table."""
        self._schema = self._schema or rows.schema
        self._waiting.append(rows)
        self._rows += len(rows)
        if self._rows >= _ROWS:
            self._deal()

    def write(self, folder: Path, metadata: Metadata) -> tuple[int, int]:
        """Write the parts, sorted by image and checked; rows of an image stay in the order in which they came.

        Args:
            folder: Where they go.
            metadata: What the table says about itself.

        Returns:
            The number of rows and of images.

        Raises:
            InputError: If a value is not allowed.
        """
        self._deal()
        rows = images = 0
        for number in range(self._parts):
            part = Part(rule=BY_ID, count=self._parts, number=number)
            whole = msgspec.structs.replace(metadata, part=None)
            table = DetectionTable.from_arrow(self._read(number), whole, folder.name)
            write_table(table, folder / part_name(number), part=part)
            rows, images = rows + len(table), images + len(table.image_ids)
        return rows, images

    def _deal(self) -> None:
        if not self._rows:
            return
        rows = pa.concat_tables(self._waiting, promote_options="default").unify_dictionaries().combine_chunks()
        self._waiting, self._rows = [], 0
        numbers = _numbers(rows["image_id"].chunk(0), self._parts)
        order = np.argsort(numbers, kind="stable")
        start = np.concatenate(([0], np.cumsum(np.bincount(numbers, minlength=self._parts))))
        for number in np.flatnonzero(np.diff(start)).tolist():
            own = rows.take(arrow_array(order[start[number] : start[number + 1]]))
            options = pa.ipc.IpcWriteOptions(compression="lz4")
            with (
                (self._folder / str(number)).open("ab") as file,
                pa.ipc.new_stream(file, own.schema, options=options) as writer,
            ):
                writer.write_table(own)

    def _read(self, number: int) -> pa.Table:
        path, pieces = self._folder / str(number), []
        if path.exists():
            with path.open("rb") as file:
                size = path.stat().st_size
                while file.tell() < size:
                    pieces.append(pa.ipc.open_stream(file).read_all())
            path.unlink()
        if not pieces:
            if self._schema is None:
                raise ValueError("no rows were taken, nor a table without rows")
            return self._schema.empty_table()
        return pa.concat_tables(pieces, promote_options="default").unify_dictionaries()


def _numbers(ids: pa.Array, parts: int) -> np.ndarray:
    """Return the part of each row, uint16 [n]: sorted in linear time."""
    if not pa.types.is_dictionary(ids.type):
        return part_of(numpy_array(ids), parts).astype(np.uint16)
    names = np.array(ids.dictionary.to_pylist(), dtype=object)
    numbers: np.ndarray = part_of(names, parts).astype(np.uint16)[numpy_array(ids.indices)]
    return numbers
