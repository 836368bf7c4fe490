"""Writing COCO results: a detection table as a JSON list, in blocks."""

import os
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fusion.arrow_arrays import numpy_array
from fusion.atomic import replacing
from fusion.coco_results.records import Rle
from fusion.errors import InputError
from fusion.in_order import pieces_in_order
from fusion.masks import mask_bounds
from fusion.storage import read_metadata
from fusion.table import DetectionTable

__all__ = ["write_coco_results"]

_ROWS = 32768


class _Boxed(msgspec.Struct, gc=False):
    image_id: Any
    category_id: int
    bbox: list[float]
    score: float


class _Masked(msgspec.Struct, gc=False, omit_defaults=True):
    image_id: Any
    category_id: int
    score: float
    bbox: list[float] | None = None
    segmentation: Rle | None = None


def write_coco_results(
    table: DetectionTable | str | os.PathLike[str],
    path: str | os.PathLike[str],
    *,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write a table as a COCO results file: a list of {image_id, category_id, bbox, score, segmentation}.

    Numbers have as many digits as it takes to read back the same 64 bits; float32 columns are written
    as the 64-bit numbers that they equal. Boxes that are only the bounds of their masks
    (metadata.boxes is "from_masks") are left out, unless a step has changed one of them.
    Members, views and votes have no place in this format. The file appears as a whole or not at all.

    Args:
        table: What to write, or its file or folder of parts: of that some rows at a time are in memory.
        path: The file.
        progress: Called with the rows written so far and in all.

    Raises:
        InputError: If boxes are in normalized units, the table cannot be read, or the file cannot be written.
    """
    if isinstance(table, DetectionTable):
        metadata, count = table.metadata, len(table)
    else:
        metadata, count = read_metadata(table)
    if metadata.unit != "pixel":
        raise InputError(path, f"COCO results are in pixels, the boxes of the table are {metadata.unit}")
    boxes = metadata.boxes != "from_masks" or not all(map(_bounds, _blocks(table)))
    encoder, done = msgspec.json.Encoder(), 0
    with replacing(path) as temporary, temporary.open("wb") as file:
        file.write(b"[")
        for rows in _blocks(table):
            file.write(b"," if done else b"")
            file.write(memoryview(encoder.encode(list(_records(rows, boxes))))[1:-1])
            done += len(rows)
            if progress is not None:
                progress(done, count)
        file.write(b"]\n")


def _blocks(table: DetectionTable | str | os.PathLike[str]) -> Iterator[pa.Table]:
    for piece in [table] if isinstance(table, DetectionTable) else pieces_in_order(table):
        for low in range(0, len(piece), _ROWS):
            yield piece.arrow.slice(low, _ROWS)


def _records(rows: pa.Table, boxes: bool) -> Iterator[_Boxed | _Masked]:
    images, categories = rows["image_id"].to_pylist(), rows["category_id"].to_pylist()
    scores = _doubles(rows, "score").tolist()
    box: list[Any] = np.stack([_doubles(rows, name) for name in "xywh"], axis=1).tolist()
    if "mask" not in rows.column_names:
        return map(_Boxed, images, categories, box, scores)
    return map(_Masked, images, categories, scores, box if boxes else [None] * len(box), _masks(rows))


def _masks(rows: pa.Table) -> list[Rle | None]:
    mask = rows["mask"].combine_chunks()
    height, width, counts = (pc.struct_field(mask, name) for name in ("height", "width", "counts"))
    texts = counts.cast(pa.large_string()).to_pylist()
    parts = zip(height.to_pylist(), width.to_pylist(), texts, strict=True)
    return [None if text is None else Rle((h, w), text) for h, w, text in parts]


def _doubles(rows: pa.Table, name: str) -> np.ndarray:
    return numpy_array(rows[name]).astype(np.float64, copy=False)


def _bounds(rows: pa.Table) -> bool:
    """Tell whether every box is, to the last bit, the bounds of its mask."""
    if "mask" not in rows.column_names or rows["mask"].null_count:
        return False
    box = np.stack([_doubles(rows, name) for name in "xywh"], axis=1)
    return np.array_equal(box, mask_bounds(rows["mask"]))
