"""Kernel that pairs boxes of some inputs with those of the others that they overlap best."""

from fusion import geometry
from fusion.kernels.jit import jit

__all__ = ["pair_cells"]

iou = jit(geometry.iou)


@jit
def pair_cells(columns, low, high, seeking, threshold, exclusive, taken, partner):
    """Find the partner of each seeking box in cells low..high-1, among those that do not seek.

    Args:
        columns: `Columns`.
        low: First cell.
        high: One past the last cell.
        seeking: bool [n], by row.
        threshold: The IoU has to be above it.
        exclusive: Whether a box is the partner of one seeking box only, the one of highest score.
        taken: bool [n], zeros; scratch by position.
        partner: int64 [n], written by row: the row of the partner, -1 without one.
    """
    x1, y1, x2, y2, row = columns.x1, columns.y1, columns.x2, columns.y2, columns.row
    for c in range(low, high):
        first, last = columns.start[c], columns.start[c + 1]
        for i in range(first, last):
            partner[row[i]] = -1
            if not seeking[row[i]]:
                continue
            ax1, ay1, ax2, ay2 = x1[i], y1[i], x2[i], y2[i]
            area = (ax2 - ax1) * (ay2 - ay1)
            best, most = -1, threshold
            for j in range(first, last):
                if not seeking[row[j]]:
                    size = (x2[j] - x1[j]) * (y2[j] - y1[j])
                    overlap = iou(ax1, ay1, ax2, ay2, area, x1[j], y1[j], x2[j], y2[j], size)
                    if overlap > most:
                        best, most = j, overlap
            # boxes come by falling score, so the first to ask is the best
            if best >= 0 and not (exclusive and taken[best]):
                taken[best] = True
                partner[row[i]] = row[best]
