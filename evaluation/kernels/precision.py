"""From matches to precision and recall."""

import numpy as np

from evaluation.formulas import curve
from fusion.kernels.jit import formula, jit

__all__ = ["count_true", "fill_precision", "needed"]

precision_at = formula(curve.precision)


@jit
def count_true(first, last, start, rank, true, caps, hits):
    """Count the true positives of categories first..last-1 into `hits` [categories, caps, bits]."""
    bits = hits.shape[2]
    for k in range(first, last):
        for i in range(start[k], start[k + 1]):
            if true[i] == 0:
                continue
            m = 0
            while rank[i] >= caps[m]:
                m += 1
            left = true[i]
            for b in range(bits):
                hits[k, m, b] += np.int64((left >> np.uint64(b)) & np.uint64(1))
        for m in range(1, len(caps)):
            for b in range(bits):
                hits[k, m, b] += hits[k, m - 1, b]


@jit
def needed(recall, positives):
    """Return the least number of true positives whose recall is at least `recall`."""
    count = np.int64(recall * positives)
    while count / positives < recall:
        count += 1
    while count > 0 and (count - 1) / positives >= recall:
        count -= 1
    return count


@jit
def fill_precision(first, last, matches, positives, recalls, cap, precision, scores):
    """Write interpolated precision of categories first..last-1.

    `precision` is [area ranges, thresholds, recalls, categories] and holds -1 where nothing counts.
    Only true positives can raise precision, so the envelope is taken over them alone. With a
    non-empty `scores` of the same shape, the score at each point is written as well.
    """
    ranges, thresholds = precision.shape[0], precision.shape[1]
    with_scores = scores.size > 0
    most = 0
    for k in range(first, last):
        for a in range(ranges):
            most = max(most, positives[k, a])
    at = np.empty((ranges * thresholds, most), np.float64)
    score_at = np.empty((ranges * thresholds, most if with_scores else 0), np.float64)
    hits = np.empty(ranges * thresholds, np.int64)
    spared = np.empty(ranges * thresholds, np.int64)
    inside = np.empty(ranges, np.int64)
    for k in range(first, last):
        hits[:] = 0
        spared[:] = 0
        inside[:] = 0
        top = -1
        for i in range(matches.start[k], matches.start[k + 1]):
            if matches.rank[i] >= cap:
                continue
            if top < 0:
                top = i
            outside = matches.outside[i]
            for a in range(ranges):
                inside[a] += 1 - ((outside >> a) & 1)
            if matches.true[i] == 0 and matches.spared[i] == 0:
                continue
            for a in range(ranges):
                true = matches.true[i] >> np.uint64(a * thresholds)
                keep = matches.spared[i] >> np.uint64(a * thresholds)
                for t in range(thresholds):
                    b = a * thresholds + t
                    spared[b] += np.int64((keep >> np.uint64(t)) & np.uint64(1))
                    if (true >> np.uint64(t)) & np.uint64(1):
                        n = hits[b]
                        at[b, n] = precision_at(n + 1, inside[a] - spared[b])
                        if with_scores:
                            score_at[b, n] = matches.score[i]
                        hits[b] = n + 1
        for a in range(ranges):
            if positives[k, a] == 0:
                continue
            for t in range(thresholds):
                b = a * thresholds + t
                for n in range(hits[b] - 2, -1, -1):
                    at[b, n] = max(at[b, n], at[b, n + 1])
            for r in range(len(recalls)):
                need = needed(recalls[r], positives[k, a])
                for t in range(thresholds):
                    b = a * thresholds + t
                    reached = need <= hits[b] and top >= 0
                    precision[a, t, r, k] = at[b, max(need, 1) - 1] if reached and hits[b] > 0 else 0.0
                    if with_scores:
                        value = 0.0
                        if reached:
                            value = matches.score[top] if need == 0 else score_at[b, need - 1]
                        scores[a, t, r, k] = value
