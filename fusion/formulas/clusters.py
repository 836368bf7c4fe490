"""Clusters: the sums that WBF and NMW keep of their boxes, and WBF's score.

The public package keeps its sums in float32: rounded there after each box, so here as well.
"""

from typing import Any

import numpy as np

__all__ = ["CONFIDENCES", "added", "single", "wbf_score"]

CONFIDENCES = ("avg", "max", "box_and_model_avg", "absent_model_aware_avg")
_AVG, _MAX, _BOX_AND_MODEL, _ABSENT_MODEL = range(4)


def added(total: float, score: float, side: float) -> Any:
    """Return a sum of corners times scores with one more box in it."""
    return np.float32(total + score * side)


def single(value: float) -> Any:
    """Return a number as float32 has it."""
    return np.float64(np.float32(value))


def weight_of(bits: Any, first: int, weights: Any, present: bool, part: Any) -> float:
    """Sum up to 128 weights in the order in which NumPy's sum does: last bits depend on it (it halves longer arrays).

    Args:
        bits: uint64, from `first` on a bit for each member of a cluster.
        first: Place in `bits`.
        weights: float64 [members].
        present: Whether to sum those of the members in the cluster, or of the others.
        part: float64 [8], scratch.
    """
    size = 0
    for m in range(len(weights)):
        if ((bits[first + m // 64] >> np.uint64(m % 64)) & np.uint64(1) != np.uint64(0)) == present:
            size += 1
    whole = size - size % 8 if size >= 8 else 0
    for i in range(8):
        part[i] = 0.0
    k = 0
    total = 0.0
    for m in range(len(weights)):
        if ((bits[first + m // 64] >> np.uint64(m % 64)) & np.uint64(1) != np.uint64(0)) == present:
            if k < whole:
                part[k % 8] += weights[m]
            else:
                total += weights[m]
            k += 1
            if k == whole:
                total = ((part[0] + part[1]) + (part[2] + part[3])) + ((part[4] + part[5]) + (part[6] + part[7]))
    return total


def wbf_score(
    rule: Any, boxes: int, top: float, total: float, weight: float, bits: Any, first: int, weights: Any, part: Any
) -> float:
    """Return the score of a WBF cluster; see `fusion.steps.wbf.Wbf`.

    Args:
        rule: Has `confidence`, index into `CONFIDENCES`; `overflow`, whether "avg" may count more boxes than there are
            members; `total` and `largest` of the weights.
        boxes: How many are in the cluster.
        top: Largest score * weight.
        total: Sum of score * weight.
        weight: Sum of the boxes' weights.
        bits: uint64, from `first` on a bit for each member in the cluster.
        first: Place in `bits`.
        weights: float64 [members].
        part: float64 [8], scratch.
    """
    value = top
    if boxes > 1:
        # the public package keeps a cluster of several boxes in a float32 array, a single box in float64
        value = np.float64(np.float32(top if rule.confidence == _MAX else total / boxes))
        weight = np.float64(np.float32(weight))
    if rule.confidence == _MAX:
        value = value / rule.largest
    elif rule.confidence == _BOX_AND_MODEL:
        value = value * boxes / weight
        value = value * weight_of(bits, first, weights, True, part) / rule.total
    elif rule.confidence == _ABSENT_MODEL:
        value = value * boxes / (weight + weight_of(bits, first, weights, False, part))
    else:
        value = value * (boxes if rule.overflow else min(len(weights), boxes)) / rule.total
    return value
