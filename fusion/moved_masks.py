"""Masks that move with their boxes."""

import numpy as np
import pyarrow as pa

from fusion.arrow_arrays import arrow_array, numpy_array
from fusion.kernels.jit import chunks, joined, run
from fusion.kernels.mask_shift import shift_masks
from fusion.masks import MaskText, joined_masks, mask_text, mask_texts, unreadable
from fusion.pool import Pool
from fusion.table_columns import MASK_TYPE

__all__ = ["moved_masks"]


def moved_masks(pool: Pool, before: np.ndarray, after: np.ndarray) -> pa.StructArray:
    """Move and scale each run-length mask of a pool as its box, to the nearest pixel.

    Args:
        pool: The detections.
        before: float64 [rows, 4], their boxes x1, y1, x2, y2, in the unit of the tables.
        after: float64 [rows, 4], the new ones; NaN where a box does not move.

    Returns:
        [rows] masks; null where there is none. Masks of boxes without area stay.

    Raises:
        InputError: If the mask of a box that moves cannot be read.
    """
    own = [pa.nulls(len(table), MASK_TYPE) if table.mask is None else table.mask for table in pool.tables]
    text = MaskText._make(joined_masks(list(map(mask_text, own))))
    masked = np.concatenate([numpy_array(masks.is_valid()) for masks in own])
    flat = np.any([(box[:, 2:] <= box[:, :2]).any(axis=1) for box in (before, after)], axis=0)
    after = np.where(flat[:, None], np.nan, after)
    if pool.tables[0].metadata.unit == "normalized":
        size = np.stack([text.width, text.height] * 2, axis=1)
        before, after = before * size, after * size

    def task(low: int, high: int) -> tuple[np.ndarray, ...]:
        texts, length, wrong = shift_masks(low, high, text, masked, before, after)
        if wrong >= 0:
            raise unreadable(pool, text, wrong)
        return texts, length

    pieces = run(task, chunks(np.arange(len(masked) + 1), 8192))
    texts, length = joined(pieces or [(np.zeros(0, np.uint8), np.zeros(0, np.int64))])
    sizes: list[pa.Array] = [arrow_array(np.where(masked, side, 0)) for side in (text.height, text.width)]
    return pa.StructArray.from_arrays(
        [*sizes, mask_texts(texts, length)], fields=list(MASK_TYPE), mask=arrow_array(~masked)
    )
