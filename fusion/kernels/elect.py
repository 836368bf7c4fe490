"""Kernel that finds the category of a cluster of detections under several labels."""

import numpy as np

from fusion.kernels.jit import jit

__all__ = ["elect"]


@jit
def elect(start, source, label, key, labels, winner, best, share):
    """Elect the label of each group by the sum of its detections' keys, in the order of the sources.

    Ties go to the label with the largest single key, then to the one whose detection has the smaller number.

    Args:
        start: int64 [groups + 1], offsets into `source`; every group has at least one detection.
        source: int64, numbers of detections.
        label: int32 [detections].
        key: float64 [detections].
        labels: Number of labels.
        winner: int32 [groups], filled with the labels elected.
        best: int64 [groups], filled with the detection of that label with the largest key.
        share: float64 [groups], filled with that label's share of the keys; 1 where it is the only one, or the keys
            do not add up to more than 0.
    """
    total, top = np.zeros(labels), np.zeros(labels)
    first = np.zeros(labels, np.int64)
    found = np.full(labels, -1, np.int64)  # the last group that had the label
    for g in range(len(start) - 1):
        everything = 0.0
        for s in range(start[g], start[g + 1]):
            i = source[s]
            k = label[i]
            if found[k] != g:
                found[k] = g
                total[k], top[k], first[k] = 0.0, key[i], i
            elif key[i] > top[k] or (key[i] == top[k] and i < first[k]):
                top[k], first[k] = key[i], i
            total[k] += key[i]
            everything += key[i]
        chosen = label[source[start[g]]]
        alone = True
        for s in range(start[g], start[g + 1]):
            k = label[source[s]]
            alone = alone and k == chosen
            if total[k] > total[chosen] or (
                total[k] == total[chosen]
                and (top[k] > top[chosen] or (top[k] == top[chosen] and first[k] < first[chosen]))
            ):
                chosen = k
        winner[g], best[g] = chosen, first[chosen]
        share[g] = 1.0 if alone or everything <= 0.0 else min(1.0, max(0.0, total[chosen] / everything))
