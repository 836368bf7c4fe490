"""Hard suppression: the box taken next knocks out what it covers, a thread for each of the rest."""

from typing import Any

import numpy as np

from fusion.cuda.kernels.cells import Columns, bounds, by_size
from fusion.cuda.kernels.device import THREADS, Kernel, cuda, filled
from fusion.cuda.kernels.formulas import overlap

__all__ = ["suppress"]


def suppress(columns: Columns, threshold: float) -> Any:
    """Return flags of the boxes that no kept box overlaps by more than the threshold: int8 [n]."""
    alive = filled(len(columns.row), np.int8, 1)
    for chosen, count, width in by_size(columns.start):
        suppress_cells(count * width, columns, chosen, count, width, threshold, alive)
    return alive


@Kernel
def suppress_cells(columns, chosen, count, width, threshold, alive):
    """Suppress in cells chosen[:count], `width` threads on each."""
    lane, group = cuda.threadIdx.x % width, cuda.threadIdx.x // width
    groups = THREADS // width
    for base in range(cuda.blockIdx.x * groups, count, cuda.gridDim.x * groups):
        i, last = bounds(columns.start, chosen, count, base + group)
        # all cells of the block go on until the last is done: a barrier is for the whole block
        while cuda.syncthreads_or(np.int32(i < last)):
            for j in range(i + 1 + lane, last, width):
                if alive[j] != 0 and overlap(columns, i, j) > threshold:
                    alive[j] = 0
            cuda.syncthreads()
            i += 1
            while i < last and alive[i] == 0:
                i += 1
