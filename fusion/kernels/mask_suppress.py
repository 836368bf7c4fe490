"""Kernel of hard suppression by mask IoU."""

import numpy as np

from fusion.formulas import masks
from fusion.kernels.jit import formula, jit
from fusion.kernels.runs import bounds, decode, shared_pixels
from fusion.kernels.suppress import finish

__all__ = ["mask_nms_cells"]

most_shared, union = formula(masks.most_shared), formula(masks.union)


@jit
def mask_nms_cells(columns, low, high, threshold, text, masked, out):
    """Suppress cells low..high-1 by mask IoU; returns how many are left, or -1 - row of a mask that cannot be read.

    The masks of a cell are decoded once, into scratch; those suppressed leave their room to the next. `masked` says by
    row whether there is a mask: one without, or without pixels, suppresses nothing and is not suppressed.
    """
    first, traced = columns.start[low], len(out.owner) > 0
    most = 0
    longest = 0
    for c in range(low, high):
        size = 0
        for i in range(columns.start[c], columns.start[c + 1]):
            row = columns.row[i]
            size += text.offset[row + 1] - text.offset[row]
        longest = max(longest, size)
        most = max(most, columns.start[c + 1] - columns.start[c])
    runs = np.empty(longest + 1, np.int32)
    # of the k-th mask kept in the cell: its boundaries runs[ends[k, 0] : ends[k, 1]], pixels, and bounds
    ends = np.empty((most, 2), np.int64)
    areas = np.empty(most, np.int64)
    boxes = np.empty((most, 4), np.int64)
    total = 0
    for c in range(low, high):
        used = 0
        count = 0
        for i in range(columns.start[c], columns.start[c + 1]):
            row = columns.row[i]
            # those kept stand in the first `count` places of the scratch
            size, area = 0, 0
            if masked[row]:
                pixels = np.int64(text.height[row]) * text.width[row]
                size, area = decode(text.data, text.offset[row], text.offset[row + 1], pixels, runs[used:])
                if size < 0:
                    return -1 - row
            x1, y1, x2, y2 = bounds(runs, used, used + size, text.height[row])
            above = i  # the box that suppresses it; itself where none does
            if area > 0:
                for k in range(count):
                    across = min(x2, boxes[k, 2]) - max(x1, boxes[k, 0])
                    down = min(y2, boxes[k, 3]) - max(y1, boxes[k, 1])
                    if across <= 0 or down <= 0:
                        continue
                    share = most_shared(area, areas[k], across, down)
                    if share / union(area, areas[k], share) <= threshold:
                        continue
                    share = shared_pixels(runs, used, used + size, runs, ends[k, 0], ends[k, 1])
                    if share / union(area, areas[k], share) > threshold:
                        above = out.position[total + k]
                        break
            if traced:
                out.owner[i - first] = above
            if above == i:
                out.cell[total + count] = c
                out.position[total + count] = i
                ends[count, 0] = used
                ends[count, 1] = used + size
                areas[count] = area
                boxes[count, 0], boxes[count, 1], boxes[count, 2], boxes[count, 3] = x1, y1, x2, y2
                used += size
                count += 1
        total += count
    finish(columns, total, out)
    return total
