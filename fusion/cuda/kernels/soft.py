"""Soft suppression: the best candidate is found by all threads of a cell together, then lowers the others."""

from typing import Any, NamedTuple

import numpy as np

from fusion.cuda.kernels.cells import GpuColumns, bounds, by_size, overlap
from fusion.cuda.kernels.device import THREADS, Kernel, cuda, device_function, empty, formula
from fusion.formulas import decay as decays

__all__ = ["Decay", "best_of_group", "soften"]

gaussian, linear = formula(decays.gaussian), formula(decays.linear)

# What a box is: dropped, picked, or a candidate still.
_DROPPED, _PICKED, _OPEN = 0, 1, 2


class Decay(NamedTuple):
    """How scores are lowered.

    Attributes:
        gaussian: Whether by exp(-S / sigma), else by 1 - IoU.
        sigma: Of the gaussian.
        threshold: IoU above which the linear factor counts.
        floor: Least score that stays.
    """

    gaussian: bool
    sigma: float
    threshold: float
    floor: float


def soften(columns: GpuColumns, alive: Any, decay: Decay) -> Any:
    """Lower the scores of the boxes flagged in `alive` and drop those that fall under the floor, in place.

    Returns:
        float64 [n], the lowered scores of those that stay.
    """
    size = len(columns.row)
    score, squares = empty(size, np.float64), empty(size, np.float64)
    for chosen, count, width in by_size(columns.start):
        soften_cells(count * width, columns, chosen, count, width, decay, alive, squares, score)
    return score


@device_function
def best_of_group(value, place, lane, width):
    """Bring the highest value of a group of threads, and of equal ones the lowest place, to its first.

    `value` and `place` are in shared memory; a place below 0 is nothing. All threads of the block take part.
    """
    me = cuda.threadIdx.x
    cuda.syncthreads()
    half = width // 2
    while half > 0:
        if lane < half:
            other = me + half
            if value[other] > value[me] or (
                value[other] == value[me] and place[other] >= 0 and place[other] < place[me]
            ):
                value[me] = value[other]
                place[me] = place[other]
        cuda.syncthreads()
        half //= 2


@Kernel
def soften_cells(columns, chosen, count, width, decay, alive, squares, score):
    """Soft-suppress in cells chosen[:count], `width` threads on each; a thread has every width-th box to itself."""
    value = cuda.shared.array(THREADS, np.float64)
    place = cuda.shared.array(THREADS, np.int32)
    me = cuda.threadIdx.x
    lane, group = me % width, me // width
    groups = THREADS // width
    for base in range(cuda.blockIdx.x * groups, count, cuda.gridDim.x * groups):
        first, last = bounds(columns.start, chosen, count, base + group)
        for p in range(first + lane, last, width):
            s = columns.score[p] + 0.0  # -0.0 becomes 0.0
            score[p] = s
            squares[p] = 0.0
            alive[p] = _OPEN if alive[p] != 0 and s >= decay.floor else _DROPPED
        unfinished = first < last
        while cuda.syncthreads_or(np.int32(unfinished)):
            highest, at = -1.0, -1
            if unfinished:
                for p in range(first + lane, last, width):
                    if alive[p] == _OPEN and score[p] > highest:
                        highest, at = score[p], p
            value[me], place[me] = highest, at
            best_of_group(value, place, lane, width)
            picked = place[me - lane]
            unfinished = unfinished and picked >= 0 and value[me - lane] >= decay.floor
            if unfinished:
                for p in range(first + lane, last, width):
                    if p == picked:
                        alive[p] = _PICKED
                    elif alive[p] == _OPEN:
                        u = overlap(columns, picked, p)
                        if u > 0.0:
                            if decay.gaussian:
                                squares[p] += u * u
                                score[p] = (columns.score[p] + 0.0) * gaussian(squares[p], decay.sigma)
                            else:
                                score[p] *= linear(u, decay.threshold)
        for p in range(first + lane, last, width):
            if alive[p] == _OPEN:
                alive[p] = _DROPPED
