"""Tables of any size, in pieces of whole images in order."""

import os
from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from evaluation.truth_columns import places_of
from fusion.arrow_arrays import numpy_array
from fusion.in_order import cut, pieces_in_order
from fusion.parquet import opened
from fusion.storage import image_ids_of, part_paths, read_metadata, read_table
from fusion.table import DetectionTable

__all__ = ["TablePieces"]

_ROWS = 65536


class TablePieces:
    """A table in memory or on disk that can be gone through again and again.

    Args:
        table: A table, or the path of one: a Parquet file or a folder of parts.
        images: [n] ids of the images that are gone through, ascending; all by default.

    Attributes:
        table: The table or its path.
        source: Its name for messages.
        rows: Number of detections, of other images as well.
        metadata: What the table says about itself.

    Raises:
        InputError: If there is no table.
    """

    def __init__(
        self, table: DetectionTable | str | os.PathLike[str], *, images: npt.NDArray[np.generic] | None = None
    ) -> None:
        self.table, self._images = table, images
        if isinstance(table, DetectionTable):
            self.source, self.metadata, self.rows = "the table", table.metadata, len(table)
        else:
            self.source = str(table)
            self.metadata, self.rows = read_metadata(table)

    def __iter__(self) -> Iterator[DetectionTable]:
        """Yield the table in pieces; all rows of an image are in one piece, and images ascend.

        Raises:
            InputError: If rows break a rule of detection tables, or an image is in several pieces.
        """
        pieces = (
            cut(self.table, _ROWS) if isinstance(self.table, DetectionTable) else pieces_in_order(self.table, _ROWS)
        )
        for piece in pieces:
            own = piece if self._images is None else piece.select_images(self._images)
            if len(own):
                yield own

    @cached_property
    def nothing(self) -> DetectionTable:
        """The table without its rows."""
        if isinstance(self.table, DetectionTable):
            return replace(self.table, arrow=self.table.arrow.slice(0, 0))
        return read_table(self.table, images=[])

    @cached_property
    def category_ids(self) -> np.ndarray:
        """int32 [k], the categories that occur, ascending."""
        if isinstance(self.table, DetectionTable):
            return np.unique(self.table.category_id)
        found = np.zeros(0, np.int32)
        for part in part_paths(self.table):
            with opened(part, pre_buffer=False) as file:
                for batch in file.iter_batches(_ROWS * 16, columns=["category_id"]):
                    found = np.union1d(found, numpy_array(batch["category_id"]))
        return found

    def images_beside(self, known: np.ndarray) -> int:
        """Return the number of images of the table that are not among some ids."""
        if isinstance(self.table, DetectionTable):
            ids = [self.table.image_ids]
        else:
            ids = [image_ids_of(Path(part)) for part in part_paths(self.table)]
        return sum(int(np.count_nonzero(places_of(known, own) < 0)) for own in ids)
