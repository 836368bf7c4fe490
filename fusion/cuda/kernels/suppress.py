"""Hard suppression: the box taken next knocks out what it covers, a thread for each of the rest."""

from typing import Any

import numpy as np

from fusion.cuda.kernels.cells import GpuColumns, bounds, by_size, overlap
from fusion.cuda.kernels.device import THREADS, Kernel, cuda, empty, filled

__all__ = ["claimed", "suppress"]


def claimed(columns: GpuColumns, threshold: float) -> Any:
    """Return the kept box that each belongs to, by position: itself, or the first that covers it; int32 [n].

    No table of all pairs' verdicts is made, as torchvision does: a box that is taken out compares with nobody, and none
    of the verdicts would be read twice.
    """
    owner = filled(len(columns.row), np.int32, -1)
    for chosen, count, width in by_size(columns.start):
        claim_cells(count * width, columns, chosen, count, width, threshold, owner)
    return owner


def suppress(columns: GpuColumns, threshold: float) -> Any:
    """Return flags of the boxes that no kept box overlaps by more than the threshold: int8 [n]."""
    size = len(columns.row)
    alive = empty(size, np.int8)
    flag_kept(size, claimed(columns, threshold), alive)
    return alive


@Kernel
def claim_cells(columns, chosen, count, width, threshold, owner):
    """Suppress in cells chosen[:count], `width` threads on each; `owner` is -1, before, for a box that none covers."""
    lane, group = cuda.threadIdx.x % width, cuda.threadIdx.x // width
    groups = THREADS // width
    for base in range(cuda.blockIdx.x * groups, count, cuda.gridDim.x * groups):
        i, last = bounds(columns.start, chosen, count, base + group)
        # all cells of the block go on until the last is done: a barrier is for the whole block
        while cuda.syncthreads_or(np.int32(i < last)):
            if lane == 0 and i < last:
                owner[i] = i
            for j in range(i + 1 + lane, last, width):
                if owner[j] < 0 and overlap(columns, i, j) > threshold:
                    owner[j] = i
            cuda.syncthreads()
            i += 1
            while i < last and owner[i] >= 0:
                i += 1


@Kernel
def flag_kept(owner, alive):
    """Flag the boxes that belong to themselves."""
    for p in range(cuda.grid(1), len(owner), cuda.gridsize(1)):
        alive[p] = 1 if owner[p] == p else 0
