"""The clusters of hard suppression, and what their members say together: consensus and probabilistic fusion."""

from typing import Any

import numpy as np

from fusion.cuda.kernels.answer import Left, room
from fusion.cuda.kernels.cells import GpuColumns
from fusion.cuda.kernels.device import Kernel, cuda, empty, filled, formula
from fusion.cuda.kernels.suppress import claimed
from fusion.formulas import odds

__all__ = ["agreed", "joined"]

log_odds, joint = formula(odds.log_odds), formula(odds.joint)


def agreed(columns: GpuColumns, threshold: float, least: int) -> Left:
    """Leave the best box of each cluster of at least `least` members, with their number; see `fusion.Consensus`."""
    size = len(columns.row)
    owner, voter = _clusters(columns, threshold)
    none: Any = empty(0, np.float64)
    left = Left(filled(size, np.int8), columns.score, none, none, none, none, empty(size, np.int16))
    count_votes(size, columns, owner, voter, least, left)
    return left


def joined(columns: GpuColumns, threshold: float) -> Left:
    """Join each cluster's votes, all in [0, 1], as independent evidence; see `fusion.ProbFusion`.

    Boxes are those of the CPU. So are scores, but for log, log1p and exp: with T the sum over a cluster's votes of
    |log p| + |log(1 - p)|, they are within (votes + 5) 2^-52 (1 + T) of the CPU's, relatively, since each of the two
    has every log within one unit of its last place, and as many roundings as votes.
    """
    size = len(columns.row)
    owner, voter = _clusters(columns, threshold)
    left = room(size, corners=True, votes=True)
    join_votes(size, columns, owner, voter, left)
    return left


def _clusters(columns: GpuColumns, threshold: float) -> tuple[Any, Any]:
    """Return, by position, the kept box that each belongs to (int32) and whether it votes for its member (int8)."""
    size = len(columns.row)
    owner, voter = claimed(columns, threshold), empty(size, np.int8)
    flag_votes(size, columns, owner, voter)
    return owner, voter


@Kernel
def flag_votes(columns, owner, voter):
    """Flag the best box of each member in each cluster; `owner` is the position of a cluster's first box, its best."""
    for p in range(cuda.grid(1), len(columns.row), cuda.gridsize(1)):
        q, own = owner[p], columns.member[p]
        while q < p and (owner[q] != owner[p] or columns.member[q] != own):
            q += 1
        voter[p] = 1 if q == p else 0


@Kernel
def count_votes(columns, owner, voter, least, left):
    """Count the votes for each kept box."""
    for p in range(cuda.grid(1), len(columns.row), cuda.gridsize(1)):
        if owner[p] == p:
            votes = 0
            for q in range(p, columns.start[columns.cell[p] + 1]):
                if owner[q] == p:
                    votes += voter[q]
            left.votes[p] = votes
            left.alive[p] = 1 if votes >= least else 0


@Kernel
def join_votes(columns, owner, voter, left):
    """Add up the votes for each kept box, best first."""
    for p in range(cuda.grid(1), len(columns.row), cuda.gridsize(1)):
        if owner[p] == p:
            x1 = y1 = x2 = y2 = total = evidence = 0.0
            votes = certain = 0
            for q in range(p, columns.start[columns.cell[p] + 1]):
                if owner[q] == p and voter[q] != 0:
                    s = columns.score[q]
                    x1 += s * columns.x1[q]
                    y1 += s * columns.y1[q]
                    x2 += s * columns.x2[q]
                    y2 += s * columns.y2[q]
                    total += s
                    votes += 1
                    if s > 0.0 and s < 1.0:
                        evidence += log_odds(s)
                    elif s > 0.0:
                        certain += 1
                    else:
                        certain -= 1
            left.alive[p] = 1
            left.votes[p] = votes
            left.score[p] = columns.score[p]
            if votes > 1:
                left.score[p] = joint(evidence, certain)
            if votes > 1 and total != 0.0:
                left.x1[p], left.y1[p], left.x2[p], left.y2[p] = x1 / total, y1 / total, x2 / total, y2 / total
            else:
                left.x1[p], left.y1[p] = columns.x1[p], columns.y1[p]
                left.x2[p], left.y2[p] = columns.x2[p], columns.y2[p]
