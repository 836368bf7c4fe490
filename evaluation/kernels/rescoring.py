"""Precision of the area range "all" for many vectors of scores on one layout of detections and pairs.

Only detections with pairs can be right, so only they are sorted and matched. The others are wrong at
every threshold: they are counted between the right ones, each found its place by a table of score ranges.
"""

import numpy as np

from evaluation.formulas import curve, matching
from evaluation.formulas.matching import IGNORED, LOST
from evaluation.kernels.precision import needed
from evaluation.kernels.ranking import DROPPED, gather_keys, sort_keys
from fusion.kernels.jit import formula, jit

__all__ = ["rescore"]

_BITS = 64
_RANGES = 4096
precision, claim = formula(curve.precision), formula(matching.claim)
_ALL = np.uint64(0xFFFFFFFFFFFFFFFF)
_NO = np.uint64(0)
_ONE = np.uint64(1)


@jit
def _first(count):
    """Return the lowest `count` bits; none below 0."""
    if count <= 0:
        return _NO
    return _ALL if count >= _BITS else (_ONE << np.uint64(count)) - _ONE


@jit
def _cut_cells(key, slot, cell, cap, scratch):
    """Drop all but the `cap` best detections of each cell; of equals the earlier is kept."""
    sorted_key, index, other_key, other_index, counts = scratch
    low = 0
    while low < len(slot):
        n = 0
        high = low
        while high < len(slot) and cell[high] == cell[low]:
            if key[slot[high]] != DROPPED:
                sorted_key[n] = key[slot[high]]
                index[n] = slot[high]
                n += 1
            high += 1
        if n > cap:
            sort_keys(sorted_key, index, other_key, other_index, counts, n)
            for i in range(cap, n):
                key[index[i]] = DROPPED
        low = high


@jit
def _match(n, index, pairs, bound, full, base, matched, hits, wrong):
    """Match detections in order of score at up to 64 thresholds; bit t stands for threshold base + t."""
    inside, pair_start, pair_truth, passed, flags = pairs
    for i in range(n):
        d = bound + index[i]
        free = full
        found = _NO
        ignored = _NO
        for c in range(pair_start[d], pair_start[d + 1]):
            take = claim(free & _first(passed[c] - base), flags[c], matched, pair_truth[c])
            free &= ~take
            if flags[c] & IGNORED:
                ignored |= take
            elif not flags[c] & LOST:
                found |= take
        hits[i] = found
        wrong[i] = full & ~(found | ignored) if inside[d] else _NO


@jit
def _events(n, full, key, index, hits, wrong, event_key, event_index, before):
    """Pick the detections that are not wrong at every threshold, up to the last that is right at one.

    Fills `event_key` and `event_index`, and moves `hits` and `wrong` up. `before` [e + 1] becomes the
    number of those passed over, from one event to the next. Returns the number of events.
    """
    used = 0
    last = 0
    before[0] = 0
    for i in range(n):
        if hits[i] == _NO and wrong[i] == full:
            before[used] += 1
        elif hits[i] | wrong[i] != _NO:
            event_key[used] = key[i]
            event_index[used] = index[i]
            hits[used] = hits[i]
            wrong[used] = wrong[i]
            used += 1
            before[used] = 0
            if hits[used - 1] != _NO:
                last = used
    return last


@jit
def _count_between(events, event_key, event_index, event_row, key, row, edge, before):
    """Add the detections `key` to `before`: each to the first event that it precedes."""
    highest, lowest = event_key[0], event_key[events - 1]
    ranges = np.uint64(min(4 * events, _RANGES))
    shift = np.uint64(0)
    while (highest - lowest) >> shift >= ranges:
        shift += _ONE
    used = np.int64((highest - lowest) >> shift) + 1
    edge[: used + 1] = 0
    for e in range(events):
        edge[np.int64((highest - event_key[e]) >> shift) + 1] += 1
    for r in range(used):
        edge[r + 1] += edge[r]
    for i in range(len(key)):
        k = key[i]
        if k < lowest:
            continue
        if k > highest:
            before[0] += 1
            continue
        r = np.int64((highest - k) >> shift)
        low, high = edge[r], edge[r + 1]
        while low < high:
            middle = (low + high) >> 1
            if event_key[middle] > k or (event_key[middle] == k and event_row[event_index[middle]] < row[i]):
                low = middle + 1
            else:
                high = middle
        before[low] += 1


@jit
def _fill(events, t, hits, wrong, before, at):
    """Write precision at each right detection of threshold t and return how many there are."""
    found = 0
    false = 0
    bit = np.uint64(t)
    for e in range(events):
        # without a branch: what is written where nothing is right is overwritten
        at[found] = precision(found + 1, before[e] + false)
        found += np.int64((hits[e] >> bit) & _ONE)
        false += np.int64((wrong[e] >> bit) & _ONE)
    return found


@jit
def _interpolate(found, need, at, out):
    """Write the best precision at or beyond each recall to `out` [r], of `found` right detections."""
    best = 0.0
    done = found
    for r in range(len(need) - 1, -1, -1):
        while done >= need[r]:
            done -= 1
            best = max(best, at[done])
        out[r] = best


@jit
def rescore(first, last, scores, layout, chosen, positives, thresholds, recalls, cap, out):
    """Write interpolated precision of some (candidate, category) combinations.

    Args:
        first: First combination, `candidate * len(chosen) + place in chosen`.
        last: One past the last.
        scores: float64 [c, n], by row of `Found`; minus infinity where a detection is left out.
        layout: `Layout`.
        chosen: int64 [j], dense categories, all with ground truth that counts.
        positives: int64 [k], ground truth that counts.
        thresholds: Number of IoU thresholds.
        recalls: float64 [r].
        cap: Detections of a cell that count.
        out: float64 [c, t, r, j].

    Returns:
        The first combination whose scores are not all numbers, or -1.
    """
    section, first_paired, crowd_start = layout.section, layout.first_paired, layout.crowd_start
    pairs = (layout.inside, layout.pair_start, layout.pair_truth, layout.passed, layout.flags)
    longest, most, truths = 0, 0, 0
    for j in range(len(chosen)):
        k = chosen[j]
        longest = max(longest, section[k + 1, 0] - section[k, 0])
        most = max(most, section[k, 1] - section[k, 0])
        truths = max(truths, layout.truths[k])
    number = np.empty(longest, np.float64)
    key = number.view(np.uint64)
    width = longest if crowd_start[-1] > 0 else most
    sorted_key, other_key = np.empty(width, np.uint64), np.empty(width, np.uint64)
    index, other_index = np.empty(width, np.int32), np.empty(width, np.int32)
    counts = np.empty(2048, np.int32)
    scratch = (sorted_key, index, other_key, other_index, counts)
    matched = np.empty(truths, np.uint64)
    hits, wrong = np.empty(most, np.uint64), np.empty(most, np.uint64)
    before = np.empty(most + 1, np.int64)
    edge = np.empty(_RANGES + 1, np.int32)
    at = np.empty(most + 1, np.float64)
    need = np.empty(len(recalls), np.int64)
    for item in range(first, last):
        candidate, j = item // len(chosen), item % len(chosen)
        k = chosen[j]
        low = section[k, 0]
        row = layout.row[low : section[k + 1, 0]]
        if not gather_keys(scores[candidate], row, number, key):
            return item
        if crowd_start[k] < crowd_start[k + 1]:
            part = slice(crowd_start[k], crowd_start[k + 1])
            _cut_cells(key, layout.slot[part], layout.cell[part], cap, scratch)
        paired = section[k, 1] - low
        n = 0
        for i in range(paired):
            sorted_key[n] = key[i]
            index[n] = i
            n += key[i] != DROPPED
        sort_keys(sorted_key, index, other_key, other_index, counts, n)
        for r in range(len(recalls)):
            need[r] = max(needed(recalls[r], positives[k]), 1)
        alone = slice(paired, section[k, 2] - low)
        for base in range(0, thresholds, _BITS):
            block = min(_BITS, thresholds - base)
            full = _first(block)
            matched[: layout.truths[k]] = _NO
            _match(n, index, pairs, first_paired[k], full, base, matched, hits, wrong)
            events = _events(n, full, sorted_key, index, hits, wrong, other_key, other_index, before)
            if events > 0:
                _count_between(events, other_key, other_index, row, key[alone], row[alone], edge, before)
            for e in range(events):
                before[e + 1] += before[e]
            for t in range(block):
                found = _fill(events, t, hits, wrong, before, at)
                _interpolate(found, need, at, out[candidate, base + t, :, j])
    return -1
