"""The COCO evaluation in plain Python, one cell, threshold and area range at a time.

Detections and ground truth are lists of dictionaries as in COCO's files, with `area` and, for masks,
`bitmap` (a bool array of the image). Slow on purpose.
"""

import math
from collections import defaultdict

import numpy as np

AREAS = ((0, 1e10), (0, 32**2), (32**2, 96**2), (96**2, 1e10))
RECALLS = np.linspace(0, 1, 101).tolist()


def box_iou(d, g):
    (dx, dy, dw, dh), (gx, gy, gw, gh) = d["bbox"], g["bbox"]
    width = min(dx + dw, gx + gw) - max(dx, gx)
    height = min(dy + dh, gy + gh) - max(dy, gy)
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    return shared / (dw * dh if g["iscrowd"] else dw * dh + gw * gh - shared)


def mask_iou(d, g):
    a, b = d["bitmap"], g["bitmap"]
    if a.shape != b.shape:
        return -1.0
    shared = int((a & b).sum())
    union = int(a.sum()) if g["iscrowd"] else int((a | b).sum())
    return shared / union if shared else 0.0


def match_cell(detections, truths, iou, threshold, area_range, match_id_zero):
    """Return the outcome of each detection, best score first: "true", "false" or "ignored"."""
    low, high = area_range
    ignored = [bool(g["iscrowd"]) or not low <= g["area"] <= high for g in truths]
    taken = [False] * len(truths)
    outcomes = []
    for d in detections:
        best, best_iou = None, min(threshold, 1 - 1e-10)
        for wanted in (False, True):  # ignored ground truth only when no other will do
            for i, g in enumerate(truths):
                if ignored[i] is wanted and (not taken[i] or g["iscrowd"]) and iou(d, g) >= best_iou:
                    best, best_iou = i, iou(d, g)
            if best is not None:
                break
        if best is not None:
            taken[best] = True
        inside = low <= d["area"] <= high
        if best is not None and ignored[best]:
            outcomes.append("ignored")
        elif best is not None and (truths[best]["id"] != 0 or match_id_zero):
            outcomes.append("true")
        else:
            outcomes.append("false" if inside else "ignored")
    return outcomes


def curve(outcomes, scores, positives):
    """Return precision and score at each recall point, and the highest recall."""
    precisions, recalls = [], []
    true = false = 0
    for outcome in outcomes:
        true += outcome == "true"
        false += outcome == "false"
        precisions.append(true / (true + false + math.ulp(1.0)))
        recalls.append(true / positives)
    at_recall, at_score = [], []
    for point in RECALLS:
        reached = next((i for i, value in enumerate(recalls) if value >= point), None)
        at_recall.append(0.0 if reached is None else max(precisions[reached:]))
        at_score.append(0.0 if reached is None else scores[reached])
    return at_recall, at_score, recalls[-1] if recalls else 0.0


def evaluate(dataset, results, *, iou, thresholds, caps, use_cats=True, match_id_zero=False):
    """Return (precision [t, r, k, a, m], recall [t, k, a, m], scores [t, r, k, a, m])."""
    images = sorted(image["id"] for image in dataset["images"])
    categories = sorted(category["id"] for category in dataset["categories"])
    groups = [[category] for category in categories] if use_cats else [categories]
    truth_of, found_of = defaultdict(list), defaultdict(list)
    for g in dataset["annotations"]:
        truth_of[g["image_id"], g["category_id"]].append(g)
    for d in results:
        found_of[d["image_id"], d["category_id"]].append(d)
    shape = (len(thresholds), len(RECALLS), len(groups), len(AREAS), len(caps))
    precision, scores = np.full(shape, -1.0), np.full(shape, -1.0)
    recall = np.full((shape[0], *shape[2:]), -1.0)
    for k, group in enumerate(groups):
        cells = []
        for image in images:
            truths = [g for category in group for g in truth_of[image, category]]
            found = [d for category in group for d in found_of[image, category]]
            cells.append((sorted(found, key=lambda d: -d["score"])[: max(caps)], truths))
        for a, area_range in enumerate(AREAS):
            low, high = area_range
            everything = [g for _, truths in cells for g in truths]
            positives = sum(not g["iscrowd"] and low <= g["area"] <= high for g in everything)
            if positives == 0:
                continue
            for t, threshold in enumerate(thresholds):
                outcomes = [match_cell(*cell, iou, threshold, area_range, match_id_zero) for cell in cells]
                for m, cap in enumerate(caps):
                    rows = [
                        (d["score"], outcome)
                        for (found, _), cell in zip(cells, outcomes, strict=True)
                        for d, outcome in list(zip(found, cell, strict=True))[:cap]
                    ]
                    rows.sort(key=lambda row: -row[0])
                    result = curve([row[1] for row in rows], [row[0] for row in rows], positives)
                    precision[t, :, k, a, m], scores[t, :, k, a, m], recall[t, k, a, m] = result
    return precision, recall, scores
