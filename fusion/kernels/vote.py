"""Kernel of top-k box voting."""

from fusion import geometry
from fusion.kernels.jit import jit

__all__ = ["vote_cells"]

iou = jit(geometry.iou)


@jit
def vote_cells(columns, cell, position, threshold, shares, voters, overlap, out):
    """Let the boxes of each cell vote on its kept boxes.

    Args:
        columns: `Columns`.
        cell: int32 [m], cells of the kept boxes.
        position: int64 [m], their positions.
        threshold: IoU that a voter must exceed.
        shares: (score, box): how much the voters' scores and boxes count.
        voters: int64 [m, k], filled with the voters' positions, best first, then -1.
        overlap: float64 [k], scratch.
        out: (score [m], corners [m, 4], votes int16 [m]), filled.
    """
    x1, y1, x2, y2, score, member = columns.x1, columns.y1, columns.x2, columns.y2, columns.score, columns.member
    score_share, box_share = shares
    new_score, corners, votes = out
    most = voters.shape[1]
    for p in range(len(position)):
        i = position[p]
        ax1, ay1, ax2, ay2 = x1[i], y1[i], x2[i], y2[i]
        area = (ax2 - ax1) * (ay2 - ay1)
        count = 0
        for j in range(columns.start[cell[p]], columns.start[cell[p] + 1]):
            if j == i:
                continue
            u = iou(ax1, ay1, ax2, ay2, area, x1[j], y1[j], x2[j], y2[j], (x2[j] - x1[j]) * (y2[j] - y1[j]))
            if not u > threshold:
                continue
            # boxes of other members come first, so they rank above any IoU
            rank = u if member[j] == member[i] else u + 2.0
            if count == most:
                if rank <= overlap[most - 1]:
                    continue
                count -= 1
            place = count
            while place > 0 and overlap[place - 1] < rank:
                overlap[place] = overlap[place - 1]
                voters[p, place] = voters[p, place - 1]
                place -= 1
            overlap[place] = rank
            voters[p, place] = j
            count += 1
        for v in range(count, most):
            voters[p, v] = -1
        total = sx1 = sy1 = sx2 = sy2 = 0.0
        supporters = 1
        for v in range(count):
            j = voters[p, v]
            total += score[j]
            sx1 += x1[j]
            sy1 += y1[j]
            sx2 += x2[j]
            sy2 += y2[j]
            new = member[j] != member[i]
            for w in range(v):
                new = new and member[voters[p, w]] != member[j]
            supporters += new
        votes[p] = supporters
        new_score[p] = score[i] + score_share * total
        if count == 0:
            corners[p, 0], corners[p, 1], corners[p, 2], corners[p, 3] = ax1, ay1, ax2, ay2
        else:
            keep, share = 1.0 - box_share, box_share / count
            corners[p, 0] = keep * ax1 + share * sx1
            corners[p, 1] = keep * ay1 + share * sy1
            corners[p, 2] = keep * ax2 + share * sx2
            corners[p, 3] = keep * ay2 + share * sy2
