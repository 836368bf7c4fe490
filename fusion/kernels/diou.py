"""Kernel of suppression by Distance-IoU."""

from fusion.formulas import boxes
from fusion.kernels.jit import formula, jit
from fusion.kernels.suppress import finish

__all__ = ["diou_cells"]


overlap, distance = formula(boxes.overlap), formula(boxes.distance)


@jit
def diou_cells(columns, low, high, threshold, out):
    """Suppress cells low..high-1 and return how many boxes are left.

    Boxes one after the other, without the filter of plain suppression, which knows no distance: the iterations of
    Cluster-NMS over a matrix end at the same boxes, and read all of it.
    """
    x1, y1, x2, y2, start = columns.x1, columns.y1, columns.x2, columns.y2, columns.start
    base, total, traced = start[low], 0, len(out.owner) > 0
    for c in range(low, high):
        begin = total
        for i in range(start[c], start[c + 1]):
            owner = i  # the box that suppresses it; itself where none does
            for k in range(begin, total):
                lead = out.position[k]
                u = overlap(x1, y1, x2, y2, lead, i)
                # the distance only lowers it
                if u > threshold and u - distance(x1, y1, x2, y2, lead, i) > threshold:
                    owner = lead
                    break
            if owner == i:
                out.cell[total], out.position[total] = c, i
                total += 1
            if traced:
                out.owner[i - base] = owner
    finish(columns, total, out)
    return total
