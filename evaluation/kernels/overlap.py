"""Which detections overlap which ground truth: the few pairs that can ever match."""

import numpy as np

from fusion.formulas import boxes
from fusion.formulas import masks as formulas
from fusion.kernels.jit import formula, jit
from fusion.kernels.runs import bounds, decode, shared_pixels

__all__ = ["box_pairs", "mask_pairs"]

matched, most_shared, union = map(formula, (boxes.match, formulas.most_shared, formulas.union))


@jit
def _room(truth, iou, used):
    """Return arrays with room for at least one more pair."""
    if used < len(truth):
        return truth, iou
    more_truth = np.empty(2 * used + 64, np.int32)
    more_iou = np.empty(2 * used + 64, np.float64)
    for i in range(used):  # slices of unknown lengths take 2 s to compile, most of it for the text of an error
        more_truth[i] = truth[i]
        more_iou[i] = iou[i]
    return more_truth, more_iou


@jit
def _insert(truth, iou, first, used, g, overlap):
    """Keep the pairs of one detection by IoU descending; of equals, the later ground truth first."""
    i = used
    while i > first and iou[i - 1] <= overlap:
        truth[i] = truth[i - 1]
        iou[i] = iou[i - 1]
        i -= 1
    truth[i] = g
    iou[i] = overlap


@jit
def _cells(truth, image, low, high):
    """Write the ground truth of one image into `low` and `high` by category."""
    for g in range(truth.start[image], truth.start[image + 1]):
        k = truth.category[g]
        if low[k] == high[k]:
            low[k] = g
        high[k] = g + 1


@jit
def _clear(truth, image, low, high):
    for g in range(truth.start[image], truth.start[image + 1]):
        low[truth.category[g]] = 0
        high[truth.category[g]] = 0


@jit
def box_pairs(first, last, truth, found, categories, least, count):
    """Find the pairs of images first..last-1 with a box IoU of at least `least`.

    Fills `count` for the rows of these images; returns (truth, iou) of the pairs in order of row.
    """
    gx1, gy1, gx2, gy2 = truth.x1, truth.y1, truth.x2, truth.y2
    box_area, crowd = truth.box_area, truth.crowd
    start, category = found.start, found.category
    fx, fy, fw, fh = found.x, found.y, found.w, found.h
    low = np.zeros(categories, np.int32)
    high = np.zeros(categories, np.int32)
    pair_truth = np.empty(1024, np.int32)
    pair_iou = np.empty(1024, np.float64)
    used = 0
    for image in range(first, last):
        _cells(truth, image, low, high)
        for d in range(start[image], start[image + 1]):
            k = category[d]
            begin = used
            if k >= 0 and low[k] < high[k]:
                x1 = fx[d]
                y1 = fy[d]
                w = fw[d]
                h = fh[d]
                x2 = w + x1
                y2 = h + y1
                area = w * h
                for g in range(low[k], high[k]):
                    overlap = matched(
                        x1, y1, x2, y2, area, gx1[g], gy1[g], gx2[g], gy2[g], box_area[g], crowd[g], least
                    )
                    if overlap >= least:
                        pair_truth, pair_iou = _room(pair_truth, pair_iou, used)
                        _insert(pair_truth, pair_iou, begin, used, g, overlap)
                        used += 1
            count[d] = used - begin
        _clear(truth, image, low, high)
    return pair_truth[:used].copy(), pair_iou[:used].copy()


@jit
def mask_pairs(first, last, truth, masks, found, text, categories, least, count, area):
    """Find the pairs of images first..last-1 with a mask IoU of at least `least`.

    Each detection's text is decoded once, into scratch, and only where its cell has ground truth or
    the area is asked for (`area` is not empty). Fills `count` and `area` for the rows of these
    images; returns (truth, iou, number of detections with a mask of another size, row that cannot be
    read or -1).
    """
    low = np.zeros(categories, np.int32)
    high = np.zeros(categories, np.int32)
    pair_truth = np.empty(1024, np.int32)
    pair_iou = np.empty(1024, np.float64)
    longest = 0
    for d in range(found.start[first], found.start[last]):
        longest = max(longest, text.offset[d + 1] - text.offset[d])
    runs = np.empty(longest + 1, np.int32)
    used = 0
    strange = 0
    for image in range(first, last):
        _cells(truth, image, low, high)
        for d in range(found.start[image], found.start[image + 1]):
            k = found.category[d]
            count[d] = 0
            if k < 0 or (low[k] == high[k] and len(area) == 0):
                continue
            height = np.int64(text.height[d])
            width = np.int64(text.width[d])
            size, pixels = decode(text.data, text.offset[d], text.offset[d + 1], height * width, runs)
            if size < 0:
                return pair_truth, pair_iou, 0, d
            if len(area):
                area[d] = pixels
            if pixels == 0 or low[k] == high[k]:
                continue
            x1, y1, x2, y2 = bounds(runs, 0, size, height)
            begin = used
            same = True
            for g in range(low[k], high[k]):
                if masks.height[g] != height or masks.width[g] != width:
                    same = False
                    continue
                across = min(x2, masks.box[g, 2]) - max(x1, masks.box[g, 0])
                down = min(y2, masks.box[g, 3]) - max(y1, masks.box[g, 1])
                if across <= 0 or down <= 0:
                    continue
                most = most_shared(pixels, masks.area[g], across, down)
                if most / (pixels if truth.crowd[g] else union(pixels, masks.area[g], most)) < least:
                    continue
                shared = shared_pixels(runs, 0, size, masks.runs, masks.start[g, 0], masks.start[g, 1])
                overlap = shared / (pixels if truth.crowd[g] else union(pixels, masks.area[g], shared))
                if overlap >= least:
                    pair_truth, pair_iou = _room(pair_truth, pair_iou, used)
                    _insert(pair_truth, pair_iou, begin, used, g, overlap)
                    used += 1
            count[d] = used - begin
            strange += not same
        _clear(truth, image, low, high)
    return pair_truth[:used].copy(), pair_iou[:used].copy(), strange, -1
