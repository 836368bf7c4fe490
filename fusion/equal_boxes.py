"""Rows of one image with the same box, to the last bit."""

import numpy as np

from fusion.kernels.hierarchy import find_alike
from fusion.kernels.jit import chunks, run
from fusion.pool import Pool

__all__ = ["alike_of", "image_order"]


def image_order(pool: Pool) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows of a pool by image, stable, int64 [n], and the offsets of the images, int64 [images + 1]."""
    image = pool.image()
    order = np.arange(len(image)) if len(pool.tables) == 1 else np.argsort(image, kind="stable")
    return order, np.concatenate(([0], np.cumsum(np.bincount(image, minlength=len(pool.image_ids))))).astype(np.int64)


def alike_of(pool: Pool, order: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Return, for each place in `order`, the first place of its image with the same member and box, int64 [n]."""
    # adding 0 makes negative zeros positive
    bits = tuple((pool.column(name).astype(np.float64, copy=False) + 0.0).view(np.uint64) for name in "xywh")
    alike = np.empty(len(order), np.int64)
    run(lambda low, high: find_alike(low, high, start, order, bits, pool.member, alike), chunks(start))
    return alike
