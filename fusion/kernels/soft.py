"""Kernel of soft suppression: every pick lowers all candidates of its cell, 16 at a time and without a branch."""

import math
from typing import NamedTuple

import numpy as np

from fusion.columns import Columns
from fusion.formulas import boxes, decay
from fusion.kernels.jit import formula, jit
from fusion.kernels.vectors import LANES, first_equal, highest

__all__ = ["SoftScratch", "soft_cells", "soft_scratch"]

iou, gaussian, linear = map(formula, (boxes.iou, decay.gaussian, decay.linear))

# Rows of a block: the box and its area; what picks took (gaussian: sum of squared IoUs, linear: unused); where the rank
# starts and the least it can be; the rank.
_X1, _Y1, _X2, _Y2, _AREA, _TAKEN, _START, _LEAST, _RANK = (LANES * row for row in range(9))
_BLOCK = 9 * LANES
# Gaussian ranks are this plus log(score): positive for every score above 0, so that their bits are in their order.
_SHIFT = 1000.0
# Ranks this close are told apart by the scores themselves; logarithm, sum and product are off by 1e-12 at most.
_CLOSE = 1e-10
# Rank of a candidate that was picked, and of a place without one.
_GONE = -1.0
# Below this rank scores are not normal numbers and may be equal where ranks differ.
_TINY = _SHIFT - 700.0


class SoftScratch(NamedTuple):
    """Working memory of one task, shared by its cells; candidates are in blocks of 16.

    Attributes:
        block: float64 [blocks * 9 * 16], see the rows above; flat, as only then does the compiler see that its rows do
            not overlap.
        bits: int64, the same memory: bits of ranks, which are in the same order and have a fast maximum.
        top_value: float64 [blocks], highest rank of each block; below 0 when all of it is picked or dropped.
        top: int64, the same memory.
        candidate: int64 [blocks * 16], positions.
    """

    block: np.ndarray
    bits: np.ndarray
    top_value: np.ndarray
    top: np.ndarray
    candidate: np.ndarray


def _aligned(size: int) -> np.ndarray:
    """Zeros, float64, from the start of a cache line on: what is written across two lines is slow to read back."""
    room = np.zeros(size + 7)
    first = -(room.ctypes.data // 8) % 8
    return room[first : first + size]


def soft_scratch(columns: Columns, low: int, high: int) -> SoftScratch:
    """Allocate working memory for cells low..high-1."""
    blocks = -(-int(np.diff(columns.start[low : high + 1]).max()) // LANES)
    # zeros: places without a candidate are reckoned with as well, and must hold numbers
    block, top_value = _aligned(blocks * _BLOCK), np.empty(blocks)
    candidate = np.empty(blocks * LANES, np.int64)
    return SoftScratch(block, block.view(np.int64), top_value, top_value.view(np.int64), candidate)


@jit
def soft_cells(columns, total, floor, method, work, out):
    """Soft-suppress the first `total` boxes of `out`, cell by cell, in place; return how many are left.

    A gaussian score is ranked by its logarithm, log(score) - S / sigma, which a pick lowers by a subtraction; the
    exponential is taken once, for what is picked. Ranks that are too close for that are decided by the scores.
    """
    x1, y1, x2, y2 = columns.x1, columns.y1, columns.x2, columns.y2
    block, bits, top, top_value, candidate = work.block, work.bits, work.top, work.top_value, work.candidate
    all_scores = columns.score
    cell, position, score = out.cell, out.position, out.score
    is_gaussian, sigma, threshold = method
    inverse = 1.0 / sigma
    low, left = 0, 0
    while low < total:
        c = cell[low]
        count = 0
        while low < total and cell[low] == c:
            i = position[low]
            low += 1
            s = all_scores[i] + 0.0  # -0.0 becomes 0.0: its bits are negative
            if s >= floor:
                p = count // LANES * _BLOCK + count % LANES
                block[p + _X1], block[p + _Y1], block[p + _X2], block[p + _Y2] = x1[i], y1[i], x2[i], y2[i]
                block[p + _AREA] = (x2[i] - x1[i]) * (y2[i] - y1[i])
                block[p + _TAKEN] = 0.0
                if is_gaussian:
                    start = _SHIFT + math.log(s) if s > 0.0 else 0.0
                    block[p + _START], block[p + _LEAST], block[p + _RANK] = start, 1.0, max(start, 1.0)
                else:
                    block[p + _RANK] = s
                candidate[count] = i
                count += 1
        blocks = (count + LANES - 1) // LANES
        for k in range(count, blocks * LANES):
            p = k // LANES * _BLOCK + k % LANES
            block[p + _START] = block[p + _LEAST] = block[p + _RANK] = _GONE
        for b in range(blocks):
            top[b] = bits[b * _BLOCK + _RANK]  # candidates come by falling score
        begin = left
        while count > 0:
            best, first = top[0], 0
            for b in range(1, blocks):
                first = b if top[b] > best else first
                best = max(best, top[b])
            if best < 0:
                break
            p = first * _BLOCK + _RANK
            lane = first_equal(bits, p, best)
            k = first * LANES + lane
            value = block[p + lane]
            if is_gaussian:
                limit = value - _CLOSE if value > _TINY else 0.0
                near = 0
                for b in range(blocks):
                    near += 1 if top_value[b] >= limit else 0
                own = block[p : p + LANES]
                for q in range(LANES):
                    near += 1 if own[q] >= limit else 0
                if near > 2:  # more than its own block and itself
                    k = closest(columns.score, block, top_value, candidate, blocks, limit, sigma)
                    p = k // LANES * _BLOCK + _RANK
                    lane = k % LANES
                value = (all_scores[candidate[k]] + 0.0) * gaussian(block[p - _RANK + _TAKEN + lane], sigma)
            if not value >= floor:
                break
            i = candidate[k]
            position[left], score[left], cell[left] = i, value, c
            left += 1
            p += lane - _RANK
            block[p + _START] = block[p + _LEAST] = block[p + _RANK] = _GONE
            ax1, ay1, ax2, ay2 = x1[i], y1[i], x2[i], y2[i]
            area = (ax2 - ax1) * (ay2 - ay1)
            for b in range(blocks):
                if top[b] < 0:
                    continue
                # a slice, since indices from 0 need no test for negative ones, which stops SIMD: 61 ns a block, not 12
                row = block[b * _BLOCK : (b + 1) * _BLOCK]
                ranks = bits[b * _BLOCK + _RANK : b * _BLOCK + _RANK + LANES]
                for q in range(LANES):
                    u = iou(
                        ax1, ay1, ax2, ay2, area,
                        row[q + _X1], row[q + _Y1], row[q + _X2], row[q + _Y2], row[q + _AREA],
                    )  # fmt: skip
                    if is_gaussian:
                        taken = row[q + _TAKEN] + u * u
                        row[q + _TAKEN] = taken
                        row[q + _RANK] = max(row[q + _START] - taken * inverse, row[q + _LEAST])
                    else:
                        row[q + _RANK] *= linear(u, threshold)
                top[b] = highest(ranks, 0)
        order_ties(columns.row, begin, left, out)
    for k in range(left):
        out.row[k] = columns.row[out.position[k]]
    return left


@jit
def closest(score, block, top_value, candidate, blocks, limit, sigma):
    """Return the candidate of highest score, the first of equals, among those whose rank is at least the limit."""
    winner, most = -1, -1.0
    for b in range(blocks):
        if top_value[b] < limit:
            continue
        p = b * _BLOCK
        for lane in range(LANES):
            if block[p + _RANK + lane] >= limit:
                j = b * LANES + lane
                value = (score[candidate[j]] + 0.0) * gaussian(block[p + _TAKEN + lane], sigma)
                if value > most:
                    winner, most = j, value
    return winner


@jit
def order_ties(row, begin, end, out):
    """Order boxes of equal score by row: they were picked in the order of their old scores."""
    position, score = out.position, out.score
    for k in range(begin + 1, end):
        i, s = position[k], score[k]
        while k > begin and score[k - 1] == s and row[position[k - 1]] > row[i]:
            position[k] = position[k - 1]
            k -= 1
        position[k] = i
