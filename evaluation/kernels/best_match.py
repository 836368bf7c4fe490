"""Kernel that pairs detections with true objects one to one, best score first, at any IoU."""

from fusion.formulas import boxes
from fusion.kernels.jit import formula, jit

__all__ = ["match_cells"]

iou, intersection = formula(boxes.iou), formula(boxes.intersection)


@jit
def match_cells(columns, low, high, truth, first, last, least, out, owner):
    """Write the IoU of each detection of cells low..high-1 with the object it gets, 0 without one.

    A detection takes the free object of largest IoU (the first of equals). One without an object that
    lies in a crowd region, by intersection over its own area, gets NaN.

    Args:
        columns: `Columns`.
        low: First cell.
        high: One past the last cell.
        truth: (x1, y1, x2, y2, crowd, free) of the objects, sorted by cell; `free` is scratch of ones.
        first: int64 [cells], first object of each cell.
        last: int64 [cells], one past its last object.
        least: Smallest IoU that counts.
        out: float64 [n], by position.
        owner: int64 [n], by position: takes the object of each detection, -1 where it gets none.
    """
    x1, y1, x2, y2, crowd, free = truth
    for cell in range(low, high):
        for i in range(columns.start[cell], columns.start[cell + 1]):
            ax1, ay1, ax2, ay2 = columns.x1[i], columns.y1[i], columns.x2[i], columns.y2[i]
            area = (ax2 - ax1) * (ay2 - ay1)
            best = 0.0
            winner = -1
            in_crowd = False
            for g in range(first[cell], last[cell]):
                if crowd[g]:
                    shared = intersection(ax1, ay1, ax2, ay2, x1[g], y1[g], x2[g], y2[g])
                    in_crowd = in_crowd or shared > 0.5 * area
                elif free[g]:
                    size = (x2[g] - x1[g]) * (y2[g] - y1[g])
                    overlap = iou(ax1, ay1, ax2, ay2, area, x1[g], y1[g], x2[g], y2[g], size)
                    if overlap >= least and overlap > best:
                        best = overlap
                        winner = g
            owner[i] = winner
            if winner >= 0:
                free[winner] = False
                out[i] = best
            elif in_crowd:
                out[i] = float("nan")
            else:
                out[i] = 0.0
