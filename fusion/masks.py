"""Mask columns: COCO's compressed run lengths in Arrow, and their buffers as kernels see them."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from pycocotools import mask as mask_codec

from fusion.arrow_arrays import arrow_array, numpy_array
from fusion.errors import InputError
from fusion.pool import Pool
from fusion.soft_masks import SOFT_MASK_TYPE, SoftMaps, soft_maps
from fusion.table_columns import MASK_TYPE

__all__ = [
    "MaskText",
    "PooledMasks",
    "joined_masks",
    "mask_array",
    "mask_bounds",
    "mask_text",
    "mask_texts",
    "pool_masks",
    "taken",
    "unreadable",
]


class MaskText(NamedTuple):
    """Compressed RLE texts of n masks.

    Attributes:
        data: uint8 [bytes].
        offset: int64 [n + 1].
        height: int32 [n].
        width: int32 [n].
    """

    data: np.ndarray
    offset: np.ndarray
    height: np.ndarray
    width: np.ndarray


def mask_array(height: Sequence[int], width: Sequence[int], counts: Iterable[bytes | None]) -> pa.StructArray:
    """Make a mask column from sizes and compressed RLE texts; a None among the texts becomes null.

    Args:
        height: [n] pixels.
        width: [n] pixels.
        counts: [n] texts.

    Returns:
        [n] structs (height, width, counts).
    """
    texts = arrow_array(list(counts), pa.large_binary())
    arrays: list[pa.Array[Any]] = [*(arrow_array(np.asarray(side, np.int32)) for side in (height, width)), texts]
    return pa.StructArray.from_arrays(
        arrays, fields=list(MASK_TYPE), mask=texts.is_null() if texts.null_count else None
    )


def mask_text(masks: pa.StructArray) -> MaskText:
    """Return the buffers of a mask column; the text is not copied. Of a null only the size, 0 x 0, means anything."""
    height, width, counts = masks.flatten()  # unlike `field`, minds that the array may be a slice
    _, ends, data = counts.buffers()
    offset: np.ndarray = np.zeros(1, np.int64)
    if ends is not None and len(counts):
        width_of_ends = np.int64 if pa.types.is_large_binary(counts.type) else np.int32
        offset = np.frombuffer(memoryview(ends), width_of_ends)[counts.offset : counts.offset + len(counts) + 1]
    return MaskText(
        np.frombuffer(memoryview(data), np.uint8) if data is not None else np.zeros(0, np.uint8),
        offset.astype(np.int64, copy=False),
        numpy_array(height, 0),
        numpy_array(width, 0),
    )


def mask_bounds(masks: pa.StructArray | pa.ChunkedArray) -> np.ndarray:
    """Return the bounds of the masks of a column without nulls: float64 [n, 4], xywh in pixels."""
    runs = [{"size": [mask["height"], mask["width"]], "counts": mask["counts"]} for mask in masks.to_pylist()]
    return np.asarray(mask_codec.toBbox(runs), np.float64).reshape(-1, 4) if runs else np.zeros((0, 4))


def taken(masks: pa.StructArray, rows: np.ndarray) -> pa.StructArray:
    """Return some rows of a mask column."""
    return masks.take(arrow_array(rows, pa.int64()))


class PooledMasks(NamedTuple):
    """Masks of the rows of a pool.

    Attributes:
        masked: bool [rows], which have a run-length mask.
        text: Those masks; of the other rows only the size, 0 x 0, means anything.
        soft: Soft masks; a row without one has an empty map.
    """

    masked: np.ndarray
    text: MaskText
    soft: SoftMaps


def pool_masks(pool: Pool) -> PooledMasks:
    """Return the masks of a pool's rows.

    Raises:
        InputError: If masks of one image differ in size: one of the two was made for another image, or
            for a resized one, and no pixel of it would be where it belongs.
    """
    masked = [
        np.zeros(len(table), bool) if table.mask is None else numpy_array(table.mask.is_valid())
        for table in pool.tables
    ]
    texts = [mask_text(pa.nulls(len(table), MASK_TYPE) if table.mask is None else table.mask) for table in pool.tables]
    maps = [
        soft_maps(pa.nulls(len(table), SOFT_MASK_TYPE) if table.soft_mask is None else table.soft_mask)
        for table in pool.tables
    ]
    masks = PooledMasks(np.concatenate(masked), MaskText._make(joined_masks(texts)), SoftMaps._make(joined_masks(maps)))
    _check_sizes(pool, masks)
    return masks


def unreadable(pool: Pool, text: MaskText, row: int) -> InputError:
    """Return the error for a mask whose text is no mask of its size."""
    counts = bytes(text.data[text.offset[row] : text.offset[row + 1]][:40])
    return InputError(
        _place(pool, row),
        f"expected a mask in compressed COCO RLE of {text.height[row]} x {text.width[row]} pixels, got {counts!r}",
        "Write the mask again with its own size",
    )


def joined_masks(parts: Sequence[MaskText] | Sequence[SoftMaps]) -> list[np.ndarray]:
    """Join the flat data, offsets, heights and widths of tables; offsets go through."""
    data = [part[0][part.offset[0] : part.offset[-1]] for part in parts]
    sizes = np.concatenate([np.diff(part.offset) for part in parts])
    offset = np.concatenate(([0], np.cumsum(sizes)))
    return [
        data[0] if len(data) == 1 else np.concatenate(data),
        offset.astype(np.int64, copy=False),
        np.concatenate([part.height for part in parts]),
        np.concatenate([part.width for part in parts]),
    ]


def _check_sizes(pool: Pool, masks: PooledMasks) -> None:
    soft = np.diff(masks.soft.offset) > 0
    rows = np.flatnonzero(masks.masked | soft)
    first = np.zeros(len(pool.image_ids), np.int64)
    image = pool.image()
    first[image[rows[::-1]]] = rows[::-1]
    for hard_rows, size in ((rows[masks.masked[rows]], masks.text), (rows[soft[rows]], masks.soft)):
        one = first[image[hard_rows]]
        height = np.where(masks.masked[one], masks.text.height[one], masks.soft.height[one])
        width = np.where(masks.masked[one], masks.text.width[one], masks.soft.width[one])
        wrong = np.flatnonzero((size.height[hard_rows] != height) | (size.width[hard_rows] != width))
        if len(wrong):
            k = wrong[0]
            row = hard_rows[k]
            raise InputError(
                f"image {pool.image_ids[image[row]]}",
                f"its masks differ in size: {height[k]} x {width[k]} pixels in {_place(pool, one[k])}, "
                f"{size.height[row]} x {size.width[row]} in {_place(pool, row)}",
                "Write all masks at the size of the image",
            )


def _place(pool: Pool, row: int) -> str:
    """Name a row of the pool: its table and the row there."""
    ends = np.cumsum([len(table) for table in pool.tables])
    number = int(np.searchsorted(ends, row, side="right"))
    table = pool.tables[number]
    return f"table {table.metadata.member or number}, row {row - int(ends[number]) + len(table)}"


def mask_texts(data: np.ndarray, length: np.ndarray) -> pa.Array:
    """Make an array of the texts that stand one behind the other in `data`."""
    end = np.concatenate(([0], np.cumsum(length))).astype(np.int64)
    return pa.Array.from_buffers(pa.large_binary(), len(length), [None, pa.py_buffer(end), pa.py_buffer(data)])
