"""The description of a fused box in plain Python, one pair of boxes at a time. Slow on purpose.

Boxes are dictionaries with image, category, score and corners (x1, y1, x2, y2); members' boxes also have their member.
Both lists are in the order in which equal scores are ranked.
"""

import math
import statistics

NEAR = 0.2
RIVALS = 100


def iou(a, b):
    (ax1, ay1, ax2, ay2), (bx1, by1, bx2, by2) = a["corners"], b["corners"]
    shared = max(0.0, min(ax2, bx2) - max(ax1, bx1)) * max(0.0, min(ay2, by2) - max(ay1, by1))
    return shared / ((ax2 - ax1) * (ay2 - ay1) + (bx2 - bx1) * (by2 - by1) - shared) if shared > 0 else 0.0


def best(box, others):
    """The other box that overlaps most; of equals the one of higher score, then the first."""
    found = max(others, key=lambda other: (iou(box, other), other["score"]), default=None)
    return (0.0, 0.0) if found is None or iou(box, found) == 0 else (iou(box, found), found["score"])


def describe(box, fused, voters, members, prior):
    """Return the features of one of `fused`, as a list."""
    x1, y1, x2, y2 = box["corners"]
    sides = (x2 - x1, y2 - y1, x2 - x1, y2 - y1)
    features, present = [], []
    for member in members:
        own = [
            other
            for other in voters
            if other["member"] == member
            and (other["image"], other["category"]) == (box["image"], box["category"])
            and iou(box, other) > NEAR
        ]
        if not own:
            features += [math.nan] * 6
            continue
        voter = max(own, key=lambda other: (iou(box, other), other["score"]))
        shifts = [(b - a) / side for a, b, side in zip(box["corners"], voter["corners"], sides, strict=True)]
        present.append((iou(box, voter), voter["score"], shifts))
        features += [iou(box, voter), voter["score"], *shifts]
    overlaps, scores = [one[0] for one in present], [one[1] for one in present]
    features += [sum(o > 0.5 for o in overlaps), sum(o > 0.75 for o in overlaps), sum(scores), max([0.0, *scores])]
    features += [statistics.pstdev([one[2][side] for one in present]) if present else 0.0 for side in range(4)]
    width, height = math.log(max(x2 - x1, 1e-9)), math.log(max(y2 - y1, 1e-9))
    features += [width, height, width - height]
    image = [other for other in fused if other["image"] == box["image"]]
    cell = [other for other in image if other["category"] == box["category"]]
    ranked = sorted(cell, key=lambda other: -other["score"])
    place = next(number for number, other in enumerate(ranked) if other is box)
    features += [*best(box, ranked[:place]), *best(box, ranked[place + 1 :])]
    top = sorted(image, key=lambda other: (-other["score"], other["category"]))[:RIVALS]
    features += best(box, [other for other in top if other["category"] != box["category"]])
    return [*features, box["score"], prior.get(box["category"], math.nan)]
