"""Which object each detection gets at one IoU threshold, within categories or across them."""

import numpy as np

from fusion.kernels.jit import jit

__all__ = ["assign"]

_NOTHING, _IGNORED = -1, -2


@jit
def assign(first, last, order, found, pairs, truth, options, taken, match, overlap):
    """Match the detections of images first..last-1 in order of score.

    Fills `match` [n] with rows of the ground truth or codes (-1 nothing, -2 ignored; what takes no part
    keeps what it holds) and `overlap` [n] with the IoU of matches. `order` lists rows by
    (image, score descending, row); `taken` is scratch, all False; `options` are threshold, cap of a
    cell, least score, whether to match across categories, and the number of categories.
    """
    threshold, cap, least_score, across, categories = options
    pair_start, pair_truth, pair_iou = pairs
    kind, crowd, outside = truth.category, truth.crowd, truth.outside
    category, score, start = found.category, found.score, found.start
    seen = np.zeros(categories, np.int64)
    for image in range(first, last):
        for i in range(start[image], start[image + 1]):
            if category[i] >= 0:
                seen[category[i]] = 0
        for i in range(start[image], start[image + 1]):
            d = order[i]
            k = category[d]
            if k < 0 or score[d] < least_score:
                continue
            seen[k] += 1
            if seen[k] > cap:
                continue
            best = -1
            best_iou = 0.0
            for c in range(pair_start[d], pair_start[d + 1]):
                g = pair_truth[c]
                if pair_iou[c] < threshold:
                    break
                if best >= 0 and (pair_iou[c] < best_iou or not across or kind[g] != k or kind[best] == k):
                    continue
                if taken[g] or outside[g] & 1 or (kind[g] != k and not across):
                    continue
                best = g
                best_iou = pair_iou[c]
            if best >= 0:
                taken[best] = True
                match[d] = best
                overlap[d] = best_iou
                continue
            spared = found.outside[d] & 1 != 0
            for c in range(pair_start[d], pair_start[d + 1]):
                g = pair_truth[c]
                if pair_iou[c] < threshold:
                    break
                if outside[g] & 1 and kind[g] == k and (crowd[g] or not taken[g]):
                    spared = True
                    taken[g] = True
                    break
            match[d] = _IGNORED if spared else _NOTHING
