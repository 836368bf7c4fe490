"""Top-k voting on what hard suppression kept: a thread for each kept box."""

from typing import Any, NamedTuple

import numpy as np

from fusion.cuda.kernels.answer import Left, room
from fusion.cuda.kernels.cells import Columns
from fusion.cuda.kernels.device import Kernel, cuda, empty, number_at
from fusion.cuda.kernels.formulas import overlap
from fusion.cuda.kernels.scan import offsets

__all__ = ["Ballot", "vote_on"]


class Ballot(NamedTuple):
    """What votes are for; see `fusion.steps.vote.Vote`.

    Attributes:
        k: Most voters per box.
        score: Share of the voters' scores that is added.
        box: Share of the voters in the box.
        iou: What a voter's IoU must exceed.
    """

    k: int
    score: float
    box: float
    iou: float


class Voters(NamedTuple):
    """The best voters found for each kept box so far, best first; k places for each.

    Attributes:
        other: int8, 1 where a voter is of another member.
        iou: float64.
        place: int32.
    """

    other: Any
    iou: Any
    place: Any


def vote_on(columns: Columns, alive: Any, ballot: Ballot) -> Left:
    """Let the boxes of each cell vote on those of it that are flagged."""
    size = len(columns.row)
    before = offsets(alive)
    places = number_at(before, size) * ballot.k
    voters = Voters(empty(places, np.int8), empty(places, np.float64), empty(places, np.int32))
    left = room(size, corners=True, votes=True)._replace(alive=alive)
    vote_boxes(size, columns, before, ballot, voters, left)
    return left


@Kernel
def vote_boxes(columns, before, ballot, voters, left):
    """Find the best voters of each box and take their votes."""
    for i in range(cuda.grid(1), len(columns.row), cuda.gridsize(1)):
        if left.alive[i] != 0:
            c = columns.cell[i]
            base = np.int64(before[i]) * ballot.k
            found = 0
            for j in range(columns.start[c], columns.start[c + 1]):
                if j != i:
                    u = overlap(columns, i, j)
                    if u > ballot.iou:
                        other = 1 if columns.member[j] != columns.member[i] else 0
                        p = found
                        # behind its equals: they come first by score and row
                        while p > 0 and (
                            other > voters.other[base + p - 1]
                            or (other == voters.other[base + p - 1] and u > voters.iou[base + p - 1])
                        ):
                            p -= 1
                        if p < ballot.k:
                            found = min(found + 1, ballot.k)
                            for q in range(found - 1, p, -1):
                                voters.other[base + q] = voters.other[base + q - 1]
                                voters.iou[base + q] = voters.iou[base + q - 1]
                                voters.place[base + q] = voters.place[base + q - 1]
                            voters.other[base + p] = other
                            voters.iou[base + p] = u
                            voters.place[base + p] = j
            score = x1 = y1 = x2 = y2 = 0.0
            votes = 1
            for v in range(found):
                j = voters.place[base + v]
                score += columns.score[j]
                x1 += columns.x1[j]
                y1 += columns.y1[j]
                x2 += columns.x2[j]
                y2 += columns.y2[j]
                fresh = columns.member[j] != columns.member[i]
                for w in range(v):
                    fresh = fresh and columns.member[voters.place[base + w]] != columns.member[j]
                if fresh:
                    votes += 1
            left.votes[i] = votes
            left.score[i] = columns.score[i] + ballot.score * score
            if found > 0:
                keep, part = 1.0 - ballot.box, ballot.box / found
                left.x1[i] = keep * columns.x1[i] + part * x1
                left.y1[i] = keep * columns.y1[i] + part * y1
                left.x2[i] = keep * columns.x2[i] + part * x2
                left.y2[i] = keep * columns.y2[i] + part * y2
            else:
                left.x1[i], left.y1[i] = columns.x1[i], columns.y1[i]
                left.x2[i], left.y2[i] = columns.x2[i], columns.y2[i]
