"""Likely label errors in plain Python: one image, one annotation, one member at a time.

Detections are lists of dictionaries as in COCO's results, one list per member, whose scores are chances already.
"""

import numpy as np

from tests.oracles.coco import box_iou


def owners(truths, found):
    """Which annotation each detection belongs to: its index, None for none, "ignored"; by falling score."""
    taken, owner = set(), [None] * len(found)
    for d in sorted(range(len(found)), key=lambda d: (-found[d]["score"], d)):
        row = found[d]
        best = None
        for g, truth in enumerate(truths):
            iou = box_iou(row, truth)
            if truth["ignored"] or g in taken or iou < 0.5:
                continue
            own = truth["category_id"] == row["category_id"]
            key = (iou, own, g)
            if best is None or key[:2] > best[0][:2] or (key[:2] == best[0][:2] and g > best[1]):
                best = (key, g)
        if best is not None:
            owner[d] = best[1]
            taken.add(best[1])
            continue
        for g, truth in enumerate(truths):
            same = truth["ignored"] and truth["category_id"] == row["category_id"]
            if same and box_iou(row, truth) >= 0.5 and (truth["iscrowd"] or g not in taken):
                owner[d] = "ignored"
                taken.add(g)
                break
    return owner, {g for g in owner if isinstance(g, int)}


def heard(truths, found, least=0.02):
    """For each annotation the detections that may be of it; and those that no annotation explains."""
    owner, taken = owners(truths, found)
    pairs, free = [[] for _ in truths], []
    for d, row in enumerate(found):
        if owner[d] == "ignored" or row["score"] < least:
            continue
        explained = owner[d] is not None
        for g, truth in enumerate(truths):
            iou = box_iou(row, truth)
            if iou < 0.2 or (owner[d] is not None and owner[d] != g):
                continue
            pairs[g].append((row, iou, owner[d] == g))
            same = row["category_id"] == truth["category_id"]
            explained |= iou >= 0.5 or (same and g not in taken)
        if not explained:
            free.append(row)
    return pairs, free


def wrong_category(truth, by_member):
    """Score and category of what most members see instead."""
    kinds = {row["category_id"] for pairs in by_member for row, iou, _ in pairs if iou >= 0.5}
    support = {
        kind: np.mean(
            [
                max([row["score"] for row, iou, _ in pairs if iou >= 0.5 and row["category_id"] == kind], default=0)
                for pairs in by_member
            ]
        )
        for kind in kinds
    }
    own = support.pop(truth["category_id"], 0.0)
    if not support:
        return 0.0, None
    other = min(support, key=lambda kind: (-support[kind], kind))
    return max(support[other] - own, 0.0), other


def nobody(by_member):
    """The chance that no member sees anything, for the one that is surest of something."""
    return 1 - max(max([row["score"] for row, iou, _ in pairs if iou >= 0.3], default=0) for pairs in by_member)


def trusts(objects):
    """How much each member's boxes are worth, from (truth, pairs of each member) of all annotations."""
    worth = []
    for m in range(len(objects[0][1])):
        near = [
            (row["score"], 1 - iou)
            for truth, by_member in objects
            for row, iou, _ in by_member[m]
            if iou >= 0.5 and row["category_id"] == truth["category_id"]
        ]
        mean = sum(p * far for p, far in near) / sum(p for p, _ in near) if near else 1.0
        worth.append(max(mean, 0.01) ** -2)
    return worth


def loose(truth, by_member, worth):
    """Score and mean box x1, y1, x2, y2."""
    chosen = []
    for pairs in by_member:
        own = [(row["score"] * iou, iou, row) for row, iou, _ in pairs if row["category_id"] == truth["category_id"]]
        best = max(own, key=lambda one: one[:2], default=None)
        chosen.append(None if best is None else best[2])
    said = [(row, w) for row, w in zip(chosen, worth, strict=True) if row is not None]
    if len(said) < min(2, len(by_member)):
        return 0.0
    total = sum(row["score"] * w for row, w in said)
    corners = [np.array([x, y, x + w, y + h]) for x, y, w, h in (row["bbox"] for row, _ in said)]
    mean = sum(row["score"] * w * box for (row, w), box in zip(said, corners, strict=True)) / total
    middle = {"bbox": [*mean[:2], *(mean[2:] - mean[:2])], "iscrowd": 0}
    agreement = sum(row["score"] * w * box_iou(row, middle) for row, w in said) / total
    return total / sum(worth) * max(agreement - box_iou(middle, truth), 0.0)


def missing(truths, clusters):
    """Scores of the clusters of detections that no annotation explains, falling; those of 0 left out."""
    scores = []
    for cluster in clusters:
        row = {"bbox": [cluster[side] for side in "xywh"]}
        own = [truth for truth in truths if truth["image_id"] == cluster["image_id"]]
        ious = [(box_iou(row, truth), truth["category_id"] == cluster["category_id"]) for truth in own]
        near = max([iou for iou, same in ious if same and iou >= 0.1], default=0)
        if all(iou < 0.5 for iou, _ in ious):
            scores.append(cluster["score"] * max(1 - near / 0.5, 0))
    return sorted((score for score in scores if score > 0), reverse=True)
