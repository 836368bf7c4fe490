"""Mask voting, pasting and mask suppression in plain NumPy and pycocotools, written to the definitions.

A detection is a dictionary with image, category, score, box (x1, y1, x2, y2), who (member and view), mask
(a COCO RLE object or None) and soft (an array [s, s], or None); the lists are in order of row. Slow on purpose.
"""

import math
import warnings

import numpy as np
from pycocotools import mask as rle

from tests.oracles.suppression import iou


def pasted(soft, box, size):
    """Paste a map into an image: [height, width] float64, bilinear, 0 outside of the map."""
    side = len(soft)
    around = np.zeros((side + 2, side + 2))
    around[1:-1, 1:-1] = soft
    image = np.zeros(size)
    x1, y1, x2, y2 = box
    for y in range(size[0]):
        v = (y + 0.5 - y1) * side / (y2 - y1) - 0.5
        for x in range(size[1]):
            u = (x + 0.5 - x1) * side / (x2 - x1) - 0.5
            if -1 < u < side and -1 < v < side:
                i, j = math.floor(v), math.floor(u)
                fy, fx = v - i, u - j
                above = (1 - fx) * around[i + 1, j + 1] + fx * around[i + 1, j + 2]
                below = (1 - fx) * around[i + 2, j + 1] + fx * around[i + 2, j + 2]
                image[y, x] = (1 - fy) * above + fy * below
    return image


def has_mask(row):
    return row["mask"] is not None or row["soft"] is not None


def has_pixels(row):
    if row["soft"] is not None:
        x1, y1, x2, y2 = row["box"]
        return x1 < x2 and y1 < y2
    return row["mask"] is not None and rle.area(row["mask"]) > 0


def decoded(mask):
    """Decode a COCO RLE object: uint8 [height, width]."""
    with warnings.catch_warnings():  # pycocotools 2.0 does not know the copy keyword of NumPy 2
        warnings.simplefilter("ignore", DeprecationWarning)
        return rle.decode(mask)


def votes_of(row, size):
    """What a row says of every pixel."""
    if row["soft"] is None:
        return decoded(row["mask"]).astype(np.float64)
    return pasted(row["soft"], row["box"], size) if has_pixels(row) else np.zeros(size)


def voters_of(instance, voters, least):
    """The rows that vote on an instance, best score first, ties by row."""
    best = {}
    for row in sorted(voters, key=lambda row: -row["score"]):
        overlap = iou(instance["box"], row["box"])
        same = (row["image"], row["category"]) == (instance["image"], instance["category"])
        votes = same and row["weight"] > 0 and has_pixels(row) and overlap >= least and overlap > 0
        if votes and (row["who"] not in best or overlap > best[row["who"]][0]):
            best[row["who"]] = (overlap, row)
    return [row for row in sorted(voters, key=lambda row: -row["score"]) if any(row is b for _, b in best.values())]


def vote(instances, voters, size, least=0.5, threshold=0.5):
    """Decode, mean, threshold, encode: the new COCO RLE object of each instance, or None, and its voters."""
    answers = []
    for instance in instances:
        found = voters_of(instance, voters, least)
        rows, weights = found, [row["weight"] for row in found]
        if not found and has_mask(instance):
            rows, weights = [instance], [1.0]
        if not rows:
            answers.append((None, found))
            continue
        whole = [float(round(w / max(weights) * 2**40)) for w in weights]
        total = np.zeros(size)
        for weight, row in zip(whole, rows, strict=True):
            total += weight * votes_of(row, size)
        if any(row["soft"] is not None for row in rows):
            covered = total >= threshold * sum(whole)
        else:
            covered = total >= math.ceil(threshold * sum(whole))
        answers.append((rle.encode(np.asfortranarray(covered, dtype=np.uint8)), found))
    return answers


def mask_nms(rows, threshold):
    """The kept detections of one cell, each with those it suppressed; `rows` best first."""
    groups = []
    for row in rows:
        for group in groups:
            one = group[0]
            masks = one["mask"], row["mask"]
            if None not in masks and rle.iou([masks[1]], [masks[0]], [0])[0, 0] > threshold:
                group.append(row)
                break
        else:
            groups.append([row])
    return groups
