"""Prefix sums on the GPU."""

from typing import Any

import numpy as np

from fusion.cuda.kernels.device import THREADS, Kernel, cuda, empty, filled

__all__ = ["offsets"]

# Consecutive numbers that a thread adds up by itself.
_ITEMS = 8
_TILE = THREADS * _ITEMS


def offsets(values: Any) -> Any:
    """Return the sums of all numbers before each: int32 [n + 1], the last being the sum of all.

    Args:
        values: int8 or int32 [n] on the GPU.
    """
    size = len(values)
    if not size:
        return filled(1, np.int32)
    tiles = -(-size // _TILE)
    sums = empty(tiles, np.int32)
    sum_tiles(tiles * THREADS, values, sums)
    before = filled(1, np.int32) if tiles == 1 else offsets(sums)
    out = empty(size + 1, np.int32)
    scan_tiles(tiles * THREADS, values, before, out)
    return out


@Kernel
def sum_tiles(values, sums):
    """Add up each tile of values."""
    part = cuda.shared.array(THREADS, np.int32)
    lane = cuda.threadIdx.x
    for tile in range(cuda.blockIdx.x, len(sums), cuda.gridDim.x):
        first = tile * _TILE + lane * _ITEMS
        total = 0
        for i in range(first, min(first + _ITEMS, len(values))):
            total += np.int32(values[i])
        part[lane] = total
        cuda.syncthreads()
        half = THREADS // 2
        while half > 0:
            if lane < half:
                part[lane] += part[lane + half]
            cuda.syncthreads()
            half //= 2
        if lane == 0:
            sums[tile] = part[0]
        cuda.syncthreads()


@Kernel
def scan_tiles(values, before, out):
    """Write the prefix sums of each tile, `before[tile]` being the sum of all tiles before it."""
    part = cuda.shared.array(THREADS, np.int32)
    lane = cuda.threadIdx.x
    size = len(values)
    for tile in range(cuda.blockIdx.x, (size + _TILE - 1) // _TILE, cuda.gridDim.x):
        first = tile * _TILE + lane * _ITEMS
        total = 0
        for i in range(first, min(first + _ITEMS, size)):
            total += np.int32(values[i])
        part[lane] = total
        cuda.syncthreads()
        step = 1
        while step < THREADS:
            carried = part[lane - step] if lane >= step else 0
            cuda.syncthreads()
            part[lane] += carried
            cuda.syncthreads()
            step *= 2
        running = before[tile] + part[lane] - total
        for i in range(first, min(first + _ITEMS, size)):
            out[i] = running
            running += np.int32(values[i])
            if i == size - 1:
                out[size] = running
        cuda.syncthreads()
