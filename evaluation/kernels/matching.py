"""Matching: which detections are true positives, which are ignored, at every threshold and area range at once.

A bit mask holds the answers of one detection: bit `area range * thresholds + threshold`.
"""

import numpy as np

from fusion.kernels.jit import jit

__all__ = ["group_by_category", "match"]

_DIGIT = 11
_SHORT = 48  # below this length insertion beats the six passes of the radix sort


@jit
def group_by_category(category, categories):
    """Return (offsets, rows): the rows of each category in their order; rows of category -1 are left out."""
    start = np.zeros(categories + 1, np.int64)
    for d in range(len(category)):
        k = category[d]
        if k >= 0:
            start[k + 1] += 1
    for k in range(categories):
        start[k + 1] += start[k]
    place = start[:-1].copy()
    rows = np.empty(start[-1], np.int32)
    for d in range(len(category)):
        k = category[d]
        if k >= 0:
            rows[place[k]] = d
            place[k] += 1
    return start, rows


@jit
def _insertion(key, index, n):
    for i in range(1, n):
        k = key[i]
        r = index[i]
        j = i - 1
        while j >= 0 and key[j] > k:
            key[j + 1] = key[j]
            index[j + 1] = index[j]
            j -= 1
        key[j + 1] = k
        index[j + 1] = r


@jit
def _radix(key, index, other_key, other_index, n, tally):
    """Sort by key, stable, 11 bits at a time; digits that are all the same are skipped."""
    digits = tally.shape[0]
    top = np.uint64(tally.shape[1] - 1)
    tally[:] = 0
    for i in range(n):
        k = key[i]
        for digit in range(digits):
            tally[digit, (k >> np.uint64(digit * _DIGIT)) & top] += 1
    for digit in range(digits):
        shift = np.uint64(digit * _DIGIT)
        if tally[digit, (key[0] >> shift) & top] == n:
            continue
        total = 0
        for b in range(tally.shape[1]):
            size = tally[digit, b]
            tally[digit, b] = total
            total += size
        for i in range(n):
            b = (key[i] >> shift) & top
            place = tally[digit, b]
            tally[digit, b] = place + 1
            other_key[place] = key[i]
            other_index[place] = index[i]
        key, other_key = other_key, key
        index, other_index = other_index, index
    return index


@jit
def _by_score(rows, score, number, bits, index, other_bits, other_index, tally):
    """Return the places in `rows` in order of score, highest first; equal scores in order of row."""
    n = len(rows)
    for i in range(n):
        number[i] = score[rows[i]] + 0.0  # -0.0 becomes 0.0: they tie
        index[i] = i
    for i in range(n):
        b = bits[i]
        # ascending in the score as an unsigned number, then turned round
        bits[i] = b if b >> np.uint64(63) else ~(b | np.uint64(1 << 63))
    if n < _SHORT:
        _insertion(bits, index, n)
        return index
    return _radix(bits, index, other_bits, other_index, n, tally)


@jit
def match(first, last, start, rows, found, pairs, truth, rules, matched):
    """Match the detections of categories first..last-1 in order of score.

    Per detection, threshold and area range: of the ground truth not yet taken, the one of highest
    IoU among those that count, else among those that are ignored; a crowd is never taken.

    Returns (rank in its cell, score, area range bits it is outside of, true positive bits, spared
    bits, category offsets) of the detections of rank below the cap in order of score; a spared
    detection is in the area range and yet no false positive.
    """
    longest = 0
    for k in range(first, last):
        longest = max(longest, start[k + 1] - start[k])
    number = np.empty(longest, np.float64)
    bits = number.view(np.uint64)
    other_bits = np.empty(longest, np.uint64)
    index = np.empty(longest, np.int32)
    other_index = np.empty(longest, np.int32)
    tally = np.empty((6, 1 << _DIGIT), np.int32)
    total = start[last] - start[first]
    rank = np.empty(total, np.int32)
    score = np.empty(total, np.float64)
    outside = np.empty(total, np.uint8)
    true = np.empty(total, np.uint64)
    spared = np.empty(total, np.uint64)
    stop = np.empty(last - first + 1, np.int64)
    stop[0] = 0
    seen = np.zeros(len(found.start) - 1, np.int32)
    nothing = np.uint64(0)
    thresholds = len(rules.thresholds)
    used = 0
    for k in range(first, last):
        mine = rows[start[k] : start[k + 1]]
        order = _by_score(mine, found.score, number, bits, index, other_bits, other_index, tally)
        for i in range(len(mine)):
            d = mine[order[i]]
            place = seen[found.image[d]]
            seen[found.image[d]] = place + 1
            if place >= rules.cap:
                continue
            hits = nothing
            ignored = nothing
            low = pairs.start[d]
            high = pairs.start[d + 1]
            if low < high:
                open_bits = rules.spread[-1]
                for ignoring in range(2):
                    for c in range(low, high):
                        g = pairs.truth[c]
                        passed = 0
                        while passed < thresholds and pairs.iou[c] >= rules.thresholds[passed]:
                            passed += 1
                        out = rules.spread[truth.outside[g]]
                        take = open_bits & rules.passed[passed] & (out if ignoring else ~out)
                        if not truth.crowd[g]:
                            take &= ~matched[g]
                            matched[g] |= take
                        open_bits &= ~take
                        if ignoring:
                            ignored |= take
                        elif not truth.unmatchable[g]:
                            hits |= take
            rank[used] = place
            score[used] = found.score[d]
            outside[used] = found.outside[d]
            true[used] = hits
            spared[used] = (hits | ignored) & ~rules.spread[found.outside[d]]
            used += 1
        for i in range(len(mine)):
            seen[found.image[mine[i]]] = 0
        stop[k - first + 1] = used
    return rank[:used], score[:used], outside[:used], true[:used], spared[:used], stop
