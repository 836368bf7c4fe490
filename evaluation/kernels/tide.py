"""TIDE: why each detection is wrong, and what AP would be had it been right."""

import numpy as np

from fusion.kernels.jit import jit

__all__ = ["area_under_curves", "find_errors"]

_TRUE, _FALSE, _IGNORED = 1, 2, 3
_CLS, _LOC, _BOTH, _DUPE, _BKG = 0, 1, 2, 3, 4
_USED, _USABLE = 1, 2


@jit
def _best(pairs, d, k, own, used_only, truth, source, used, free_only):
    """Return (IoU, row) of the object of highest IoU, the first of the source on ties; (0, -1) without one.

    Only objects of category `k` where `own`, else only those of other categories; crowd regions never.
    """
    pair_start, pair_truth, pair_iou = pairs
    best = -1
    best_iou = 0.0
    for c in range(pair_start[d], pair_start[d + 1]):
        g = pair_truth[c]
        if pair_iou[c] < best_iou:
            break
        if truth.crowd[g] or (truth.category[g] == k) != own:
            continue
        if (used_only and used[g] != _USED) or (free_only and used[g] == _USED):
            continue
        if best < 0 or source[g] < source[best]:
            best = g
            best_iou = pair_iou[c]
    return best_iou, best


@jit
def find_errors(first, last, order, found, pairs, truth, source, options, used, state, error, fixed):
    """Classify the detections of images first..last-1.

    Args:
        first: First image.
        last: One past the last image.
        order: int64 [n], rows by (image, score descending, row).
        found: Detections.
        pairs: Pairs across categories, of at least the background threshold.
        truth: Ground truth.
        source: int64 [g], place of each annotation in the source.
        options: Positive threshold, background threshold, detections of an image that count.
        used: uint8 [g], out: 1 found, 2 within reach of a fix, 0 missed.
        state: uint8 [n], out: 0 not considered, 1 true, 2 false, 3 ignored.
        error: int8 [n], out: main error of what is not true.
        fixed: int32 [n], out: the category in which the fixed detection is true, -1 where a fix removes it.
    """
    positive, background, cap = options
    pair_start, pair_truth, pair_iou = pairs
    for image in range(first, last):
        low, high = found.start[image], found.start[image + 1]
        objects = 0
        for g in range(truth.start[image], truth.start[image + 1]):
            objects += not truth.crowd[g]
        stop = low
        rank = 0
        while stop < high and rank < cap:
            d = order[stop]
            stop += 1
            k = found.category[d]
            if k < 0:
                continue
            rank += 1
            iou, g = _best(pairs, d, k, True, False, truth, source, used, True)
            if g >= 0 and iou >= positive:
                used[g] = _USED
                state[d] = _TRUE
                continue
            state[d] = _IGNORED if found.outside[d] & 1 else _FALSE
            for c in range(pair_start[d], pair_start[d + 1]):
                g = pair_truth[c]
                if truth.crowd[g] and truth.category[g] == k and pair_iou[c] > positive:
                    state[d] = _IGNORED
        for i in range(low, stop):
            d = order[i]
            if state[d] != _FALSE and state[d] != _IGNORED:
                continue
            k = found.category[d]
            own_iou, own = _best(pairs, d, k, True, False, truth, source, used, False)
            other_iou, other = _best(pairs, d, k, False, False, truth, source, used, False)
            used_iou, _ = _best(pairs, d, k, True, True, truth, source, used, False)
            target = -1
            if objects == 0:
                error[d] = _BKG
            elif background <= own_iou <= positive:
                error[d] = _LOC
                target = own
            elif other_iou >= positive:
                error[d] = _CLS
                target = other
            elif used_iou >= positive:
                error[d] = _DUPE
            elif max(own_iou, other_iou) <= background:
                error[d] = _BKG
            else:
                error[d] = _BOTH
            # of the errors that would be right with the same object, the best by score gets it
            if target >= 0 and used[target] == 0:
                used[target] = _USABLE
                fixed[d] = truth.category[target]


@jit
def area_under_curves(start, present, true, positives, recalls, out):
    """Write AP per category: NaN without detections and ground truth, 0 without ground truth.

    Detections are sorted by category and rank, `present` says which of them take part. Precision is
    TP / (TP + FP), its envelope is read at `recalls`.
    """
    longest = 0
    for k in range(len(start) - 1):
        longest = max(longest, start[k + 1] - start[k])
    precision = np.empty(longest, np.float64)
    for k in range(len(start) - 1):
        hits = 0
        count = 0
        for i in range(start[k], start[k + 1]):
            if present[i]:
                count += 1
                if true[i]:
                    hits += 1
                    precision[hits - 1] = hits / count
        if count == 0 and positives[k] == 0:
            out[k] = np.nan
            continue
        out[k] = 0.0
        if positives[k] == 0 or hits == 0:
            continue
        for n in range(hits - 2, -1, -1):
            precision[n] = max(precision[n], precision[n + 1])
        n = 0
        total = 0.0
        for recall in recalls:
            while n < hits and (n + 1) / positives[k] < recall:
                n += 1
            if n == hits:
                break
            total += precision[n]
        out[k] = total / len(recalls)
