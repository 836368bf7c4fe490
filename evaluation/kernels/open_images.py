"""Kernels of the Open Images protocol: which detections are true, false or left out.

The ground truth of a cell (image and category) comes in four sections: objects that count, group-of
regions that count, objects that only make a detection be ignored, and regions that do. A detection looks
at its best ground truth of each section, never at the second best; so the answer of a section is, for
every object, the best-scored of the detections that look at it, and no detection has to be sorted.
"""

import numpy as np

from fusion.formulas import boxes
from fusion.formulas import masks as formulas
from fusion.kernels.jit import formula, jit, uncounted
from fusion.kernels.runs import bounds, decode, shared_pixels

__all__ = ["FALSE", "LEFT_OUT", "LOWEST", "TRUE", "look_at_masks", "match_boxes", "match_masks"]

match, intersection, most_shared, union = map(
    formula, (boxes.match, boxes.intersection, formulas.most_shared, formulas.union)
)

LEFT_OUT = 0
FALSE = 1
TRUE = 2

LOWEST = -10.0
"""The official code takes scores above it alone."""

_NOT_EVALUATED = -2
_NO_TRUTH = -1
# added by the official code to the area of a detection: of one pixel at most 0.9999999 lies in a group
_EPSILON = np.float32(1e-7)
# far above rounding of the quotient in float32
_SLACK = 1e-6


@uncounted
def _mark(image, truth, positive, negative, state):
    """Write what is known of each category in one image: its cell of ground truth, or that it is verified."""
    for i in range(positive.start[image], positive.start[image + 1]):
        state[positive.category[i]] = _NO_TRUTH
    for i in range(negative.start[image], negative.start[image + 1]):
        state[negative.category[i]] = _NO_TRUTH
    for cell in range(truth.start[image], truth.start[image + 1]):
        state[truth.category[cell]] = cell


@uncounted
def _unmark(image, truth, positive, negative, state):
    for i in range(positive.start[image], positive.start[image + 1]):
        state[positive.category[i]] = _NOT_EVALUATED
    for i in range(negative.start[image], negative.start[image + 1]):
        state[negative.category[i]] = _NOT_EVALUATED
    for cell in range(truth.start[image], truth.start[image + 1]):
        state[truth.category[cell]] = _NOT_EVALUATED


@uncounted
def _best_iou(ax1, ay1, ax2, ay2, truth, low, high, least):
    """Return the first object of largest box IoU among low..high-1, -1 where that is below `least`."""
    area = (ay2 - ay1) * (ax2 - ax1)
    best = -1
    most = 0.0
    for g in range(low, high):
        x1, y1, x2, y2 = truth.x1[g], truth.y1[g], truth.x2[g], truth.y2[g]
        overlap = match(ax1, ay1, ax2, ay2, area, x1, y1, x2, y2, truth.area[g], False, least)
        if overlap >= least and overlap > most:
            best = g
            most = overlap
    return best


@uncounted
def _best_ioa(ax1, ay1, ax2, ay2, truth, low, high, least):
    """Return the first region that holds the largest share of a box, -1 where that is below `least`."""
    area = (ay2 - ay1) * (ax2 - ax1)
    best = -1
    most = 0.0
    for g in range(low, high):
        share = intersection(ax1, ay1, ax2, ay2, truth.x1[g], truth.y1[g], truth.x2[g], truth.y2[g]) / area
        if share >= least and share > most:
            best = g
            most = share
    return best


@uncounted
def _settle(low, high, section, truth_low, best, score, outcome, winner, won):
    """Give every object of one section to the best-scored detection still undecided that looks at it.

    Of equal scores the first row gets it. Returns whether one lost to its equal.
    """
    tied = False
    for d in range(low, high):
        g = best[section, d - low]
        if g >= 0 and outcome[d] == FALSE:
            r = g - truth_low
            if winner[r] < 0 or score[d] > score[winner[r]]:
                winner[r] = d
            elif score[d] == score[winner[r]]:
                tied = True
    for d in range(low, high):
        g = best[section, d - low]
        if g >= 0:
            if winner[g - truth_low] >= 0:
                outcome[winner[g - truth_low]] = won
            winner[g - truth_low] = -1
    return tied


@uncounted
def _absorb(low, high, section, best, score, outcome, group_score):
    """Let the regions of one section absorb the detections still undecided that lie in them."""
    for d in range(low, high):
        g = best[section, d - low]
        if g >= 0 and outcome[d] == FALSE:
            outcome[d] = LEFT_OUT
            if section == 1:
                group_score[g] = max(group_score[g], score[d])


@uncounted
def _boxes_of_image(image, truth, positive, negative, found, least, state, best, winner, outcome, group_score):
    low = found.start[image]
    high = found.start[image + 1]
    _mark(image, truth, positive, negative, state)
    matched = False
    for d in range(low, high):
        i = d - low
        best[0, i] = -1
        best[1, i] = -1
        outcome[d] = LEFT_OUT
        k = found.category[d]
        if k < 0 or state[k] == _NOT_EVALUATED:
            continue
        x1, y1, x2, y2 = found.x1[d], found.y1[d], found.x2[d], found.y2[d]
        if not (x1 < x2 and y1 < y2 and found.score[d] > LOWEST):
            continue
        outcome[d] = FALSE
        cell = state[k]
        if cell >= 0:
            best[0, i] = _best_iou(x1, y1, x2, y2, truth, truth.bound[cell, 0], truth.bound[cell, 1], least)
            best[1, i] = _best_ioa(x1, y1, x2, y2, truth, truth.bound[cell, 1], truth.bound[cell, 2], least)
            matched = True
    _unmark(image, truth, positive, negative, state)
    if not matched:
        return False
    tied = _settle(low, high, 0, truth.bound[truth.start[image], 0], best, found.score, outcome, winner, TRUE)
    _absorb(low, high, 1, best, found.score, outcome, group_score)
    return tied


@jit
def _rows_of_images(start, first, last):
    most = 0
    for image in range(first, last):
        most = max(most, start[image + 1] - start[image])
    return most


@jit
def match_boxes(first, last, truth, positive, negative, found, categories, widest, least, outcome, group_score):
    """Match the detections of images first..last-1 by boxes.

    Fills `outcome` uint8 [n] and, where a region absorbed something, `group_score` float64 [g] with the
    best score it absorbed; `widest` is the most ground truth that an image has.

    Returns the number of images in which a detection lost an object to another of equal score.
    """
    state = np.full(categories, _NOT_EVALUATED, np.int32)
    best = np.empty((2, _rows_of_images(found.start, first, last)), np.int32)
    winner = np.full(widest, -1, np.int64)
    tied = 0
    for image in range(first, last):
        if found.start[image] < found.start[image + 1]:
            tied += _boxes_of_image(
                image, truth, positive, negative, found, least, state, best, winner, outcome, group_score
            )
    return tied


@uncounted
def _best_mask(runs, size, pixels, box, height, width, truth, masks, low, high, least, whole):
    """Return the first mask among low..high-1 of largest IoU (`whole`), or that holds the largest share.

    Quotients are of float32, as in the official code. Returns (mask or -1, whether one is of another size).
    """
    best = -1
    most = np.float32(0)
    limit = np.float32(least)
    strange = False
    x1, y1, x2, y2 = box
    for g in range(low, high):
        m = truth.mask[g]
        if masks.height[m] != height or masks.width[m] != width:
            strange = True
            continue
        across = min(x2, masks.box[m, 2]) - max(x1, masks.box[m, 0])
        down = min(y2, masks.box[m, 3]) - max(y1, masks.box[m, 1])
        if across <= 0 or down <= 0:
            continue
        shared = most_shared(pixels, masks.area[m], across, down)
        if shared / (union(pixels, masks.area[m], shared) if whole else pixels) < least - _SLACK:
            continue
        shared = shared_pixels(runs, 0, size, masks.runs, masks.start[m, 0], masks.start[m, 1])
        if whole:
            overlap = np.float32(shared) / np.float32(union(pixels, masks.area[m], shared))
        else:
            overlap = np.float32(shared) / (np.float32(pixels) + _EPSILON)
        if overlap >= limit and overlap > most:
            best = g
            most = overlap
    return best, strange


@uncounted
def _look_at_masks(
    image, truth, masks, positive, negative, found, text, normalized, least, state, best, base, runs, outcome
):
    """Write what each mask of one image looks at, to best[:, row - base]; it is undecided, or left out.

    Returns (whether one looks at ground truth, masks of another size, row that cannot be read or -1).
    """
    _mark(image, truth, positive, negative, state)
    strange = 0
    wrong = -1
    matched = False
    for d in range(found.start[image], found.start[image + 1]):
        i = d - base
        for section in range(4):
            best[section, i] = -1
        outcome[d] = LEFT_OUT
        k = found.category[d]
        if k < 0 or state[k] == _NOT_EVALUATED or not found.score[d] > LOWEST:
            continue
        height = np.int64(text.height[d])
        width = np.int64(text.width[d])
        size, pixels = decode(text.data, text.offset[d], text.offset[d + 1], height * width, runs)
        if size < 0:
            wrong = d
            break
        if pixels == 0:
            continue
        outcome[d] = FALSE
        cell = state[k]
        if cell < 0:
            continue
        matched = True
        box = bounds(runs, 0, size, height)
        a, b, c, e, f = (
            truth.bound[cell, 0],
            truth.bound[cell, 1],
            truth.bound[cell, 2],
            truth.bound[cell, 3],
            truth.bound[cell, 4],
        )
        best[0, i], odd = _best_mask(runs, size, pixels, box, height, width, truth, masks, a, b, least, True)
        best[1, i], other = _best_mask(runs, size, pixels, box, height, width, truth, masks, b, c, least, False)
        strange += odd or other
        if c < f:
            x1, y1, x2, y2 = np.float64(box[0]), np.float64(box[1]), np.float64(box[2]), np.float64(box[3])
            if normalized:
                x1, y1, x2, y2 = x1 / width, y1 / height, x2 / width, y2 / height
            best[2, i] = _best_iou(x1, y1, x2, y2, truth, c, e, least)
            best[3, i] = _best_ioa(x1, y1, x2, y2, truth, e, f, least)
    _unmark(image, truth, positive, negative, state)
    return matched, strange, wrong


@uncounted
def _settle_masks(image, truth, found, best, winner, outcome, group_score):
    """Settle one image; return whether a detection lost to its equal."""
    low, high = found.start[image], found.start[image + 1]
    base = truth.bound[truth.start[image], 0]
    tied = _settle(low, high, 0, base, best, found.score, outcome, winner, TRUE)
    _absorb(low, high, 1, best, found.score, outcome, group_score)
    tied |= _settle(low, high, 2, base, best, found.score, outcome, winner, LEFT_OUT)
    _absorb(low, high, 3, best, found.score, outcome, group_score)
    return tied


@jit
def _longest(offset, first, last):
    longest = 0
    for d in range(first, last):
        longest = max(longest, offset[d + 1] - offset[d])
    return longest


@jit
def match_masks(
    first,
    last,
    truth,
    masks,
    positive,
    negative,
    found,
    text,
    normalized,
    categories,
    widest,
    least,
    outcome,
    group_score,
):
    """Match the detections of images first..last-1 by masks, as `match_boxes` does by boxes.

    Ground truth without a mask is compared with the bounds of the detection's mask, after all masks.
    Each text is decoded once, and only where its category is evaluated in its image.

    Returns (number of images with a tie, number of detections with a mask of another size than ground
    truth of their cell, row that cannot be read or -1).
    """
    state = np.full(categories, _NOT_EVALUATED, np.int32)
    best = np.empty((4, _rows_of_images(found.start, first, last)), np.int32)
    winner = np.full(widest, -1, np.int64)
    runs = np.empty(_longest(text.offset, found.start[first], found.start[last]) + 1, np.int32)
    tied = 0
    strange = 0
    for image in range(first, last):
        base = found.start[image]
        if base == found.start[image + 1]:
            continue
        matched, odd, wrong = _look_at_masks(
            image, truth, masks, positive, negative, found, text, normalized, least, state, best, base, runs, outcome
        )
        if wrong >= 0:
            return tied, strange, wrong
        if matched:
            tied += _settle_masks(image, truth, found, best, winner, outcome, group_score)
        strange += odd
    return tied, strange, -1


@jit
def look_at_masks(
    first, last, truth, masks, positive, negative, found, text, normalized, categories, least, best, outcome
):
    """Write what each mask of images first..last-1 looks at: int32 [4, n], the ground truth of each section or -1.

    Fills `outcome` uint8 [n]: left out, or false, which is to say undecided. Returns the row that cannot be read or -1.
    """
    state = np.full(categories, _NOT_EVALUATED, np.int32)
    runs = np.empty(_longest(text.offset, found.start[first], found.start[last]) + 1, np.int32)
    for image in range(first, last):
        if found.start[image] < found.start[image + 1]:
            _, _, wrong = _look_at_masks(
                image, truth, masks, positive, negative, found, text, normalized, least, state, best, 0, runs, outcome
            )
            if wrong >= 0:
                return wrong
    return -1
