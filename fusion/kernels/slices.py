"""Kernels that merge what was found in overlapping slices of one image: boxes, and masks moved to where they belong."""

import numpy as np

from fusion.formulas import boxes
from fusion.kernels.jit import formula, jit, uncounted
from fusion.kernels.runs import TEXT_BYTES, decode, encode
from fusion.kernels.suppress import finish

__all__ = ["claim_cells", "grow", "unite"]

intersection = formula(boxes.intersection)


@uncounted
def _matches(ax1, ay1, ax2, ay2, bx1, by1, bx2, by2, smaller, threshold):
    """Return whether two boxes overlap by the threshold or more: in parts of the smaller one, or of their union."""
    shared = intersection(ax1, ay1, ax2, ay2, bx1, by1, bx2, by2)
    if not 0.0 < shared < np.inf:
        return False
    one, other = (ax2 - ax1) * (ay2 - ay1), (bx2 - bx1) * (by2 - by1)
    return shared / (min(one, other) if smaller else one + other - shared) >= threshold


@uncounted
def claim_cells(columns, low, high, smaller, threshold, out):
    """Let each box, best first, claim the later ones that it matches; return how many are claimed by none."""
    x1, y1, x2, y2 = columns.x1, columns.y1, columns.x2, columns.y2
    base, total = columns.start[low], 0
    owner = out.owner
    owner[: columns.start[high] - base] = -1
    for c in range(low, high):
        last = columns.start[c + 1]
        for i in range(columns.start[c], last):
            if owner[i - base] >= 0:
                continue
            owner[i - base] = i
            out.cell[total], out.position[total] = c, i
            total += 1
            left, top, right, bottom = x1[i], y1[i], x2[i], y2[i]
            for j in range(i + 1, last):
                if (
                    x1[j] < right
                    and left < x2[j]
                    and y1[j] < bottom
                    and top < y2[j]
                    and owner[j - base] < 0
                    and _matches(left, top, right, bottom, x1[j], y1[j], x2[j], y2[j], smaller, threshold)
                ):
                    owner[j - base] = i
    finish(columns, total, out)
    return total


@uncounted
def grow(start, row, x1, y1, x2, y2, smaller, threshold, corners, taken):
    """Grow the first box of each group around those of the others that still match it, one after the other.

    Args:
        start: int64 [groups + 1].
        row: int64, rows of the boxes, best first.
        x1: float64 [rows], as are y1, x2, y2.
        y1: See x1.
        x2: See x1.
        y2: See x1.
        smaller: Whether overlap counts in parts of the smaller box.
        threshold: Least overlap.
        corners: float64 [groups, 4], filled.
        taken: bool, one per entry of `row`, filled: whether the box is part of its group's.
    """
    for g in range(len(start) - 1):
        i = row[start[g]]
        left, top, right, bottom = x1[i], y1[i], x2[i], y2[i]
        taken[start[g]] = True
        for s in range(start[g] + 1, start[g + 1]):
            j = row[s]
            taken[s] = _matches(left, top, right, bottom, x1[j], y1[j], x2[j], y2[j], smaller, threshold)
            if taken[s]:
                left, top, right, bottom = min(left, x1[j]), min(top, y1[j]), max(right, x2[j]), max(bottom, y2[j])
        corners[g, 0], corners[g, 1], corners[g, 2], corners[g, 3] = left, top, right, bottom


@uncounted
def _move(runs, count, height, place, size, starts, ends, at):
    """Write a mask's runs as they are in the whole image, column by column; return the end of what is written."""
    x, y = place
    width_in, height_in = size
    for r in range(0, count, 2):
        pixel, end = np.int64(runs[r]), np.int64(runs[r + 1])
        while pixel < end:
            column = pixel // height
            stop = min(end, (column + 1) * height)
            top = max(pixel - column * height + y, 0)
            bottom = min(stop - column * height + y, height_in)
            if 0 <= column + x < width_in and top < bottom:
                starts[at] = (column + x) * height_in + top
                ends[at] = (column + x) * height_in + bottom
                at += 1
            pixel = stop
    return at


@jit
def unite(low, high, start, row, text, offset):
    """Unite the masks of groups low..high-1, moved into their images; what lies outside of an image is cut off.

    Args:
        low: First group.
        high: One past the last group.
        start: int64 [groups + 1].
        row: int64, rows with masks, all of one image and size in a group.
        text: `fusion.masks.MaskText` of all rows.
        offset: int64 [rows, 4], place of the mask's slice (x, y), and width and height of the image.

    Returns:
        (uint8 texts one behind the other, int64 [high - low] their lengths, the first row whose mask cannot be read
        or -1).
    """
    written = np.empty(1024, np.uint8)
    length = np.zeros(high - low, np.int64)
    end = 0
    for g in range(low, high):
        room, widest = 0, 0
        for s in range(start[g], start[g + 1]):
            i = row[s]
            size = text.offset[i + 1] - text.offset[i]
            widest = max(widest, size)
            room += size // 2 + 1 + text.width[i]
        if start[g] == start[g + 1]:
            continue
        runs = np.empty(widest + 1, np.int32)
        starts, ends = np.empty(room, np.int64), np.empty(room, np.int64)
        pieces = 0
        for s in range(start[g], start[g + 1]):
            i = row[s]
            pixels = np.int64(text.height[i]) * text.width[i]
            count, _ = decode(text.data, text.offset[i], text.offset[i + 1], pixels, runs)
            if count < 0:
                return written[:0], length, i
            place, size_in = (offset[i, 0], offset[i, 1]), (offset[i, 2], offset[i, 3])
            pieces = _move(runs, count, np.int64(text.height[i]), place, size_in, starts, ends, pieces)
        order = np.argsort(starts[:pieces])
        joined = np.empty(2 * pieces, np.int64)
        count = 0
        for p in range(pieces):
            k = order[p]
            if count > 0 and starts[k] <= joined[count - 1]:
                joined[count - 1] = max(joined[count - 1], ends[k])
            else:
                joined[count], joined[count + 1] = starts[k], ends[k]
                count += 2
        most = end + TEXT_BYTES * (count + 1)
        if most > len(written):
            larger = np.empty(max(2 * len(written), most), np.uint8)
            larger[:end] = written[:end]
            written = larger
        i = row[start[g]]
        after = encode(joined, count, offset[i, 2] * offset[i, 3], written, end)
        length[g - low] = after - end
        end = after
    return written[:end].copy(), length, -1
