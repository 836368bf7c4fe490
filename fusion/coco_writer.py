"""Writing COCO results: a detection table as a JSON list, in blocks."""

import os
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pycocotools import mask as mask_codec

from fusion.atomic import replacing
from fusion.errors import InputError
from fusion.kernels.json_merge import Texts, merge_records, most_bytes
from fusion.table import DetectionTable

__all__ = ["write_coco_results"]

_ROWS = 32768
_JSON = msgspec.json.Encoder()


def write_coco_results(
    table: DetectionTable,
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
        table: What to write.
        path: The file.
        progress: Called with the rows written so far and in all.

    Raises:
        InputError: If boxes are in normalized units, or the file cannot be written.
    """
    if table.metadata.unit != "pixel":
        raise InputError(path, f"COCO results are in pixels, the boxes of the table are {table.metadata.unit}")
    boxes = table.metadata.boxes != "from_masks" or not _bounds(table)
    with replacing(path) as temporary, temporary.open("wb") as file:
        file.write(b"[")
        for low in range(0, len(table), _ROWS):
            texts = _texts(table.arrow.slice(low, _ROWS), boxes)
            out = np.empty(most_bytes(texts), np.uint8)
            length = merge_records(texts, out)
            file.write(b"," if low else b"")
            file.write(out[:length].tobytes())
            if progress is not None:
                progress(min(low + _ROWS, len(table)), len(table))
        file.write(b"]\n")


def _texts(rows: pa.Table, boxes: bool) -> Texts:
    columns = [_doubles(rows, name) for name in ((*"xywh", "score") if boxes else ("score",))]
    numbers = _JSON.encode(np.stack(columns, axis=1).ravel().tolist())
    image, image_end, image_of = _distinct(rows["image_id"])
    category, category_end, category_of = _distinct(rows["category_id"])
    masked, size, counts, counts_end = _masks(rows)
    return Texts(
        image=image,
        image_end=image_end,
        image_of=image_of,
        category=category,
        category_end=category_end,
        category_of=category_of,
        numbers=np.frombuffer(numbers, np.uint8),
        boxed=boxes,
        masked=masked,
        size=size,
        counts=counts,
        counts_end=counts_end,
    )


def _distinct(column: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the JSON of the distinct values, where each ends, and which one each row has."""
    array = column.combine_chunks()
    if not pa.types.is_dictionary(array.type):
        array = array.dictionary_encode()
    # a slice of the table still has the names of all images
    used, codes = np.unique(np.asarray(array.indices), return_inverse=True)
    values = array.dictionary.take(pa.array(used))
    texts = _JSON.encode_lines(values.to_pylist())
    text = np.frombuffer(texts, np.uint8)
    # JSON has no bare line feed inside a value
    end = np.concatenate(([0], np.flatnonzero(text == 10) + 1))
    return text, end, codes.astype(np.int64)


def _masks(rows: pa.Table) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return which rows have a mask, their sizes, and the runs with where they end."""
    n = rows.num_rows
    if "mask" not in rows.column_names:
        return np.zeros(n, np.bool_), np.zeros((n, 2), np.int32), np.zeros(0, np.uint8), np.zeros(n + 1, np.int64)
    mask = rows["mask"].combine_chunks()
    masked = mask.is_valid().to_numpy(zero_copy_only=False)
    size = np.stack([pc.fill_null(pc.struct_field(mask, name), 0).to_numpy() for name in ("height", "width")], axis=1)
    counts = pc.fill_null(pc.struct_field(mask, "counts"), b"")
    buffers: Any = counts.buffers()
    ends = np.frombuffer(buffers[1], np.int32)[counts.offset : counts.offset + n + 1].astype(np.int64)
    data = buffers[2]
    return masked, size, np.zeros(0, np.uint8) if data is None else np.frombuffer(data, np.uint8), ends


def _doubles(rows: pa.Table, name: str) -> np.ndarray:
    return np.asarray(rows[name].to_numpy(), dtype=np.float64)


def _bounds(table: DetectionTable) -> bool:
    """Tell whether every box is, to the last bit, the bounds of its mask."""
    if "mask" not in table.arrow.column_names or table.arrow["mask"].null_count:
        return False
    for low in range(0, len(table), _ROWS):
        rows = table.arrow.slice(low, _ROWS)
        box = np.stack([_doubles(rows, name) for name in "xywh"], axis=1)
        masks: Any = rows["mask"].to_pylist()
        runs: Any = [{"size": [mask["height"], mask["width"]], "counts": mask["counts"]} for mask in masks]
        if not np.array_equal(box, mask_codec.toBbox(runs)):
            return False
    return True
