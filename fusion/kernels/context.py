"""Kernels that describe a fused box by what is around it, and make a score of the description."""

import math

import numpy as np

from fusion.formulas import boxes
from fusion.kernels.jit import uncounted

__all__ = ["COMMON", "NEAR", "PER_MEMBER", "describe_images", "score_by_sum", "score_by_trees"]

PER_MEMBER = 6
"""Features of each member: IoU and score of its best overlapping box, and the distances of the four sides."""

COMMON = 19
"""Features behind those of the members."""

NEAR = 0.2
"""IoU above which a member's box is taken to be of the same object; below it the member is absent, NaN."""

_SOFT = 0.01  # distance from 0 and 1 below which scores only approach these

iou = uncounted(boxes.iou)


@uncounted
def _voters(a, low, high, columns, instances, code, members, row):
    """Write into `row` what each member has at fused box a, of the boxes low..high-1 of its cell."""
    ax1, ay1, ax2, ay2 = columns.x1[a], columns.y1[a], columns.x2[a], columns.y2[a]
    width, height = ax2 - ax1, ay2 - ay1
    area = width * height
    for b in range(low, high):
        if columns.row[b] < instances:
            continue
        bx1, by1, bx2, by2 = columns.x1[b], columns.y1[b], columns.x2[b], columns.y2[b]
        overlap = iou(ax1, ay1, ax2, ay2, area, bx1, by1, bx2, by2, (bx2 - bx1) * (by2 - by1))
        first = code[columns.member[b]] * PER_MEMBER
        # of equals the one of higher score, which comes first
        if overlap > NEAR and not overlap <= row[first]:
            row[first] = overlap
            row[first + 1] = columns.score[b]
            row[first + 2] = (bx1 - ax1) / width
            row[first + 3] = (by1 - ay1) / height
            row[first + 4] = (bx2 - ax2) / width
            row[first + 5] = (by2 - ay2) / height
    common = members * PER_MEMBER
    halves, close, total, most = 0.0, 0.0, 0.0, 0.0
    for member in range(members):
        first = member * PER_MEMBER
        if row[first] == row[first]:
            halves += row[first] > 0.5
            close += row[first] > 0.75
            total += row[first + 1]
            most = max(most, row[first + 1])
    row[common] = halves
    row[common + 1] = close
    row[common + 2] = total
    row[common + 3] = most
    for side in range(4):
        count, mean, square = 0, 0.0, 0.0
        for member in range(members):
            first = member * PER_MEMBER
            if row[first] == row[first]:
                distance = row[first + 2 + side] - mean
                count += 1
                mean += distance / count
                square += distance * (row[first + 2 + side] - mean)
        row[common + 4 + side] = math.sqrt(square / count) if count > 0 else 0.0


@uncounted
def _neighbours(a, low, high, columns, instances, row, common):
    """Write the fused boxes of the cell that overlap box a most, of those ranked above and below it."""
    ax1, ay1, ax2, ay2 = columns.x1[a], columns.y1[a], columns.x2[a], columns.y2[a]
    area = (ax2 - ax1) * (ay2 - ay1)
    above, above_score, below, below_score = 0.0, 0.0, 0.0, 0.0
    for b in range(low, high):
        if b == a or columns.row[b] >= instances:
            continue
        bx1, by1, bx2, by2 = columns.x1[b], columns.y1[b], columns.x2[b], columns.y2[b]
        overlap = iou(ax1, ay1, ax2, ay2, area, bx1, by1, bx2, by2, (bx2 - bx1) * (by2 - by1))
        if b < a and overlap > above:
            above, above_score = overlap, columns.score[b]
        elif b > a and overlap > below:
            below, below_score = overlap, columns.score[b]
    row[common + 11] = above
    row[common + 12] = above_score
    row[common + 13] = below
    row[common + 14] = below_score


@uncounted
def _rival(a, cell, columns, best, count, row, common):
    """Write the box of another category that overlaps box a most, among the best of the image."""
    ax1, ay1, ax2, ay2 = columns.x1[a], columns.y1[a], columns.x2[a], columns.y2[a]
    area = (ax2 - ax1) * (ay2 - ay1)
    most, score = 0.0, 0.0
    for place in range(count):
        b = best[place]
        if columns.start[cell] <= b < columns.start[cell + 1]:
            continue
        bx1, by1, bx2, by2 = columns.x1[b], columns.y1[b], columns.x2[b], columns.y2[b]
        overlap = iou(ax1, ay1, ax2, ay2, area, bx1, by1, bx2, by2, (bx2 - bx1) * (by2 - by1))
        if overlap > most:
            most, score = overlap, columns.score[b]
    row[common + 15] = most
    row[common + 16] = score


@uncounted
def _best_of_image(low, high, columns, instances, best):
    """List the fused boxes of cells low..high-1 of highest score, at most as many as `best` has room for."""
    count = 0
    for a in range(columns.start[low], columns.start[high]):
        if columns.row[a] >= instances:
            continue
        score = columns.score[a]
        if count == len(best) and score <= columns.score[best[count - 1]]:
            continue
        place = count if count < len(best) else count - 1
        while place > 0 and columns.score[best[place - 1]] < score:
            best[place] = best[place - 1]
            place -= 1
        best[place] = a
        count = min(count + 1, len(best))
    return count


@uncounted
def describe_images(low, high, columns, cells, instances, code, members, prior, best, out, rows):
    """Describe the fused boxes of images low..high-1.

    Args:
        low: First image.
        high: One past the last.
        columns: `Columns` of the fused boxes and of the members' boxes.
        cells: int64 [images + 1], offsets of the images' cells.
        instances: Rows below it are fused boxes.
        code: int64 [members of the pool], the place of each among the members of the model.
        members: Number of these.
        prior: float64 [categories], what a box of the category is worth on average; NaN where not known.
        best: int64, scratch for the best boxes of an image.
        out: float64 [n, features], NaN.
        rows: int64 [n], takes the row of each.
    """
    common = members * PER_MEMBER
    done = 0
    for image in range(low, high):
        several = cells[image + 1] - cells[image] > 1
        count = _best_of_image(cells[image], cells[image + 1], columns, instances, best) if several else 0
        for cell in range(cells[image], cells[image + 1]):
            first, last = columns.start[cell], columns.start[cell + 1]
            for a in range(first, last):
                if columns.row[a] >= instances:
                    continue
                row = out[done]
                rows[done] = columns.row[a]
                _voters(a, first, last, columns, instances, code, members, row)
                width = math.log(max(columns.x2[a] - columns.x1[a], 1e-9))
                height = math.log(max(columns.y2[a] - columns.y1[a], 1e-9))
                row[common + 8] = width
                row[common + 9] = height
                row[common + 10] = width - height
                _neighbours(a, first, last, columns, instances, row, common)
                _rival(a, cell, columns, best, count, row, common)
                row[common + 17] = columns.score[a]
                row[common + 18] = prior[columns.category[cell]]
                done += 1


@uncounted
def _inside(total):
    """Keep a sum of leaves inside (0, 1): near the ends it only approaches them, in order."""
    if total < _SOFT:
        return _SOFT * math.exp(max(total / _SOFT - 1, -600.0))
    if total > 1 - _SOFT:
        return 1 - _SOFT * math.exp(max((1 - total) / _SOFT - 1, -30.0))
    return total


@uncounted
def score_by_trees(features, walk, constant, node, total, out):
    """Score described boxes by regression trees.

    Some boxes go through a tree together, a level at a time and leaves to themselves, so that no step waits for the one
    before and none is a branch: 0.84 M boxes/s through 200 trees of 27 nodes, where one box after the other makes 0.11.
    Places are unsigned, since Numba tests signed ones for counting from the end: 0.46 M/s with these.

    Args:
        features: float64 [n, f], NaN where a member is absent.
        walk: Of the nodes float64 threshold up to which a feature goes left and float64 value, uint32 feature, uint32
            children (right and left of each, itself in a leaf), bool whether NaN goes left; of the trees uint32 roots
            and int64 depths.
        constant: What is added to the values of the leaves.
        node: uint32, scratch for as many boxes as go together.
        total: float64, likewise.
        out: float64 [n], scores in (0, 1).
    """
    threshold, value, feature, child, missing, roots, depth = walk
    for first in range(0, len(features), len(node)):
        count = min(len(node), len(features) - first)
        part = features[first : first + count]
        for i in range(count):
            total[i] = constant
        for tree in range(len(roots)):
            for i in range(count):
                node[i] = roots[tree]
            for _ in range(depth[tree]):
                for i in range(count):
                    n = np.uint64(node[i])
                    x = part[np.uint64(i), np.uint64(feature[n])]
                    left = (x <= threshold[n]) | ((x != x) & missing[n])
                    node[i] = child[np.uint64(2) * n + np.uint64(left)]
            for i in range(count):
                total[i] += value[np.uint64(node[i])]
        for i in range(count):
            out[first + i] = _inside(total[i])


@uncounted
def score_by_sum(features, weight, known, constant, out):
    """Score described boxes by the sigmoid of a sum.

    Args:
        features: float64 [n, f], NaN where a member is absent.
        weight: float64 [f], of each feature that is not NaN.
        known: float64 [f], added for it.
        constant: Added always.
        out: float64 [n], scores in (0, 1).
    """
    for i in range(len(features)):
        total = constant
        for k in range(len(weight)):
            if features[i, k] == features[i, k]:
                total += weight[k] * features[i, k] + known[k]
        out[i] = 1 / (1 + math.exp(-min(max(total, -690.0), 36.0)))
