"""Kernels of hard and soft suppression: one pass over each (image, category) cell.

Greedy suppression asks of most pairs whether they overlap at all, so pairs are first tested in
float32, 16 at a time, without a division (5 G pairs/s against 0.4); what passes is decided by the
exact float64 IoU. The test never misses a pair: boxes are moved to the cell's corner and widened by
2^-22 of the cell's extent, more than the rounding of the float32 arithmetic on them, and areas are
taken 2^-20 too small. Results are therefore those of the exact loop, to the last bit.
"""

from typing import NamedTuple

import numpy as np

from fusion import geometry
from fusion.columns import Columns
from fusion.kernels.jit import jit

__all__ = [
    "LANES",
    "Picked",
    "Scratch",
    "first_bit",
    "frame",
    "greedy",
    "hits",
    "nms_cells",
    "overlap",
    "place",
    "scratch",
    "soft_nms_cells",
]

LANES = 16
_ZERO = np.float32(0)
_ONE = np.float32(1)
_NEVER = np.float32(np.inf)
_ALWAYS = np.float32(-2)
_PAD = 2.0**-22
_LESS = 1 - 2.0**-20
# Extents whose squares, and those of 2^-22 of them, are normal numbers in float32.
_SMALLEST, _LARGEST = 1e-9, 1e15
# Place of the lowest set bit of b: _DE_BRUIJN[(b & -b) * 0x077CB531 >> 27], in uint32.
_DE_BRUIJN = np.array([((0x077CB531 << i) & 0xFFFFFFFF) >> 27 for i in range(32)]).argsort()

iou = jit(geometry.iou)
gaussian = jit(geometry.gaussian)
linear = jit(geometry.linear)


class Scratch(NamedTuple):
    """Working memory of one task, shared by its cells.

    Attributes:
        block: float32 [blocks of 16, 5, 16], x1, y1, x2, y2 and share of the boxes to test against.
        box: int64 [largest cell], positions of those boxes.
        candidate: int64 [largest cell], positions of the boxes that soft suppression starts from.
        score: float64 [largest cell], current scores.
        seen: int64 [largest cell], number of picks already applied to each score.
        heap: int64 [largest cell], candidates, highest current score first.
    """

    block: np.ndarray
    box: np.ndarray
    candidate: np.ndarray
    score: np.ndarray
    seen: np.ndarray
    heap: np.ndarray


class Picked(NamedTuple):
    """What is left of a run of cells, in order; arrays as long as the run's detections.

    Attributes:
        cell: int32, index of the cell.
        position: int64, index into the columns.
        row: int64, the columns' row there.
        score: float64.
        owner: int64, for every detection of the run the position of the box that suppressed it, or its own.
    """

    cell: np.ndarray
    position: np.ndarray
    row: np.ndarray
    score: np.ndarray
    owner: np.ndarray


def scratch(columns: Columns, low: int, high: int) -> Scratch:
    """Allocate working memory for cells low..high-1."""
    largest = int(np.diff(columns.start[low : high + 1]).max())
    return Scratch(
        np.empty((-(-largest // LANES), 5, LANES), np.float32),
        np.empty(largest, np.int64),
        np.empty(largest, np.int64),
        np.empty(largest),
        np.empty(largest, np.int64),
        np.empty(largest, np.int64),
    )


@jit
def overlap(columns, i, j):
    """Return the exact IoU of two boxes."""
    x1, y1, x2, y2 = columns.x1[i], columns.y1[i], columns.x2[i], columns.y2[i]
    u1, v1, u2, v2 = columns.x1[j], columns.y1[j], columns.x2[j], columns.y2[j]
    return iou(x1, y1, x2, y2, (x2 - x1) * (y2 - y1), u1, v1, u2, v2, (u2 - u1) * (v2 - v1))


@jit
def frame(columns, first, last):
    """Return the corner of the cell and how much its boxes are widened; less than 0 where float32 will not do."""
    left, top = columns.x1[first], columns.y1[first]
    right, bottom = columns.x2[first], columns.y2[first]
    for i in range(first + 1, last):
        left = columns.x1[i] if columns.x1[i] < left else left
        top = columns.y1[i] if columns.y1[i] < top else top
        right = columns.x2[i] if columns.x2[i] > right else right
        bottom = columns.y2[i] if columns.y2[i] > bottom else bottom
    extent = max(right - left, bottom - top)
    return left, top, extent * _PAD if _SMALLEST <= extent <= _LARGEST else -1.0


@jit
def narrow(columns, i, origin, factor):
    """Return box i for the float32 test: widened corners and its share of the least intersection that counts."""
    left, top, pad = origin
    x1, y1, x2, y2 = columns.x1[i], columns.y1[i], columns.x2[i], columns.y2[i]
    if pad < 0:
        return _ZERO, _ZERO, _ONE, _ONE, _ALWAYS
    return (
        np.float32(x1 - left - pad),
        np.float32(y1 - top - pad),
        np.float32(x2 - left + pad),
        np.float32(y2 - top + pad),
        np.float32((x2 - x1) * (y2 - y1) * factor),
    )


@jit
def share_factor(threshold):
    """Return the part of both areas' sum that the intersection exceeds where IoU > threshold."""
    return threshold / (1 + threshold) * _LESS


@jit
def place(block, k, box):
    """Put a box at place k; the rest of a new block is filled with boxes that nothing overlaps."""
    row = block[k // LANES]
    lane = k % LANES
    if lane == 0:
        for r in range(4):
            for i in range(LANES):
                row[r, i] = _ZERO
        for i in range(LANES):
            row[4, i] = _NEVER
    for r in range(5):
        row[r, lane] = box[r]


@jit
def hits(row, box):
    """Return a bit for each of the 16 boxes of a block whose IoU with the box may exceed the threshold."""
    x1, y1, x2, y2, share = box
    bits = np.uint32(0)
    for i in range(LANES):
        left, top, right, bottom = row[0, i], row[1, i], row[2, i], row[3, i]
        width = (right if right < x2 else x2) - (left if left > x1 else x1)
        height = (bottom if bottom < y2 else y2) - (top if top > y1 else y1)
        width = width if width > _ZERO else _ZERO
        bits = np.uint32(bits | (np.uint32(width * height > share + row[4, i]) << np.uint32(i)))
    return bits


@jit
def first_bit(bits):
    """Return the place of the lowest set bit of a uint32 that is not 0."""
    lowest = np.uint32(bits & np.uint32(~bits + np.uint32(1)))
    return _DE_BRUIJN[np.uint32(lowest * np.uint32(0x077CB531)) >> np.uint32(27)]


@jit
def suppressor(columns, i, box, threshold, count, work):
    """Return the position of the first kept box with IoU > threshold, or -1."""
    for b in range((count + LANES - 1) // LANES):
        bits = hits(work.block[b], box)
        while bits:
            j = work.box[b * LANES + first_bit(bits)]
            if overlap(columns, j, i) > threshold:
                return j
            bits = np.uint32(bits & (bits - np.uint32(1)))
    return -1


@jit
def greedy(columns, first, last, threshold, work, owner, base):
    """Hard-suppress one cell: the kept positions go to `work.box`; return their number."""
    origin = frame(columns, first, last)
    factor = share_factor(threshold)
    count = 0
    for i in range(first, last):
        box = narrow(columns, i, origin, factor)
        j = suppressor(columns, i, box, threshold, count, work)
        if j < 0:
            place(work.block, count, box)
            work.box[count] = i
            count += 1
            j = i
        owner[i - base] = j
    return count


@jit
def nms_cells(columns, low, high, threshold, work, out):
    """Hard-suppress cells low..high-1 and return how many boxes are left."""
    base = columns.start[low]
    total = 0
    for c in range(low, high):
        first, last = columns.start[c], columns.start[c + 1]
        count = greedy(columns, first, last, threshold, work, out.owner, base)
        for k in range(count):
            i = work.box[k]
            out.cell[total] = c
            out.position[total] = i
            out.row[total] = columns.row[i]
            out.score[total] = columns.score[i]
            total += 1
    return total


@jit
def sink(work, size, k):
    """Move the candidate at place k of the heap down to where it belongs."""
    a = work.heap[k]
    score = work.score[a]
    while True:
        child = 2 * k + 1
        if child >= size:
            break
        b = work.heap[child]
        if child + 1 < size:
            other = work.heap[child + 1]
            if work.score[other] > work.score[b] or (work.score[other] == work.score[b] and other < b):
                child += 1
                b = other
        if score > work.score[b] or (score == work.score[b] and a < b):
            break
        work.heap[k] = b
        k = child
    work.heap[k] = a


@jit
def decay(columns, i, box, score, seen, count, floor, soft, work):
    """Apply picks seen..count-1 to a score, in order; stop as soon as it is under the floor."""
    is_gaussian, sigma, threshold = soft
    for b in range(seen // LANES, (count + LANES - 1) // LANES):
        bits = hits(work.block[b], box)
        if b == seen // LANES:
            bits = np.uint32(bits & np.uint32(np.uint32(0xFFFFFFFF) << np.uint32(seen % LANES)))
        while bits:
            u = overlap(columns, work.box[b * LANES + first_bit(bits)], i)
            bits = np.uint32(bits & (bits - np.uint32(1)))
            if u > 0:
                score *= gaussian(u, sigma) if is_gaussian else linear(u, threshold)
        if score < floor:
            break
    return score


@jit
def remove_top(work, size):
    """Take the highest candidate off the heap and return what is left of its size."""
    size -= 1
    if size > 0:
        work.heap[0] = work.heap[size]
        sink(work, size, 0)
    return size


@jit
def soft(columns, first, last, candidates, floor, method, work, out, total):
    """Soft-suppress the candidates of one cell, write them from `total` on and return the new total.

    Scores only fall, so an old score is a bound: only the candidate that leads by its old score is
    brought up to date, with all picks it has missed, and picked if it still leads.
    """
    origin = frame(columns, first, last)
    factor = share_factor(0.0 if method[0] else method[2])
    size = 0
    for k in range(candidates):
        work.score[k] = columns.score[work.candidate[k]]
        work.seen[k] = 0
        work.heap[k] = k
        size += work.score[k] >= floor
    begin = total
    while size > 0:
        a = work.heap[0]
        i = work.candidate[a]
        box = narrow(columns, i, origin, factor)
        count = total - begin
        if work.seen[a] < count:
            score = decay(columns, i, box, work.score[a], work.seen[a], count, floor, method, work)
            work.seen[a] = count
            if score < floor:
                size = remove_top(work, size)
                continue
            if score < work.score[a]:
                work.score[a] = score
                sink(work, size, 0)
                if work.heap[0] != a:
                    continue
        place(work.block, count, box)
        work.box[count] = i
        out.position[total] = i
        out.score[total] = work.score[a]
        total += 1
        size = remove_top(work, size)
    return total


@jit
def order_ties(columns, begin, end, out):
    """Order boxes of equal score by row: they were picked in the order of their old scores."""
    for k in range(begin + 1, end):
        i, score = out.position[k], out.score[k]
        while k > begin and out.score[k - 1] == score and columns.row[out.position[k - 1]] > columns.row[i]:
            out.position[k] = out.position[k - 1]
            k -= 1
        out.position[k] = i


@jit
def soft_nms_cells(columns, low, high, hard, floor, method, work, out):
    """Soft-suppress cells low..high-1, after hard suppression unless `hard` is below 0; return how many are left."""
    base = columns.start[low]
    total = 0
    for c in range(low, high):
        first, last = columns.start[c], columns.start[c + 1]
        if hard >= 0:
            count = greedy(columns, first, last, hard, work, out.owner, base)
            for k in range(count):
                work.candidate[k] = work.box[k]
        else:
            count = last - first
            for k in range(count):
                work.candidate[k] = first + k
                out.owner[first + k - base] = first + k
        begin = total
        total = soft(columns, first, last, count, floor, method, work, out, total)
        order_ties(columns, begin, total, out)
        for k in range(begin, total):
            out.cell[k] = c
            out.row[k] = columns.row[out.position[k]]
    return total
