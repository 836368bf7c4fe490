"""Kernel that keeps the best rows of each image."""

import numpy as np

from fusion.kernels.jit import jit

__all__ = ["keep_top"]


@jit
def keep_top(score, order, start, k, keep):
    """Mark the k best rows of each image, ties by row.

    `order[start[i]:start[i + 1]]` are the rows of image i, ascending.
    """
    for image in range(len(start) - 1):
        first, last = start[image], start[image + 1]
        if last - first <= k:
            for p in range(first, last):
                keep[order[p]] = True
            continue
        values = np.empty(last - first)
        for p in range(first, last):
            values[p - first] = score[order[p]]
        lowest = np.partition(values, last - first - k)[last - first - k]
        above = 0
        for p in range(first, last):
            if score[order[p]] > lowest:
                keep[order[p]] = True
                above += 1
        ties = k - above
        for p in range(first, last):
            if ties > 0 and score[order[p]] == lowest:
                keep[order[p]] = True
                ties -= 1
