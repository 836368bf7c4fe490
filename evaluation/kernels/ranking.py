"""Ranking by score: scores as whole numbers, and a stable sort of them."""

import numpy as np

from fusion.kernels.jit import jit
from fusion.kernels.sort import sort_descending

__all__ = ["DROPPED", "gather_keys", "sort_keys"]

DROPPED = np.uint64(0x000FFFFFFFFFFFFF)
"""The key of minus infinity."""

_INFINITE = np.uint64(0xFFF0000000000000)
_SIGN = np.uint64(1 << 63)
_SHORT = 24  # below this length insertion alone is faster
_PATIENCE = 8  # moves per row that insertion may take before merging takes over


@jit
def gather_keys(score, row, number, key):
    """Write the keys of some scores: whole numbers in the same order, with 0.0 and -0.0 equal.

    Args:
        score: float64 [n].
        row: int32 [m], which of them.
        number: float64, scratch; the same memory as `key`.
        key: uint64, of which the first m are written.

    Returns:
        Whether all are numbers; minus infinity passes.
    """
    for i in range(len(row)):
        number[i] = score[row[i]] + 0.0
    wrong = False
    for i in range(len(row)):
        bits = key[i]
        bits ^= np.uint64(np.int64(bits) >> 63) | _SIGN
        key[i] = bits
        wrong |= (bits >= _INFINITE) | (bits < DROPPED)
    return not wrong


@jit
def sort_keys(key, index, other_key, other_index, counts, n):
    """Sort the first n keys, highest first, together with `index`; stable.

    Keys are first dealt into ranges, which leaves little to sort; `other_*` and `counts` are scratch, and the
    length of `counts` is the largest number of ranges.
    """
    if n > _SHORT:
        lowest, highest = key[0], key[0]
        for i in range(n):
            lowest, highest = min(lowest, key[i]), max(highest, key[i])
        ranges = np.uint64(min(n, len(counts)))
        shift = np.uint64(0)
        while (highest - lowest) >> shift >= ranges:
            shift += np.uint64(1)
        used = ((highest - lowest) >> shift) + np.uint64(1)
        counts[:used] = 0
        for i in range(n):
            other_key[i] = key[i]
            other_index[i] = index[i]
            counts[(highest - key[i]) >> shift] += 1
        total = 0
        for r in range(used):
            size = counts[r]
            counts[r] = total
            total += size
        for i in range(n):
            r = (highest - other_key[i]) >> shift
            p = counts[r]
            counts[r] = p + 1
            key[p] = other_key[i]
            index[p] = other_index[i]
    patience = _PATIENCE * n
    for i in range(1, n):
        k = key[i]
        if key[i - 1] < k:
            r = index[i]
            j = i
            while j > 0 and key[j - 1] < k:
                key[j] = key[j - 1]
                index[j] = index[j - 1]
                j -= 1
            key[j] = k
            index[j] = r
            patience -= i - j
            if patience < 0:
                sort_descending(key, index, other_key, other_index, 0, n)
                break
