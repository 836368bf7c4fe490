"""Matching: which detections are true positives, which are ignored, at every threshold and area range at once.

A bit mask holds the answers of one detection: bit `area range * thresholds + threshold`.
"""

import numpy as np

from fusion.kernels.jit import jit

__all__ = ["group_by_category", "match"]

_DIGIT = 11
_SHORT = 48  # below this length insertion beats the six passes of the radix sort


@jit
def group_by_category(found, pairs, categories):
    """Bring what matching needs of each detection into order of (category, row); category -1 is left out.

    Returns (offsets of the categories, row, score, item); an item packs the image, whether there are
    pairs, and the bits of the area ranges the detection is outside of.
    """
    start = np.zeros(categories + 1, np.int64)
    for k in found.category:
        if k >= 0:
            start[k + 1] += 1
    for k in range(categories):
        start[k + 1] += start[k]
    place = start[:-1].copy()
    row = np.empty(start[-1], np.int32)
    score = np.empty(start[-1], np.float64)
    item = np.empty(start[-1], np.int64)
    for d in range(len(found.category)):
        k = found.category[d]
        if k >= 0:
            i = place[k]
            place[k] = i + 1
            row[i] = d
            score[i] = found.score[d]
            paired = np.int64(pairs.start[d] < pairs.start[d + 1])
            item[i] = (np.int64(found.image[d]) << 9) | (paired << 8) | np.int64(found.outside[d])
    return start, row, score, item


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
def _by_score(score, n, number, bits, index, other_bits, other_index, tally):
    """Return 0 ... n - 1 in order of score, highest first; equal scores in their order."""
    for i in range(n):
        number[i] = score[i] + 0.0  # -0.0 becomes 0.0: they tie
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
def _walk(low, n, base, order, detections, pairs, truth, rules, matched, seen, used, out):
    """Match the detections of one category in order of score; return how many are in `out` now."""
    _, row, given, item = detections
    out_row, rank, score, outside, true, spared = out
    # tuples are unpacked and the matching of a detection is written out here: the reference counts
    # of a call with tuples of arrays took a quarter of the time
    pair_start, pair_truth, pair_iou = pairs
    limits, passed_bits, spread, cap = rules
    truth_outside, crowd, unmatchable = truth.outside, truth.crowd, truth.unmatchable
    nothing = np.uint64(0)
    for i in range(n):
        place = low + order[i]
        image = item[place] >> 9
        before = max(seen[image], base)
        seen[image] = before + 1
        if before - base >= cap:
            continue
        hits = nothing
        ignored = nothing
        if item[place] & 256:
            d = row[place]
            free = spread[-1]
            for ignoring in range(2):
                for c in range(pair_start[d], pair_start[d + 1]):
                    g = pair_truth[c]
                    passed = 0
                    while passed < len(limits) and pair_iou[c] >= limits[passed]:
                        passed += 1
                    left_out = spread[truth_outside[g]]
                    take = free & passed_bits[passed] & (left_out if ignoring else ~left_out)
                    if not crowd[g]:
                        take &= ~matched[g]
                        matched[g] |= take
                    free &= ~take
                    if ignoring:
                        ignored |= take
                    elif not unmatchable[g]:
                        hits |= take
                if free == nothing:
                    break
        ranges = np.int64(item[place] & 255)
        out_row[used] = row[place]
        rank[used] = before - base
        score[used] = given[place]
        outside[used] = ranges
        true[used] = hits
        spared[used] = (hits | ignored) & ~spread[ranges]
        used += 1
    return used


@jit
def match(first, last, images, detections, pairs, truth, rules, matched):
    """Match the detections of categories first..last-1 in order of score.

    Per detection, threshold and area range: of the ground truth not yet taken, the one of highest
    IoU among those that count, else among those that are ignored; a crowd is never taken.

    Returns (row, rank in its cell, score, area range bits it is outside of, true positive bits, spared
    bits, category offsets) of the detections of rank below the cap in order of score; a spared
    detection is in the area range and yet no false positive.
    """
    start, _, given, _ = detections
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
    row = np.empty(total, np.int32)
    rank = np.empty(total, np.int32)
    score = np.empty(total, np.float64)
    outside = np.empty(total, np.uint8)
    true = np.empty(total, np.uint64)
    spared = np.empty(total, np.uint64)
    out = (row, rank, score, outside, true, spared)
    stop = np.zeros(last - first + 1, np.int64)
    seen = np.zeros(images, np.int64)  # detections of an image so far, on a base of its own per category
    used = 0
    for k in range(first, last):
        low = start[k]
        n = start[k + 1] - low
        order = _by_score(given[low : low + n], n, number, bits, index, other_bits, other_index, tally)
        used = _walk(low, n, (k - first) << 32, order, detections, pairs, truth, rules, matched, seen, used, out)
        stop[k - first + 1] = used
    return row[:used], rank[:used], score[:used], outside[:used], true[:used], spared[:used], stop
