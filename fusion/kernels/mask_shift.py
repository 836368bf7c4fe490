"""Kernel that moves and scales masks as their boxes move, to the nearest pixel, on their runs."""

import math

import numpy as np

from fusion.kernels.jit import jit, uncounted
from fusion.kernels.runs import TEXT_BYTES, decode, encode

__all__ = ["shift_masks"]


@uncounted
def _source(pixel, low, high, new_low, new_high, pixels):
    """Return the pixel at which the centre of one lies before the box moved; -1 and `pixels` for all outside."""
    place = low + (pixel + 0.5 - new_low) * ((high - low) / (new_high - new_low))
    return np.int64(math.floor(min(max(place, -1.0), float(pixels))))


@uncounted
def _first_lines(low, high, new_low, new_high, height, first):
    """Fill first[a], for lines a of 0..height, with the first line that lies at a or behind it before."""
    a = 0
    for line in range(height):
        source = _source(line, low, high, new_low, new_high, height)
        while a <= source:
            first[a] = line
            a += 1
    while a <= height:
        first[a] = height
        a += 1


@jit
def shift_masks(low, high, text, masked, before, after):
    """Move the masks of rows low..high-1.

    A pixel is in the new mask if its centre lies, by the way back from the new box to the old one, on a pixel of the
    old mask; beyond the image there is nothing.

    Args:
        low: First row.
        high: One past the last row.
        text: `fusion.masks.MaskText` of all rows.
        masked: bool [rows], which have a mask.
        before: float64 [rows, 4], boxes x1, y1, x2, y2 in pixels, of width and height above 0 where they move.
        after: float64 [rows, 4], the same; NaN where a box does not move, and its mask keeps every byte.

    Returns:
        (uint8 texts one behind the other, int64 [high - low] their lengths, the first row whose mask cannot be read
        or -1).
    """
    written = np.empty(1024, np.uint8)
    length = np.zeros(high - low, np.int64)
    runs, lines, joined = np.empty(1, np.int32), np.empty(1, np.int64), np.empty(1024, np.int64)
    end = 0
    for i in range(low, high):
        if not masked[i]:
            continue
        begin, size = text.offset[i], text.offset[i + 1] - text.offset[i]
        width, height = np.int64(text.width[i]), np.int64(text.height[i])
        moves = not np.isnan(after[i, 0])
        count = 0
        if moves:
            if size + 1 > len(runs):
                runs = np.empty(2 * size + 1, np.int32)
            if height + 1 > len(lines):
                lines = np.empty(height + 1, np.int64)
            found, _ = decode(text.data, begin, begin + size, width * height, runs)
            if found < 0:
                return written[:0], length, i
            _first_lines(before[i, 1], before[i, 3], after[i, 1], after[i, 3], height, lines)
            r = 0
            for column in range(width if found > 0 else 0):
                source = _source(column, before[i, 0], before[i, 2], after[i, 0], after[i, 2], width)
                if source < 0:
                    continue
                top, bottom = source * height, (source + 1) * height
                while r < found and runs[r + 1] <= top:
                    r += 2
                if source >= width or r >= found:
                    break
                q = r
                while q < found and runs[q] < bottom:
                    first = column * height + lines[max(runs[q] - top, 0)]
                    last = column * height + lines[min(runs[q + 1] - top, height)]
                    if first < last:
                        if count > 0 and joined[count - 1] == first:
                            joined[count - 1] = last
                        else:
                            if count + 2 > len(joined):
                                longer = np.empty(2 * len(joined), np.int64)
                                longer[:count] = joined[:count]
                                joined = longer
                            joined[count], joined[count + 1] = first, last
                            count += 2
                    q += 2
        most = end + (TEXT_BYTES * (count + 1) if moves else size)
        if most > len(written):
            larger = np.empty(max(2 * len(written), most), np.uint8)
            larger[:end] = written[:end]
            written = larger
        if moves:
            after_it = encode(joined, count, width * height, written, end)
        else:
            after_it = end + size
            written[end:after_it] = text.data[begin : begin + size]
        length[i - low] = after_it - end
        end = after_it
    return written[:end].copy(), length, -1
