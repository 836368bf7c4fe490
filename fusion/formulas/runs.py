"""Masks as run boundaries: COCO's compressed text, bounds, and how much two masks share. Whole numbers only.

A mask of `height` x `width` pixels, counted down the columns, is kept as ascending positions
[start, end, start, end, ...] of its pixels.
"""

import numpy as np

__all__ = ["bounds", "decode", "shared_pixels", "write_number"]

_MOST = 2**31 - 1  # boundaries are int32


def decode(text, begin, end, pixels, runs):
    """Write the boundaries of one compressed RLE text into `runs`.

    The text holds run lengths in groups of 5 bits, low groups first, each byte 48 + group + 32 where
    another follows; the last group carries the sign, and from the fourth number on the number is
    the difference from the one two before.

    Returns (number of boundaries, area); the number is -1 where the text is no mask of `pixels` pixels.
    Pixels after the last run are background.
    """
    count = 0
    position = 0
    area = 0
    before = 0  # run lengths one and two back
    previous = 0
    wrong = 0
    p = begin
    while p < end:
        group = np.int64(text[p]) - 48
        p += 1
        wrong |= group >> 6
        if group & 32 == 0:
            length = (group ^ 16) - 16
        else:
            length = group & 31
            shift = 5
            while group & 32 and p < end and shift < 40:
                group = np.int64(text[p]) - 48
                p += 1
                wrong |= group >> 6
                length |= (group & 31) << shift
                shift += 5
            if group & 16:
                length |= np.int64(-1) << shift
            if group & 32:
                wrong = 1
        if count > 2:
            length += before
        before = previous
        previous = length
        wrong |= length >> 63
        position += length
        area += length * (count & 1)
        runs[count] = position
        count += 1
    if wrong != 0 or position > min(pixels, _MOST):
        return -1, 0
    return count - (count & 1), area


def write_number(number, text, at):
    """Write a number of compressed text to text[at] on, unless the text has no room at all; return the next place."""
    more = True
    while more:
        group = number & 31
        number >>= 5
        more = number != (-1 if group & 16 else 0)
        if len(text) > 0:
            text[at] = 48 + group + (32 if more else 0)
        at += 1
    return at


def bounds(runs, low, high, height):
    """Return the pixel box (x1, y1, x2, y2) of a mask; all 0 for an empty one."""
    base = 0
    x1 = np.int64(1) << 40
    x2 = np.int64(0)
    y1 = np.int64(height)
    y2 = np.int64(0)
    for r in range(low, high, 2):
        start = np.int64(runs[r])
        end = np.int64(runs[r + 1])
        if start == end:
            continue
        while start >= base + height:
            base += height
        x1 = min(x1, base)
        if end <= base + height:
            y1 = min(y1, start - base)
            y2 = max(y2, end - base)
        else:
            y1 = np.int64(0)
            y2 = np.int64(height)
        x2 = end
    if x2 == 0:
        return 0, 0, 0, 0
    return x1 // height, y1, (x2 + height - 1) // height, y2


def skip(runs, low, high, position):
    """Return the first pair of boundaries that ends after `position`."""
    while low < high:
        middle = low + (((high - low) >> 2) << 1)
        if runs[middle + 1] > position:
            high = middle
        else:
            low = middle + 2
    return low


def shared_pixels(a, i, a_end, b, j, b_end):
    """Return the number of pixels in both masks: boundaries i..a_end-1 of `a`, j..b_end-1 of `b`."""
    i = skip(a, i, a_end, b[j])
    if i < a_end:
        j = skip(b, j, b_end, a[i])
    shared = 0
    while i < a_end and j < b_end:
        end_a = a[i + 1]
        end_b = b[j + 1]
        shared += max(0, min(end_a, end_b) - max(a[i], b[j]))
        # both step without a branch: which one ends first is a coin toss to the processor
        step = 2 * (end_a < end_b)
        i += step
        j += 2 - step
    return shared
