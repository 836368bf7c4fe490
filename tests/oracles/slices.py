"""Merging of slices in plain Python, written to the documented behaviour of greedy non-maximum merging and of NMS.

A detection is a dictionary with image, category, score, box (x1, y1, x2, y2 in the whole image), mask (bool
[height, width] of the whole image, or None) and row; the lists are in order of row. Slow on purpose.
"""

import numpy as np


def overlap(a, b, measure):
    shared = max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    if not shared > 0:
        return 0.0
    one, other = ((box[2] - box[0]) * (box[3] - box[1]) for box in (a, b))
    return shared / (min(one, other) if measure == "ios" else one + other - shared)


def around(a, b):
    return (min(a[0], b[0]), min(a[1], b[1]), max(a[2], b[2]), max(a[3], b[3]))


def merged(rows, measure, threshold, merge):
    """The detections left of one cell: (score, row, box, mask, rows)."""
    rows = sorted(rows, key=lambda row: (-row["score"], row["row"]))
    answers = []
    while rows:
        best, *others = rows
        claimed = [row for row in others if overlap(best["box"], row["box"], measure) >= threshold]
        rows = [row for row in others if not any(row is one for one in claimed)]
        box, masks = best["box"], [best["mask"]]
        for row in claimed if merge == "union" else []:
            if overlap(box, row["box"], measure) >= threshold:
                box = around(box, row["box"])
                masks.append(row["mask"])
        masks = [mask for mask in masks if mask is not None]
        mask = np.logical_or.reduce(masks) if masks else None
        answers.append((best["score"], best["row"], box, mask, [best["row"], *(row["row"] for row in claimed)]))
    return answers


def placed(bitmap, place, size):
    """A slice's mask in the whole image of `size` (width, height), cut off outside of it."""
    whole = np.zeros((size[1], size[0]), bool)
    for y, x in np.argwhere(bitmap):
        if 0 <= x + place[0] < size[0] and 0 <= y + place[1] < size[1]:
            whole[y + place[1], x + place[0]] = True
    return whole
