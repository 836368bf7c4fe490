"""Laying out detections and their pairs for evaluation with many vectors of scores."""

import numpy as np

from evaluation.formulas.matching import IGNORED, LOST, SHARED
from fusion.kernels.jit import jit

__all__ = ["lay_out"]

_PAIRED, _ALONE, _REST = 0, 1, 2
_PARTS = 3


@jit
def _sort_out(start, category, outside, pair_start, counts, cap, part, crowded):
    """Write the part of each detection, `_PARTS * category + kind` or -1, and whether its cell is above the cap."""
    seen = np.zeros(len(counts), np.int64)
    for image in range(len(start) - 1):
        low, high = start[image], start[image + 1]
        large = high - low > cap
        if large:
            for d in range(low, high):
                if category[d] >= 0:
                    seen[category[d]] += 1
        for d in range(low, high):
            k = category[d]
            part[d] = -1
            if k < 0 or not counts[k]:
                continue
            crowded[d] = large and seen[k] > cap
            if pair_start[d] < pair_start[d + 1]:
                part[d] = _PARTS * k + _PAIRED
            elif outside[d] & 1 == 0:
                part[d] = _PARTS * k + _ALONE
            elif crowded[d]:
                part[d] = _PARTS * k + _REST  # it cannot be wrong, but takes a place in its cell
            else:
                crowded[d] = False
        if large:
            for d in range(low, high):
                if category[d] >= 0:
                    seen[category[d]] = 0


@jit
def _crowds(start, part, crowded, order, section, categories):
    """Return (offsets of the categories, place of a row in its category, image) of the rows in crowded cells."""
    crowd_start = np.zeros(categories + 1, np.int64)
    for d in np.flatnonzero(crowded):
        crowd_start[part[d] // _PARTS + 1] += 1
    for k in range(categories):
        crowd_start[k + 1] += crowd_start[k]
    place = crowd_start[:-1].copy()
    slot = np.empty(crowd_start[categories], np.int32)
    cell = np.empty(crowd_start[categories], np.int32)
    if len(slot) > 0:
        for image in range(len(start) - 1):
            for d in range(start[image], start[image + 1]):
                if crowded[d]:
                    k = part[d] // _PARTS
                    slot[place[k]] = order[d] - section[k, _PAIRED]
                    cell[place[k]] = image
                    place[k] += 1
    return crowd_start, slot, cell


@jit
def _judge_pairs(pairs, truth, categories, thresholds, judged):
    """Write of each pair the place of its annotation in its category, the thresholds it passes and its flags.

    Returns the number of annotations of each category.
    """
    number, passed, flags = judged
    place = np.empty(len(truth.category), np.int32)
    truths = np.zeros(categories, np.int64)
    for g in range(len(place)):
        place[g] = truths[truth.category[g]]
        truths[truth.category[g]] += 1
    for c in range(len(pairs.truth)):
        g = pairs.truth[c]
        number[c] = place[g]
        flags[c] = (truth.outside[g] & 1) * IGNORED | truth.crowd[g] * SHARED | truth.unmatchable[g] * LOST
        iou = pairs.iou[c]
        count = 0
        for t in range(len(thresholds)):  # all of them, so that nothing branches
            count += iou >= thresholds[t]
        passed[c] = count
    return truths


@jit
def _deal(section, row, outside, pair_start, judged):
    """Bring detections with pairs, and their pairs, into order of (category, row).

    Of the pairs of one detection, those whose annotation counts come first. Returns the fields of
    `Layout` from `first_paired` to `flags`.
    """
    categories = len(section) - 1
    first_paired = np.zeros(categories + 1, np.int64)
    for k in range(categories):
        first_paired[k + 1] = first_paired[k] + section[k, _ALONE] - section[k, _PAIRED]
    inside = np.empty(first_paired[categories], np.bool_)
    start = np.zeros(first_paired[categories] + 1, np.int64)
    number, passed, flags = judged
    out_number, out_passed, out_flags = np.empty_like(number), np.empty_like(passed), np.empty_like(flags)
    p = 0
    used = 0
    for k in range(categories):
        for i in range(section[k, _PAIRED], section[k, _ALONE]):
            d = row[i]
            inside[p] = outside[d] & 1 == 0
            for ignored in range(2):
                for c in range(pair_start[d], pair_start[d + 1]):
                    if flags[c] & IGNORED == ignored:
                        out_number[used] = number[c]
                        out_passed[used] = passed[c]
                        out_flags[used] = flags[c]
                        used += 1
            p += 1
            start[p] = used
    return first_paired, inside, start, out_number[:used].copy(), out_passed[:used].copy(), out_flags[:used].copy()


@jit
def lay_out(start, category, outside, pairs, truth, counts, cap, thresholds):
    """Lay out detections by category: those with pairs, those without, those that only fill their cell.

    Args:
        start: int64 [images + 1], offsets of the images.
        category: int32 [n], dense; -1 for what does not count.
        outside: uint8 [n], bit 0 is set where the area is outside the range "all".
        pairs: `Pairs`.
        truth: `Truth`.
        counts: bool [k], whether a category has ground truth that counts; others are left out.
        cap: Detections of a cell that count.
        thresholds: float64 [t], ascending.

    Returns:
        The fields of `Layout`.
    """
    n = len(category)
    categories = len(counts)
    part = np.empty(n, np.int32)
    crowded = np.zeros(n, np.bool_)
    _sort_out(start, category, outside, pairs.start, counts, cap, part, crowded)
    part_start = np.zeros(categories * _PARTS + 1, np.int64)
    for d in range(n):
        if part[d] >= 0:
            part_start[part[d] + 1] += 1
    for i in range(categories * _PARTS):
        part_start[i + 1] += part_start[i]
    section = np.empty((categories + 1, _PARTS), np.int64)
    section[:-1] = part_start[:-1].reshape(categories, _PARTS)
    section[categories] = part_start[-1]
    place = part_start[:-1].copy()
    row = np.empty(part_start[-1], np.int32)
    order = np.empty(n, np.int32)
    for d in range(n):
        if part[d] >= 0:
            i = place[part[d]]
            place[part[d]] = i + 1
            row[i] = d
            order[d] = i
    crowd_start, slot, cell = _crowds(start, part, crowded, order, section, categories)

    size = len(pairs.truth)
    judged = (np.empty(size, np.int32), np.empty(size, np.int32), np.empty(size, np.uint8))
    truths = _judge_pairs(pairs, truth, categories, thresholds, judged)
    return (section, row, *_deal(section, row, outside, pairs.start, judged), truths, crowd_start, slot, cell)
