"""Top-k voting on what hard suppression kept: a thread for each kept box."""

from typing import Any, NamedTuple

import numpy as np

from fusion.cuda.kernels.answer import Left, room
from fusion.cuda.kernels.cells import GpuColumns, overlap
from fusion.cuda.kernels.device import Kernel, cuda, empty, formula, number_at
from fusion.cuda.kernels.scan import offsets
from fusion.formulas import votes

__all__ = ["Ballot", "vote_on"]

enter, tally, moved = map(formula, (votes.enter, votes.tally, votes.moved))


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


class BestVoters(NamedTuple):
    """The best voters found for each kept box so far, best first; k places for each.

    Attributes:
        other: int8, 1 where a voter is of another member.
        iou: float64.
        place: int32.
    """

    other: Any
    iou: Any
    place: Any


def vote_on(columns: GpuColumns, alive: Any, ballot: Ballot) -> Left:
    """Let the boxes of each cell vote on those of it that are flagged."""
    size = len(columns.row)
    before = offsets(alive)
    places = number_at(before, size) * ballot.k
    voters = BestVoters(empty(places, np.int8), empty(places, np.float64), empty(places, np.int32))
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
                        found = enter(other, u, j, found, ballot.k, voters.other, voters.iou, voters.place, base)
            count = 1
            for v in range(found):
                member = columns.member[voters.place[base + v]]
                fresh = member != columns.member[i]
                for w in range(v):
                    fresh = fresh and columns.member[voters.place[base + w]] != member
                if fresh:
                    count += 1
            score, x1, y1, x2, y2 = tally(columns, voters.place, base, base + found)
            left.votes[i] = count
            left.score[i] = columns.score[i] + ballot.score * score
            if found > 0:
                left.x1[i] = moved(columns.x1[i], ballot.box, x1, found)
                left.y1[i] = moved(columns.y1[i], ballot.box, y1, found)
                left.x2[i] = moved(columns.x2[i], ballot.box, x2, found)
                left.y2[i] = moved(columns.y2[i], ballot.box, y2, found)
            else:
                left.x1[i], left.y1[i] = columns.x1[i], columns.y1[i]
                left.x2[i], left.y2[i] = columns.x2[i], columns.y2[i]
