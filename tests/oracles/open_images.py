"""The Open Images Challenge protocol in plain Python, one detection at a time. Slow on purpose.

An image is a dictionary: `truths` with category, box (x1, y1, x2, y2), group and mask (a bitmap or None),
`verified`, a set of categories, and `found` with category, score, box and mask.
"""

import csv
from pathlib import Path

import numpy as np


def read(boxes, image_labels, results):
    """Read CSV files of boxes, image labels and the official evaluator's results into images, by name."""

    def rows(path):
        with Path(path).open(newline="") as file:
            return list(csv.DictReader(file))

    def corners(row):
        return tuple(float(row[name]) for name in ("XMin", "YMin", "XMax", "YMax"))

    found, truths, labels = rows(results), rows(boxes), rows(image_labels)
    images = {
        name: {"truths": [], "found": [], "verified": set()} for name in sorted({r["ImageID"] for r in truths + labels})
    }
    for row in truths:
        truth = {"category": row["LabelName"], "box": corners(row), "group": row["IsGroupOf"] == "1", "mask": None}
        images[row["ImageID"]]["truths"].append(truth)
    for row in labels:
        images[row["ImageID"]]["verified"].add(row["LabelName"])
    for row in found:
        if row["ImageID"] in images:
            one = {"category": row["LabelName"], "score": float(row["Score"]), "box": corners(row)}
            images[row["ImageID"]]["found"].append(one)
    return images


def by_score(scores):
    """Places by score, highest first; equal scores in their order."""
    return sorted(range(len(scores)), key=lambda i: -scores[i])


def shared_area(a, b):
    return max(min(a[3], b[3]) - max(a[1], b[1]), 0.0) * max(min(a[2], b[2]) - max(a[0], b[0]), 0.0)


def area(box):
    return (box[3] - box[1]) * (box[2] - box[0])


def box_iou(d, t):
    shared = shared_area(d["box"], t["box"])
    return shared / ((area(d["box"]) + area(t["box"])) - shared)


def box_ioa(d, t):
    return shared_area(d["box"], t["box"]) / area(d["box"])


def mask_iou(d, t):
    if d["mask"].shape != t["mask"].shape:
        return np.float32(0)
    shared = np.float32((d["mask"] & t["mask"]).sum())
    union = np.float32(d["mask"].sum()) + np.float32(t["mask"].sum()) - shared
    return shared / np.maximum(union, np.float32(1e-7))


def mask_ioa(d, t):
    if d["mask"].shape != t["mask"].shape:
        return np.float32(0)
    return np.float32((d["mask"] & t["mask"]).sum()) / (np.float32(d["mask"].sum()) + np.float32(1e-7))


def first_best(values):
    return max(range(len(values)), key=lambda i: (values[i], -i))


def cell(found, truths, *, threshold, weight, masks, cap, order):
    """Return the (score, label) entries of one image and category."""
    found = [found[i] for i in order([d["score"] for d in found])][:cap]
    state = ["false"] * len(found)
    entries = []

    def settle(objects, overlap, won):
        taken = set()
        for i, d in enumerate(found):
            if state[i] != "false" or not objects:
                continue
            overlaps = [overlap(d, t) for t in objects]
            best = first_best(overlaps)
            if overlaps[best] >= threshold and best not in taken:
                taken.add(best)
                state[i] = won

    def absorb(regions, overlap, emits):
        scores = [0.0] * len(regions)
        for i, d in enumerate(found):
            if state[i] != "false" or not regions:
                continue
            shares = [overlap(d, t) for t in regions]
            best = first_best(shares)
            if shares[best] >= threshold:
                state[i] = "ignored"
                scores[best] = max(scores[best], d["score"])
        if emits:
            entries.extend((score, weight) for score in scores if score > 0 and weight > 0)

    if masks:
        drawn = [t for t in truths if has_mask(t)]
        bare = [t for t in truths if not has_mask(t)]
        settle([t for t in drawn if not t["group"]], mask_iou, "true")
        absorb([t for t in drawn if t["group"]], mask_ioa, True)
        settle([t for t in bare if not t["group"]], box_iou, "ignored")
        absorb([t for t in bare if t["group"]], box_ioa, False)
    else:
        settle([t for t in truths if not t["group"]], box_iou, "true")
        absorb([t for t in truths if t["group"]], box_ioa, True)
    kept = [(d["score"], float(s == "true")) for d, s in zip(found, state, strict=True) if s != "ignored"]
    return kept + entries


def has_mask(truth):
    return truth["mask"] is not None and bool(truth["mask"].any())


def area_under(entries, positives, order):
    """The area under the curve of precision over recall, its recall falling together at every threshold."""
    entries = [entries[i] for i in order([score for score, _ in entries])]
    precision, recall, true, false = [0.0], [0.0], 0.0, 0
    for _, label in entries:
        true += label
        false += label <= 0
        precision.append(true / (true + false))
        recall.append(true / positives)
    # what rounding took above a recall of 1 does not count
    kept = sum(value <= 1 for value in recall)
    precision, recall = [*precision[:kept], 0.0], [*recall[:kept], 1.0]
    strips = [
        (recall[i] - recall[i - 1]) * max(precision[i:]) for i in range(1, len(recall)) if recall[i] != recall[i - 1]
    ]
    return float(np.sum(strips)) if entries else 0.0


def evaluate(images, categories, *, threshold=0.5, weight=1.0, masks=False, cap=10_000, order=by_score):
    """Return the average precision of each category, NaN without ground truth."""
    figures = []
    for category in categories:
        entries, positives = [], 0.0
        for image in images:
            truths = [t for t in image["truths"] if t["category"] == category]
            counted = [t for t in truths if not masks or has_mask(t)]
            groups = sum(t["group"] for t in counted)
            positives += (len(counted) - groups) + weight * groups
            if category not in image["verified"] and not truths:
                continue
            found = [d for d in image["found"] if d["category"] == category and usable(d, masks)]
            rules = {"threshold": threshold, "weight": weight, "masks": masks, "cap": cap, "order": order}
            entries += cell(found, truths, **rules)
        figures.append(area_under(entries, positives, order) if positives else float("nan"))
    return np.array(figures)


def usable(d, masks):
    if d["score"] <= -10 or (masks and not d["mask"].any()):
        return False
    x1, y1, x2, y2 = d["box"]
    return x1 < x2 and y1 < y2
