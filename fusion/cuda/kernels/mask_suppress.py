"""Hard suppression by the IoU of masks: as `suppress`, with a pair's runs gone through by one thread."""

from typing import Any

import numpy as np

from fusion.cuda.kernels.cells import GpuColumns, Rows, bounds, by_size
from fusion.cuda.kernels.device import THREADS, Kernel, cuda, device_function, filled, formula
from fusion.cuda.kernels.masks import Masks, shared_pixels
from fusion.formulas import masks as formulas

__all__ = ["suppress_by_masks"]

most_shared, union = formula(formulas.most_shared), formula(formulas.union)


def suppress_by_masks(rows: Rows, columns: GpuColumns, masks: Masks, threshold: float) -> Any:
    """Return flags of the rows whose mask no kept one overlaps by more than the threshold: int8 [n]."""
    alive = filled(len(columns.row), np.int8, 1)
    for chosen, count, width in by_size(columns.start):
        suppress_masks(count * width, rows, columns, masks, chosen, count, width, threshold, alive)
    return alive


@device_function
def mask_overlap(masks, a, b, threshold):
    """Return the IoU of two masks, or anything up to the threshold where it is not above that."""
    across = min(masks.x2[a], masks.x2[b]) - max(masks.x1[a], masks.x1[b])
    down = min(masks.y2[a], masks.y2[b]) - max(masks.y1[a], masks.y1[b])
    overlap = 0.0
    if across > 0 and down > 0:
        share = most_shared(masks.area[a], masks.area[b], across, down)
        overlap = share / union(masks.area[a], masks.area[b], share)
        if overlap > threshold:
            share = shared_pixels(masks.runs, masks.start[a], masks.end[a], masks.runs, masks.start[b], masks.end[b])
            overlap = share / union(masks.area[a], masks.area[b], share)
    return overlap


@Kernel
def suppress_masks(rows, columns, masks, chosen, count, width, threshold, alive):
    """Suppress in cells chosen[:count], `width` threads on each."""
    lane, group = cuda.threadIdx.x % width, cuda.threadIdx.x // width
    groups = THREADS // width
    for base in range(cuda.blockIdx.x * groups, count, cuda.gridDim.x * groups):
        i, last = bounds(columns.start, chosen, count, base + group)
        # all cells of the block go on until the last is done: a barrier is for the whole block
        while cuda.syncthreads_or(np.int32(i < last)):
            for j in range(i + 1 + lane, last, width):
                if alive[j] != 0:
                    a, b = rows.origin[columns.row[i]], rows.origin[columns.row[j]]
                    if mask_overlap(masks, a, b, threshold) > threshold:
                        alive[j] = 0
            cuda.syncthreads()
            i += 1
            while i < last and alive[i] == 0:
                i += 1
