"""Kernel of top-k box voting, on what hard suppression has kept."""

from typing import NamedTuple

import numpy as np

from fusion.formulas import boxes, votes
from fusion.kernels.cluster import order_by_key
from fusion.kernels.filter import frame_of, hits, narrow, place, share_factor
from fusion.kernels.jit import formula, uncounted
from fusion.kernels.vectors import LANES, first_bit

__all__ = ["VoteScratch", "Voted", "vote_cells", "vote_scratch"]

overlap, enter, tally, moved = map(formula, (boxes.overlap, votes.enter, votes.tally, votes.moved))

# Up to so many kept boxes of a cell, which come nearly in order, are sorted by insertion.
_SHORT = 32


class VoteScratch(NamedTuple):
    """Working memory of one task.

    Attributes:
        other: int8 [k], 1 where a voter is of another member than the box it votes for; best voter first, as in
            `iou` and `position`.
        iou: float64 [k].
        position: int64 [k].
        seen: int64 [members], the last box for which a member was counted.
        near: float32 [blocks, 5, LANES], a cell's boxes as the filter sees them.
        key: float64 [largest cell], and like it `other_key`, `slot` and `other_slot` (int64): for sorting.
    """

    other: np.ndarray
    iou: np.ndarray
    position: np.ndarray
    seen: np.ndarray
    near: np.ndarray
    key: np.ndarray
    other_key: np.ndarray
    slot: np.ndarray
    other_slot: np.ndarray


class Voted(NamedTuple):
    """Outcome for each kept box of a run of cells, in the order of the kept boxes.

    Attributes:
        order: int64 [n], the kept boxes by (cell, score descending, row).
        score: float64 [n].
        corners: float64 [n, 4].
        votes: int16 [n], number of distinct members among the box and its voters.
        size: int64 [n], 1 + number of voters; only with sources, as is `source`.
        source: int64 [n * (k + 1)], rows of each box and its voters.
    """

    order: np.ndarray
    score: np.ndarray
    corners: np.ndarray
    votes: np.ndarray
    size: np.ndarray
    source: np.ndarray


def vote_scratch(k: int, members: int, largest: int) -> VoteScratch:
    """Allocate working memory for k voters and cells of up to `largest` boxes."""
    return VoteScratch(
        np.empty(k, np.int8),
        np.empty(k),
        np.empty(k, np.int64),
        np.full(members, -1, np.int64),
        np.empty((-(-largest // LANES), 5, LANES), np.float32),
        np.empty(largest),
        np.empty(largest),
        np.empty(largest, np.int64),
        np.empty(largest, np.int64),
    )


@uncounted
def vote_cells(columns, kept, total, options, work, out, sides):
    """Let the boxes of each cell vote for its kept boxes `kept.position[:total]`; return the number of sources.

    `sides` are `SideWeights` or None.
    """
    threshold, score_share, box_share, sources = options
    x1, y1, x2, y2, member, row = columns.x1, columns.y1, columns.x2, columns.y2, columns.member, columns.row
    other, iou, position, seen, near = work.other, work.iou, work.position, work.seen, work.near
    cell, picked, picked_row = kept.cell, kept.position, kept.row
    key, slot = work.key, work.slot
    factor = share_factor(threshold)
    low, written = 0, 0
    while low < total:
        first, last = columns.start[cell[low]], columns.start[cell[low] + 1]
        high = low
        while high < total and cell[high] == cell[low]:
            high += 1
        short = high - low <= _SHORT
        origin = frame_of(x1, y1, x2, y2, first, last)
        for i in range(first, last):
            place(near, i - first, narrow(x1[i], y1[i], x2[i], y2[i], origin, factor))
        for p in range(low, high):
            i = picked[p]
            box = narrow(x1[i], y1[i], x2[i], y2[i], origin, factor)
            found = 0
            itself = np.uint32(1) << np.uint32((i - first) % LANES)
            for b in range((last - first + LANES - 1) // LANES):
                bits = hits(near[b], box)
                if b == (i - first) // LANES:
                    bits = np.uint32(bits & ~itself)
                while bits:
                    j = first + b * LANES + first_bit(bits)
                    bits = np.uint32(bits & (bits - np.uint32(1)))
                    u = overlap(x1, y1, x2, y2, i, j)
                    if u > threshold:
                        own = 1 if member[j] != member[i] else 0
                        found = enter(own, u, j, found, len(iou), other, iou, position, 0)
            seen[member[i]] = i
            # marks are numbers of boxes, so none is cleared; the GPU, without room for marks, compares voters in pairs
            count = 1
            for v in range(found):
                j = position[v]
                count += seen[member[j]] != i
                seen[member[j]] = i
            scores, left, top, right, bottom = tally(columns, position, 0, found)
            out.score[p] = columns.score[i] + score_share * scores
            out.votes[p] = count
            if found > 0 and sides is not None:
                _weigh(columns, sides, i, position, found, box_share, out.corners[p])
            elif found > 0:
                out.corners[p, 0] = moved(x1[i], box_share, left, found)
                out.corners[p, 1] = moved(y1[i], box_share, top, found)
                out.corners[p, 2] = moved(x2[i], box_share, right, found)
                out.corners[p, 3] = moved(y2[i], box_share, bottom, found)
            else:
                out.corners[p, 0], out.corners[p, 1], out.corners[p, 2], out.corners[p, 3] = x1[i], y1[i], x2[i], y2[i]
            if sources:
                out.size[p] = 1 + found
                out.source[written] = row[i]
                for v in range(found):
                    out.source[written + 1 + v] = row[position[v]]
                written += 1 + found
            q = p - low
            if short:
                while q > 0 and (
                    key[q - 1] < out.score[p]
                    or (key[q - 1] == out.score[p] and picked_row[slot[q - 1]] > picked_row[p])
                ):
                    key[q], slot[q] = key[q - 1], slot[q - 1]
                    q -= 1
            key[q], slot[q] = out.score[p], p
        if not short:
            order_by_key(key, slot, picked_row, work.other_key, work.other_slot, high - low)
        for p in range(low, high):
            out.order[p] = slot[p - low]
        low = high
    return written


@uncounted
def _weigh(columns, sides, i, position, found, share, corners):
    """Set corners to the mean of a box and its voters, their shares times the weights of their sides.

    Sides that would cross stay where the box has them.
    """
    given = (columns.x1, columns.y1, columns.x2, columns.y2)
    for s in range(4):
        weight = (1.0 - share) * sides.weight[sides.voice[i], s]
        total = weight * given[s][i]
        for v in range(found):
            j = position[v]
            more = share / found * sides.weight[sides.voice[j], s]
            weight += more
            total += more * given[s][j]
        corners[s] = total / weight if weight > 0.0 else given[s][i]
    for s in range(2):
        if corners[s + 2] < corners[s]:
            corners[s], corners[s + 2] = given[s][i], given[s + 2][i]
