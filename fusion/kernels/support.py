"""Which boxes of a cell are supported by a box of another input."""

from fusion import geometry
from fusion.kernels.jit import jit, uncounted

__all__ = ["supported_cells"]

iou = jit(geometry.iou)


@uncounted
def supported_cells(columns, low, high, side, threshold, supported):
    """Set `supported` at the rows of cells low..high-1 that overlap a box of another side by at least `threshold`."""
    x1, y1, x2, y2, row, start = columns.x1, columns.y1, columns.x2, columns.y2, columns.row, columns.start
    for c in range(low, high):
        for i in range(start[c], start[c + 1]):
            own = side[row[i]]
            area = (x2[i] - x1[i]) * (y2[i] - y1[i])
            for j in range(start[c], start[c + 1]):
                if side[row[j]] == own:
                    continue
                other = (x2[j] - x1[j]) * (y2[j] - y1[j])
                if iou(x1[i], y1[i], x2[i], y2[i], area, x1[j], y1[j], x2[j], y2[j], other) >= threshold:
                    supported[row[i]] = True
                    break
