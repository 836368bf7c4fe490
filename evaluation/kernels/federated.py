"""LVIS's federated labels: which detections count, and the cut of the best detections of an image."""

import numpy as np

from fusion.kernels.jit import jit

__all__ = ["best_of_images", "judge"]

_KNOWN = 1
_PARTIAL = 2


@jit
def _mark(flags, start, category, image, flag):
    for i in range(start[image], start[image + 1]):
        flags[category[i]] |= flag


@jit
def _clear(flags, start, category, image):
    for i in range(start[image], start[image + 1]):
        flags[category[i]] = 0


@jit
def judge(first, last, truth, negative, partial, start, category, categories, judged, incomplete):
    """Write which detections of images first..last-1 count.

    `judged` holds the category of each detection and -1 where nothing is known of it in its image;
    `incomplete` is set where the category is not fully annotated in its image.
    """
    flags = np.zeros(categories, np.uint8)
    for image in range(first, last):
        _mark(flags, truth.start, truth.category, image, _KNOWN)
        _mark(flags, negative.start, negative.category, image, _KNOWN)
        _mark(flags, partial.start, partial.category, image, _PARTIAL)
        for d in range(start[image], start[image + 1]):
            k = category[d]
            if k >= 0:
                judged[d] = k if flags[k] & _KNOWN else -1
                incomplete[d] = (flags[k] & _PARTIAL) != 0
        _clear(flags, truth.start, truth.category, image)
        _clear(flags, negative.start, negative.category, image)
        _clear(flags, partial.start, partial.category, image)


@jit
def best_of_images(first, last, start, score, limit, keep):
    """Clear `keep` of all but the `limit` best detections of images first..last-1; the earlier of equals is kept."""
    for image in range(first, last):
        low, high = start[image], start[image + 1]
        if high - low <= limit:
            continue
        # the limit-th best score; of those that tie with it, the first ones have room
        bound = np.partition(score[low:high], high - low - limit)[high - low - limit]
        room = limit
        for d in range(low, high):
            if score[d] > bound:
                room -= 1
        for d in range(low, high):
            if score[d] < bound:
                keep[d] = False
            elif score[d] == bound:
                keep[d] = room > 0
                room -= 1
