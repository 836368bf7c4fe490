"""Kernels of hard and soft suppression: one pass over each (image, category) cell."""

from typing import NamedTuple

import numpy as np

from fusion import geometry
from fusion.columns import Columns
from fusion.kernels.filter import LANES, first_bit, frame_of, hits, narrow, place, share_factor
from fusion.kernels.jit import jit

__all__ = ["Picked", "Scratch", "all_cells", "nms_cells", "overlap", "scratch", "soft_cells"]

_ROW = 6 * LANES
_NOTED = 5 * LANES
_GONE = -1.0  # score of a candidate that was picked or dropped

iou = jit(geometry.iou)
gaussian = jit(geometry.gaussian)
linear = jit(geometry.linear)


class Scratch(NamedTuple):
    """Working memory of one task, shared by its cells; candidates are in blocks of 16.

    Attributes:
        near: float32 [blocks, 5, 16], the boxes to test against, as the filter sees them.
        box: float64 [blocks * 6 * 16], x1, y1, x2, y2 and area of the candidates of soft suppression, and what picks
            have noted: the sum of squared IoUs (gaussian) or the lowered score (linear). Flat, as only then does the
            compiler see that its rows do not overlap.
        score: float64 [blocks * 16], scores with what was noted when they last led; below 0 where picked or dropped.
        key: int64 [blocks * 16], the bits of `score`, which are in the same order and have a fast maximum.
        top: int64 [blocks], highest key of each block.
        where: int64 [blocks], place of that key.
        applied: float64 [blocks * 16], what was noted when the score was brought up to date.
        candidate: int64 [blocks * 16], positions.
    """

    near: np.ndarray
    box: np.ndarray
    score: np.ndarray
    key: np.ndarray
    top: np.ndarray
    where: np.ndarray
    applied: np.ndarray
    candidate: np.ndarray


class Picked(NamedTuple):
    """What is left of a run of cells, in order; arrays as long as the run's detections.

    Attributes:
        cell: int32, index of the cell.
        position: int64, index into the columns.
        row: int64, the columns' row there.
        score: float64.
        owner: int64, for every detection of the run the position of the box that suppressed it, or its own; empty
            where nobody asks.
    """

    cell: np.ndarray
    position: np.ndarray
    row: np.ndarray
    score: np.ndarray
    owner: np.ndarray


def scratch(columns: Columns, low: int, high: int) -> Scratch:
    """Allocate working memory for cells low..high-1."""
    largest = int(np.diff(columns.start[low : high + 1]).max())
    blocks = -(-largest // LANES)
    score = np.empty(blocks * LANES)
    return Scratch(
        near=np.empty((blocks, 5, LANES), np.float32),
        box=np.empty(blocks * _ROW),
        score=score,
        key=score.view(np.int64),
        top=np.empty(blocks, np.int64),
        where=np.empty(blocks, np.int64),
        applied=np.empty(blocks * LANES),
        candidate=np.empty(blocks * LANES, np.int64),
    )


@jit
def overlap(x1, y1, x2, y2, i, j):
    """Return the exact IoU of boxes i and j."""
    left, top, right, bottom = x1[i], y1[i], x2[i], y2[i]
    u1, v1, u2, v2 = x1[j], y1[j], x2[j], y2[j]
    return iou(left, top, right, bottom, (right - left) * (bottom - top), u1, v1, u2, v2, (u2 - u1) * (v2 - v1))


@jit
def nms_cells(columns, low, high, threshold, near, out):
    """Hard-suppress cells low..high-1 and return how many boxes are left.

    One function for all cells: a call per cell costs as much as suppressing three boxes, as Numba counts references
    to every array of its arguments.
    """
    x1, y1, x2, y2, start = columns.x1, columns.y1, columns.x2, columns.y2, columns.start
    cell, position, owner = out.cell, out.position, out.owner
    factor = share_factor(threshold)
    base, total, traced = start[low], 0, len(owner) > 0
    for c in range(low, high):
        origin = frame_of(x1, y1, x2, y2, start[c], start[c + 1])
        count = 0
        for i in range(start[c], start[c + 1]):
            box = narrow(x1[i], y1[i], x2[i], y2[i], origin, factor)
            above = i
            for b in range((count + LANES - 1) // LANES):
                bits = hits(near[b], box)
                while bits:
                    j = position[total + b * LANES + first_bit(bits)]
                    if overlap(x1, y1, x2, y2, j, i) > threshold:
                        above = j
                        break
                    bits = np.uint32(bits & (bits - np.uint32(1)))
                if above != i:
                    break
            if traced:
                owner[i - base] = above
            if above == i:
                place(near, count, box)
                cell[total + count] = c
                position[total + count] = i
                count += 1
        total += count
    finish(columns, total, out)
    return total


@jit
def all_cells(columns, low, high, out):
    """Pass on all boxes of cells low..high-1."""
    first, traced = columns.start[low], len(out.owner) > 0
    for c in range(low, high):
        for i in range(columns.start[c], columns.start[c + 1]):
            out.cell[i - first] = c
            out.position[i - first] = i
            if traced:
                out.owner[i - first] = i
    return columns.start[high] - first


@jit
def finish(columns, total, out):
    """Copy the rows and scores of the boxes that are left."""
    for k in range(total):
        out.row[k] = columns.row[out.position[k]]
        out.score[k] = columns.score[out.position[k]]


@jit
def best_of_four(key, k):
    """Return the highest of key[k:k + 4] and its place, the first of equals."""
    best, place = key[k], k
    for i in range(k + 1, k + 4):
        other = key[i]
        place = i if other > best else place
        best = max(best, other)
    return best, place


@jit
def rank(key, b, top, where):
    """Note the highest key of block b and its place, the first of equals.

    In quarters: one chain of 16 comparisons takes twice as long.
    """
    k = b * LANES
    best, place = best_of_four(key, k)
    for i in range(k + 4, k + LANES, 4):
        other, there = best_of_four(key, i)
        place = there if other > best else place
        best = max(best, other)
    top[b], where[b] = best, place


@jit
def soft_cells(columns, total, floor, method, work, out):
    """Soft-suppress the first `total` boxes of `out`, cell by cell, in place; return how many are left.

    Every pick goes through all candidates, 16 at a time and without a branch (0.6 ns per IoU, 8 one by one), but only
    notes what it takes from them. Scores only fall, so a candidate's last score is a bound: it is brought up to date
    when it leads by it, and picked if it was up to date already.
    """
    x1, y1, x2, y2 = columns.x1, columns.y1, columns.x2, columns.y2
    box, current, key, applied, candidate = work.box, work.score, work.key, work.applied, work.candidate
    top, where = work.top, work.where
    cell, position, score = out.cell, out.position, out.score
    is_gaussian, sigma, threshold = method
    low, left = 0, 0
    while low < total:
        c = cell[low]
        count = 0
        while low < total and cell[low] == c:
            i = position[low]
            low += 1
            s = columns.score[i] + 0.0  # -0.0 becomes 0.0: its bits are negative
            if s >= floor:
                p = count // LANES * _ROW + count % LANES
                box[p], box[p + LANES], box[p + 2 * LANES], box[p + 3 * LANES] = x1[i], y1[i], x2[i], y2[i]
                box[p + 4 * LANES] = (x2[i] - x1[i]) * (y2[i] - y1[i])
                box[p + _NOTED] = applied[count] = 0.0 if is_gaussian else s
                candidate[count] = i
                current[count] = s
                count += 1
        blocks = (count + LANES - 1) // LANES
        current[count : blocks * LANES] = _GONE
        for b in range(blocks):
            top[b], where[b] = key[b * LANES], b * LANES
        begin = left
        while count > 0:
            best, block = top[0], 0
            for b in range(1, blocks):
                block = b if top[b] > best else block
                best = max(best, top[b])
            if best < 0:
                break
            k = where[block]
            i = candidate[k]
            noted = box[block * _ROW + _NOTED + k % LANES]
            if noted != applied[k]:
                applied[k] = noted
                s = (columns.score[i] + 0.0) * gaussian(noted, sigma) if is_gaussian else noted
                current[k] = s if s >= floor else _GONE
                rank(key, block, top, where)
                continue
            position[left], score[left], cell[left] = i, current[k], c
            left += 1
            current[k] = _GONE
            rank(key, block, top, where)
            ax1, ay1, ax2, ay2 = x1[i], y1[i], x2[i], y2[i]
            area = (ax2 - ax1) * (ay2 - ay1)
            for b in range(blocks):
                if top[b] >= 0:
                    p = b * _ROW
                    for q in range(p, p + LANES):
                        u = iou(
                            ax1,
                            ay1,
                            ax2,
                            ay2,
                            area,
                            box[q],
                            box[q + LANES],
                            box[q + 2 * LANES],
                            box[q + 3 * LANES],
                            box[q + 4 * LANES],
                        )
                        if is_gaussian:
                            box[q + _NOTED] += u * u
                        else:
                            box[q + _NOTED] *= linear(u, threshold)
        order_ties(columns.row, begin, left, out)
    for k in range(left):
        out.row[k] = columns.row[out.position[k]]
    return left


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
