"""Slow, obvious versions of the zoo's special operations, point by point and box by box."""

import math

import numpy as np
import torch


def iou(one, other):
    """IoU of two boxes."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    if width <= 0 or height <= 0:
        return 0.0
    inside = width * height
    return inside / ((one[2] - one[0]) * (one[3] - one[1]) + (other[2] - other[0]) * (other[3] - other[1]) - inside)


def bilinear(plane, x, y):
    """Value of a plane [h, w] at a point: outside by more than a pixel 0, else by the nearest pixels inside."""
    height, width = plane.shape
    if x < -1 or y < -1 or x > width or y > height:
        return 0.0
    x, y = min(max(x, 0.0), width - 1.0), min(max(y, 0.0), height - 1.0)
    left, top = math.floor(x), math.floor(y)
    right, bottom = min(left + 1, width - 1), min(top + 1, height - 1)
    p, q = x - left, y - top
    return (
        plane[top, left] * (1 - p) * (1 - q)
        + plane[top, right] * p * (1 - q)
        + plane[bottom, left] * (1 - p) * q
        + plane[bottom, right] * p * q
    )


def deform_align(level, rois, shifts, scale, sampling):
    """Aligned RoIAlign with a shift per bin, one sampling point after the other."""
    count, bins, channels = len(rois), shifts.shape[-1], level.shape[1]
    out = np.zeros((count, channels, bins, bins))
    for n, (image, x1, y1, x2, y2) in enumerate(rois.tolist()):
        left, top = x1 * scale - 0.5, y1 * scale - 0.5
        width, height = (x2 - x1) * scale, (y2 - y1) * scale
        for row in range(bins):
            for column in range(bins):
                move_x, move_y = shifts[n, 0, row, column].item() * width, shifts[n, 1, row, column].item() * height
                for channel in range(channels):
                    plane = level[int(image), channel].detach().numpy()
                    total = 0.0
                    for i in range(sampling):
                        for j in range(sampling):
                            x = left + width * (column + (j + 0.5) / sampling) / bins + move_x
                            y = top + height * (row + (i + 0.5) / sampling) / bins + move_y
                            total += bilinear(plane, x, y)
                    out[n, channel, row, column] = total / sampling**2
    return torch.from_numpy(out)


def match_anchors(anchors, objects, positive=0.7, negative=0.3, forced=0):
    """Labels and objects of anchors, anchor by anchor."""
    overlaps = [[iou(thing, anchor) for anchor in anchors] for thing in objects]
    labels, owners = [], []
    for number in range(len(anchors)):
        column = [row[number] for row in overlaps]
        best = max(column)
        labels.append(1 if best >= positive else 0 if best < negative else -1)
        owners.append(column.index(best))
    for row in overlaps:
        if not forced:
            for number, value in enumerate(row):
                if value > 0 and value == max(row):
                    labels[number] = 1
            continue
        for number in sorted(range(len(row)), key=lambda n: -row[n])[:forced]:
            if row[number] > 0:
                wanting = [
                    other
                    for other, line in enumerate(overlaps)
                    if number in sorted(range(len(line)), key=lambda n: -line[n])[:forced] and line[number] > 0
                ]
                labels[number] = 1
                owners[number] = max(wanting, key=lambda other: overlaps[other][number])
    return labels, owners


def high_iou(boxes, scores, levels, objects, threshold, per_box):
    """Indices of proposals kept by NMS whose ranking prefers overlap with objects."""
    best = [max((iou(thing, box) for thing in objects), default=0.0) for box in boxes]
    owner = [max(range(len(objects)), key=lambda n: iou(objects[n], box)) if len(objects) else 0 for box in boxes]
    key = [1 + q if q >= 0.5 else s for q, s in zip(best, scores, strict=True)]
    kept = []
    for number in sorted(range(len(boxes)), key=lambda n: -key[n]):
        if all(levels[number] != levels[k] or iou(boxes[number], boxes[k]) <= threshold for k in kept):
            kept.append(number)
    out, seen = [], [0] * max(len(objects), 1)
    for number in kept:
        if best[number] >= 0.5:
            seen[owner[number]] += 1
            if seen[owner[number]] > per_box:
                continue
        out.append(number)
    return out


def class_aware(overlaps, labels, threshold, floor):
    """Positives of each class: its best candidates, as large a share as of all candidates reach the threshold."""
    best = [max(column) for column in zip(*overlaps, strict=True)]
    owner = [list(column).index(max(column)) for column in zip(*overlaps, strict=True)]
    candidates = [n for n, q in enumerate(best) if q > 0]
    if not candidates:
        return set()
    alpha = sum(best[n] >= threshold for n in candidates) / len(candidates)
    positive = set()
    for label in set(labels):
        own = sorted((n for n in candidates if labels[owner[n]] == label), key=lambda n: -best[n])
        if own:
            last = best[own[max(1, round(alpha * len(own))) - 1]]
            positive |= {n for n in own if best[n] >= max(last, floor)}
    return positive


def edges(mask):
    """Pixels of a binary mask that differ from a neighbour below them in value, and all neighbours of those."""
    height, width = mask.shape
    padded = np.pad(mask, 1)
    edge = np.zeros((height, width), bool)
    for y in range(height):
        for x in range(width):
            window = padded[y : y + 3, x : x + 3]
            edge[y, x] = 9 * mask[y, x] - window.sum() > 0.1
    wide = np.pad(edge, 1)
    return np.array([[wide[y : y + 3, x : x + 3].any() for x in range(width)] for y in range(height)], float)
