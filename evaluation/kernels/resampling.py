"""Average precision of many replicates at once, in which each image counts as often as it was drawn.

The replicates of a batch lie side by side in the last axis, `LANES` of them, so that the innermost loops run over
them with SIMD.
"""

import numpy as np

from evaluation.formulas import curve
from fusion.kernels.jit import formula, uncounted

__all__ = ["LANES", "average_precision", "best_f1", "count_positives"]

LANES = 32
precision_at = formula(curve.precision)


@uncounted
def count_positives(truth_image, truth_category, truth_outside, places, weights, positives):
    """Count the ground truth of each area range and category, with multiplicity.

    Args:
        truth_image: int32 [g].
        truth_category: int32 [g].
        truth_outside: uint8 [g], bit a is set where range a ignores it.
        places: int64 [areas], the ranges wanted.
        weights: int32 [images, LANES].
        positives: int32 [areas, categories, LANES], zeros; counted into.
    """
    for g in range(len(truth_image)):
        row = weights[truth_image[g]]
        for a in range(positives.shape[0]):
            if not (truth_outside[g] >> places[a]) & 1:
                count = positives[a, truth_category[g]]
                for lane in range(LANES):
                    count[lane] += row[lane]


@uncounted
def _entries(first, last, area, image, run, outside, useful, weights, entries, inside, top):
    """List what may change precision in one category and area range; return the number of entries.

    An entry has a source (a detection), a weight per replicate, and the detections in the area range up to it, itself
    included. The copies of an image lie next to each other, so a detection of weight w is w equal ones in a row. Only
    where detections of one image tie in score do its copies mix: such a run is written out copy by copy.
    """
    source, entry_weight, entry_inside = entries
    used = 0
    for lane in range(LANES):
        inside[lane] = 0
    i = first
    while i < last:
        row = weights[image[i]]
        length = run[i]
        if length == 1:
            if not (outside[i] >> area) & 1:
                for lane in range(LANES):
                    inside[lane] += row[lane]
            if useful[i]:
                source[used] = i
                weight, seen = entry_weight[used], entry_inside[used]
                for lane in range(LANES):
                    weight[lane] = row[lane]
                for lane in range(LANES):
                    seen[lane] = inside[lane]
                used += 1
        else:
            copies = 0
            for lane in range(LANES):
                copies = max(copies, row[lane])
            for copy in range(copies):
                for lane in range(LANES):
                    top[lane] = 1 if row[lane] > copy else 0
                for d in range(i, i + length):
                    if not (outside[d] >> area) & 1:
                        for lane in range(LANES):
                            inside[lane] += top[lane]
                    if useful[d]:
                        source[used] = d
                        weight, seen = entry_weight[used], entry_inside[used]
                        for lane in range(LANES):
                            weight[lane] = top[lane]
                        for lane in range(LANES):
                            seen[lane] = inside[lane]
                        used += 1
        i += length
    return used


@uncounted
def _curve(used, bit, true, spared, entries, event, precision, hits, kept):
    """Write precision at each true positive of one threshold; return how many there are.

    Of the copies of one true positive the last has the highest precision, so it stands for all.
    """
    source, entry_weight, entry_inside = entries
    events = 0
    for lane in range(LANES):
        hits[lane] = 0
        kept[lane] = 0
    for e in range(used):
        i = source[e]
        weight = entry_weight[e]
        if (spared[i] >> bit) & np.uint64(1):
            for lane in range(LANES):
                kept[lane] += weight[lane]
        if (true[i] >> bit) & np.uint64(1):
            seen, at = entry_inside[e], precision[events]
            for lane in range(LANES):
                hits[lane] += weight[lane]
            for lane in range(LANES):
                at[lane] = precision_at(hits[lane], seen[lane] - kept[lane])
            event[events] = e
            events += 1
    return events


@uncounted
def _points_reached(hits, positives, recalls, points):
    """Count the recall points that are reached by each replicate's true positives; none without any."""
    steps = len(recalls) - 1
    for lane in range(LANES):
        recall = np.float64(hits[lane]) / np.float64(positives[lane])
        nearest = np.int32(recall * steps + 0.5)
        reached = nearest + np.int32(recalls[nearest] <= recall)
        points[lane] = reached if hits[lane] > 0 else 0


@uncounted
def _area_under(events, entry_weight, event, precision, positives, recalls, hits, best, points, before, total):
    """Sum interpolated precision over the recall points into `total`, from the last true positive to the first."""
    for lane in range(LANES):
        best[lane] = 0.0
        total[lane] = 0.0
    _points_reached(hits, positives, recalls, points)
    for n in range(events - 1, -1, -1):
        at, weight = precision[n], entry_weight[event[n]]
        for lane in range(LANES):
            hits[lane] -= weight[lane]
        _points_reached(hits, positives, recalls, before)
        for lane in range(LANES):
            best[lane] = max(best[lane], at[lane])
            total[lane] += best[lane] * np.float64(points[lane] - before[lane])
            points[lane] = before[lane]


@uncounted
def average_precision(block, image, run, useful, thresholds, single, places, weights, positives, recalls, scratch, out):
    """Add the average precision of every category and replicate of a batch into `out`.

    Args:
        block: (start, outside, true, spared) of a `MatchBlock`.
        image: int32 [n], image of each detection.
        run: int32 [n], length of the run of tied detections of one image that starts here; 1 for no such run.
        useful: bool [n], whether any bit of `true` or `spared` is set.
        thresholds: Number of thresholds in the block.
        single: int64 [s, 2], range (place in `places`) and threshold that have a figure of their own; a threshold below
            0 or from `thresholds` on is not in the block.
        places: int64 [areas], the ranges wanted.
        weights: int32 [images, LANES].
        positives: int32 [areas, categories, LANES], at least 1.
        recalls: float64 [r], evenly spaced from 0 to 1.
        scratch: Arrays for the entries of a category and for the replicates.
        out: float64 [areas + s, categories, LANES]; sums over thresholds and recalls, for the single
            thresholds over recalls.
    """
    start, outside, true, spared = block
    source, entry_weight, entry_inside, event, precision, counts, numbers = scratch
    entries = (source, entry_weight, entry_inside)
    inside, top, hits, kept, points, before = counts[0], counts[1], counts[2], counts[3], counts[4], counts[5]
    best, total = numbers[0], numbers[1]
    areas = positives.shape[0]
    for k in range(len(start) - 1):
        for a in range(areas):
            used = _entries(
                start[k], start[k + 1], places[a], image, run, outside, useful, weights, entries, inside, top
            )
            if used == 0:
                break
            for t in range(thresholds):
                bit = np.uint64(places[a] * thresholds + t)
                events = _curve(used, bit, true, spared, entries, event, precision, hits, kept)
                if events == 0:
                    continue
                _area_under(
                    events, entry_weight, event, precision, positives[a, k], recalls, hits, best, points, before, total
                )
                for lane in range(LANES):
                    out[a, k, lane] += total[lane]
                for s in range(len(single)):
                    if single[s, 0] == a and single[s, 1] == t:
                        for lane in range(LANES):
                            out[areas + s, k, lane] = total[lane]


@uncounted
def best_f1(image, right, wrong, useful, weights, objects, best_right, best_wrong):
    """Find the least score of highest F1 of each replicate.

    Args:
        image: int32 [n], of detections by score, highest first.
        right: float64 [n], what each adds to the true positives.
        wrong: float64 [n], what each adds to the false positives.
        useful: bool [n], where F1 may be highest.
        weights: int32 [b, images].
        objects: float64 [b].
        best_right: float64 [b], zeros; true positives of at least that score.
        best_wrong: float64 [b], zeros; false positives.
    """
    for b in range(weights.shape[0]):
        row = weights[b]
        hits = 0.0
        misses = 0.0
        top = 0.0
        below = 1.0
        for i in range(len(image)):
            weight = np.float64(row[image[i]])
            hits += weight * right[i]
            misses += weight * wrong[i]
            # 2 hits / (hits + misses + objects) is larger; counts are whole numbers, so the products are exact
            if useful[i] and hits * below > top * (hits + misses + objects[b]):
                top = hits
                below = hits + misses + objects[b]
                best_right[b] = hits
                best_wrong[b] = misses
        if top == 0.0:
            best_wrong[b] = misses
