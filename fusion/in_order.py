"""Tables on disk in pieces of whole images, in order of the images also where they are in parts."""

import os
from collections.abc import Iterator
from dataclasses import replace

import msgspec
import numpy as np
import pyarrow as pa

from fusion.errors import InputError
from fusion.storage import part_paths, read_metadata, read_pieces
from fusion.table import DetectionTable

__all__ = ["cut", "pieces_in_order"]

_LEAST = 1024  # rows of a part that are read at a time


def pieces_in_order(path: str | os.PathLike[str], rows: int = 65536) -> Iterator[DetectionTable]:
    """Yield a table on disk in pieces of whole images, which ascend over all parts: joined they are the whole.

    Args:
        path: A Parquet file or a folder of parts.
        rows: About how many are in memory.

    Raises:
        InputError: As `read_pieces`; if an image is in two parts.
    """
    parts = part_paths(path)
    if len(parts) == 1:
        yield from read_pieces(path, rows)
        return
    metadata = msgspec.structs.replace(read_metadata(path)[0], part=None)
    streams = [read_pieces(part, max(_LEAST, rows // len(parts))) for part in parts]
    heads = [next(stream, None) for stream in streams]
    while any(head is not None for head in heads):
        bound = min(head.image_ids[-1] for head in heads if head is not None)
        taken, images = [], list[int | str]()
        for number, head in enumerate(heads):
            count = 0 if head is None else int(np.searchsorted(head.image_ids, bound, side="right"))
            if head is None or not count:
                continue
            end = int(head.image_start[count])
            taken.append(head.arrow.slice(0, end))
            images += head.image_ids[:count].tolist()
            rest = replace(head, arrow=head.arrow.slice(end))
            heads[number] = rest if len(rest) else next(streams[number], None)
        piece = DetectionTable.from_arrow(pa.concat_tables(taken).unify_dictionaries(), metadata, path)
        if len(piece.image_ids) < len(images):
            twice = next(image for place, image in enumerate(images) if image in images[:place])
            raise InputError(path, f"image {twice!r} is in two parts", "Write the table again in parts")
        yield piece


def cut(table: DetectionTable, rows: int) -> Iterator[DetectionTable]:
    """Yield a table in pieces of whole images, of about so many rows each; one without rows is a piece as well."""
    starts = table.image_start
    cuts = np.unique(np.searchsorted(starts, np.arange(0, len(table), rows)))
    bounds = np.unique([*starts[cuts].tolist(), 0, len(table)]).tolist()
    for low, high in zip(bounds[:-1] or [0], bounds[1:] or [0], strict=True):
        yield replace(table, arrow=table.arrow.slice(low, high - low))
