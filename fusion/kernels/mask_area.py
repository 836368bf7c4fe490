"""Kernel that counts the pixels of masks."""

import numpy as np

from fusion.kernels.jit import jit
from fusion.kernels.runs import decode

__all__ = ["mask_areas"]


@jit
def mask_areas(low, high, data, offset, height, width, area):
    """Write the pixels of texts low..high-1 to `area`, int64 [n]; return the first text that is no mask, or -1."""
    longest = 0
    for k in range(low, high):
        longest = max(longest, offset[k + 1] - offset[k])
    runs = np.empty(longest + 2, np.int32)
    for k in range(low, high):
        area[k] = 0
        if offset[k + 1] > offset[k]:
            count, pixels = decode(data, offset[k], offset[k + 1], np.int64(height[k]) * width[k], runs)
            if count < 0:
                return k
            area[k] = pixels
    return -1
