"""Kernel that pairs boxes of some inputs with those of the others that they overlap best."""

from fusion.formulas import boxes
from fusion.kernels.jit import formula, jit

__all__ = ["pair_cells"]

overlap = formula(boxes.overlap)


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
            best, most = -1, threshold
            for j in range(first, last):
                if not seeking[row[j]]:
                    u = overlap(x1, y1, x2, y2, i, j)
                    if u > most:
                        best, most = j, u
            # boxes come by falling score, so the first to ask is the best
            if best >= 0 and not (exclusive and taken[best]):
                taken[best] = True
                partner[row[i]] = row[best]
