"""Kernels from matches to average precision: only true positives shape a curve, false ones are counted between them."""

import numpy as np

from fusion.kernels.jit import jit

__all__ = ["count_false", "curve_terms", "positives_of", "resampled", "resampled_entry_by_entry"]

_FALSE = 1


@jit
def positives_of(truth_start, truth_count, weight, categories):
    """Return how much ground truth each category has, summed image by image as the official code does.

    `truth_count` [cells, 2] (objects, regions) is by category, images ascending.
    """
    total = np.zeros(categories, np.float64)
    for k in range(categories):
        for c in range(truth_start[k], truth_start[k + 1]):
            total[k] += truth_count[c, 0] + weight * truth_count[c, 1]
    return total


@jit
def count_false(start, image, category, score, outcome, place, true_score, true_key, between, counts):
    """Count the false positives between the true ones.

    `true_score` and `true_key` are those of the true positives and regions of category k, in order, at
    place[k]..place[k+1]-1. Adds to `between` [trues + categories], where entry place[k] + k + i counts those
    that come after i of the category's, and to `counts` [k], the detections evaluated.

    Returns whether a false positive has the score of a true one of its category.
    """
    tied = False
    for d in range(len(outcome)):
        if outcome[d] == 0:
            continue
        k = category[d]
        counts[k] += 1
        if outcome[d] != _FALSE:
            continue
        s = score[d]
        key = (np.int64(image[d]) << 32) | (d - start[image[d]])
        low = place[k]
        high = place[k + 1]
        while low < high:
            middle = (low + high) >> 1
            if true_score[middle] > s or (true_score[middle] == s and true_key[middle] < key):
                low = middle + 1
            else:
                high = middle
        between[low + k] += 1
        if (low < place[k + 1] and true_score[low] == s) or (low > place[k] and true_score[low - 1] == s):
            tied = True
    return tied


@jit
def curve_terms(place, label, between, positives, terms, ends, reached):
    """Write the strips under each category's curve of precision over recall.

    The strips of category k are terms[place[k] + k] .. terms[ends[k] - 1]: recall gained times the best
    precision from there on; one of 0 follows where recall does not reach 1, since the official sum has
    it as well. Fills `reached` [k], the highest recall.

    Entries whose recall has been rounded above 1 are left out with all after them, as officially. Returns the number
    of categories where that is so.
    """
    beyond = 0
    for k in range(len(positives)):
        first = place[k]
        n = place[k + 1] - first
        base = first + k
        ends[k] = base
        reached[k] = np.nan
        if positives[k] == 0:
            continue
        reached[k] = 0.0
        true = 0.0
        false = 0
        recall = np.empty(n, np.float64)
        precision = np.empty(n, np.float64)
        for i in range(n):
            false += between[base + i]
            true += label[first + i]
            precision[i] = true / (true + false)
            recall[i] = true / positives[k]
            if recall[i] > 1.0:
                n = i
                beyond += 1
                break
        for i in range(n - 2, -1, -1):
            precision[i] = max(precision[i], precision[i + 1])
        before = 0.0
        for i in range(n):
            if recall[i] != before:
                terms[ends[k]] = (recall[i] - before) * precision[i]
                ends[k] += 1
                before = recall[i]
        if n and before != 1.0:
            terms[ends[k]] = 0.0
            ends[k] += 1
        reached[k] = before
    return beyond


@jit
def resampled_entry_by_entry(start, image, label, run, truth_start, truth_image, truth_counts, weight, weights, out):
    """Write what `resampled` does, by the very sums of a data set in which images are copied.

    Where a region's weight is no short binary fraction, rounding decides which entries have a recall above 1. `run[i]`
    is the number of entries of one image and one score of which i is the last, 0 elsewhere; `truth_counts` [pairs, 2]
    are (objects, regions).
    """
    for k in range(len(start) - 1):
        for b in range(weights.shape[1]):
            positives = 0.0
            for c in range(truth_start[k], truth_start[k + 1]):
                for _ in range(weights[truth_image[c], b]):
                    positives += truth_counts[c, 0] + weight * truth_counts[c, 1]
            size = 0
            for i in range(start[k], start[k + 1]):
                size += weights[image[i], b]
            recall, precision = np.empty(size), np.empty(size)
            true, false, n = 0.0, 0, 0
            for i in range(start[k], start[k + 1]):
                for _ in range(weights[image[i], b] if run[i] > 0 else 0):
                    for j in range(i + 1 - run[i], i + 1):
                        true += label[j]
                        false += label[j] <= 0
                        recall[n], precision[n] = true / positives, true / (true + false)
                        n += recall[n] <= 1.0
            area, best = 0.0, 0.0
            for i in range(n - 1, -1, -1):
                best = max(best, precision[i])
                area += (recall[i] - (recall[i - 1] if i > 0 else 0.0)) * best
            out[k, b] = area if positives > 0 else np.nan


@jit
def resampled(start, image, label, run, truth_start, truth_image, truth_amount, weights, out):
    """Write the average precision of each category for the replicates of one block.

    Entries start[k]..start[k+1]-1 of category k are in order; `label` is what an entry adds to the true
    ones, 0 for a false positive. run[i] > 1 says that entry i is the last of so many of one image and one
    score with different labels: with two copies of the image they come twice in turn, not each twice.

    `weights` is int32 [images, replicates] and `out` float64 [categories, replicates].
    """
    lanes = weights.shape[1]
    true = np.empty(lanes, np.float64)
    false = np.empty(lanes, np.int64)
    best = np.empty(lanes, np.float64)
    area = np.empty(lanes, np.float64)
    amount = np.empty(lanes, np.float64)
    for k in range(len(start) - 1):
        true[:] = 0
        false[:] = 0
        best[:] = 0
        area[:] = 0
        amount[:] = 0
        for c in range(truth_start[k], truth_start[k + 1]):
            row = weights[truth_image[c]]
            for b in range(lanes):
                amount[b] += truth_amount[c] * row[b]
        for i in range(start[k], start[k + 1]):
            row = weights[image[i]]
            if label[i] > 0:
                for b in range(lanes):
                    true[b] += label[i] * row[b]
            else:
                for b in range(lanes):
                    false[b] += row[b]
        # from the lowest score up: the best precision so far is the one that counts
        i = start[k + 1] - 1
        while i >= start[k]:
            row = weights[image[i]]
            if run[i] > 1:
                for b in range(lanes):
                    for _ in range(row[b]):
                        for j in range(i, i - run[i], -1):
                            if label[j] > 0:
                                best[b] = max(best[b], true[b] / (true[b] + false[b]))
                                area[b] += label[j] * best[b]
                                true[b] -= label[j]
                            else:
                                false[b] -= 1
            elif label[i] > 0:
                gain = label[i]
                for b in range(lanes):
                    # of the copies the last has the best precision; without any, a true one before has a better
                    here = true[b] / (true[b] + false[b])
                    best[b] = here if here > best[b] else best[b]
                    area[b] += gain * row[b] * best[b]
                    true[b] -= gain * row[b]
            else:
                for b in range(lanes):
                    false[b] -= row[b]
            i -= run[i]
        for b in range(lanes):
            out[k, b] = area[b] / amount[b] if amount[b] > 0 else np.nan
