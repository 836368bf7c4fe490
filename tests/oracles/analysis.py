"""Analyses of detections in plain Python: TIDE's errors, matching, confusion, thresholds, calibration, bounds.

Detections and ground truth are lists of dictionaries as in COCO's files, with `area` and, for masks,
`bitmap`. Slow on purpose.
"""

import math
from collections import defaultdict

from tests.oracles.coco import curve, match_cell

MAIN = ("Cls", "Loc", "Both", "Dupe", "Bkg", "Miss")


def by_image(dataset, results):
    """Pairs of (detections by score, annotations) in order of image id; unknown categories are left out."""
    known = {category["id"] for category in dataset["categories"]}
    for image in sorted(image["id"] for image in dataset["images"]):
        found = [d for d in results if d["image_id"] == image and d["category_id"] in known]
        truths = [g for g in dataset["annotations"] if g["image_id"] == image]
        yield sorted(found, key=lambda d: -d["score"]), truths


def _highest(iou, d, truths, places):
    """Of the annotations at some places the one of highest IoU, the first of equals, and that IoU."""
    best, best_iou = None, 0.0
    for i in places:
        if iou(d, truths[i]) > best_iou:
            best, best_iou = i, iou(d, truths[i])
    return best, best_iou


def _own(d, truths):
    return [i for i, g in enumerate(truths) if g["category_id"] == d["category_id"]]


def tide(dataset, results, iou, positive=0.5, background=0.1, cap=100):
    """Return (AP, counts, costs) by TIDE's definitions."""
    right, wrong = [], []  # (category, score), (kind, category, score or None where ignored, category when fixed)
    objects, missed = defaultdict(int), defaultdict(int)
    for found, annotations in by_image(dataset, results):
        found = found[:cap]
        truths = [g for g in annotations if not g["iscrowd"]]
        crowds = [g for g in annotations if g["iscrowd"]]
        taken, reached = set(), set()
        state = {}
        for n, d in enumerate(found):
            best, value = _highest(iou, d, truths, [i for i in _own(d, truths) if i not in taken])
            if value >= positive:
                taken.add(best)
                state[n] = "true"
            elif any(g["category_id"] == d["category_id"] and iou(d, g) > positive for g in crowds):
                state[n] = "ignored"
            else:
                state[n] = "false"
        for n, d in enumerate(found):
            if state[n] == "true":
                right.append((d["category_id"], d["score"]))
                continue
            mine = _own(d, truths)
            own, own_iou = _highest(iou, d, truths, mine)
            other, other_iou = _highest(iou, d, truths, [i for i in range(len(truths)) if i not in mine])
            _, used_iou = _highest(iou, d, truths, [i for i in mine if i in taken])
            target = None
            if not truths:
                kind = "Bkg"
            elif background <= own_iou <= positive:
                kind, target = "Loc", own
            elif other_iou >= positive:
                kind, target = "Cls", other
            elif used_iou >= positive:
                kind = "Dupe"
            elif max(own_iou, other_iou) <= background:
                kind = "Bkg"
            else:
                kind = "Both"
            fixed = None
            if target is not None and target not in taken and target not in reached:
                reached.add(target)
                fixed = truths[target]["category_id"]
            wrong.append((kind, d["category_id"], d["score"] if state[n] == "false" else None, d["score"], fixed))
        for i, g in enumerate(truths):
            objects[g["category_id"]] += 1
            missed[g["category_id"]] += i not in taken and i not in reached
    categories = sorted(category["id"] for category in dataset["categories"])

    def mean(kind, counted):
        values = []
        for k in categories:
            points = []
            for error, category, score, given, fixed in wrong:
                if error == kind:
                    if fixed == k:
                        points.append((given, True))
                elif category == k and score is not None:
                    points.append((score, False))
            points += [(score, True) for category, score in right if category == k]
            if points or counted[k]:
                values.append(_area(sorted(points, key=lambda p: -p[0]), counted[k]))
        return sum(values) / len(values) if values else 0.0

    base = _base(categories, right, wrong, objects, dataset, results, iou, positive, cap)
    counts = {kind: sum(error[0] == kind for error in wrong) for kind in MAIN[:-1]} | {"Miss": sum(missed.values())}
    costs = {kind: max(mean(kind, objects) - base, 0.0) for kind in MAIN[:-1]}
    costs["Miss"] = max(mean(None, {k: objects[k] - missed[k] for k in categories}) - base, 0.0)
    hits = {k: sum(category == k for category, _ in right) for k in categories}
    costs["FalseNeg"] = mean(None, hits) - base
    perfect = [
        _area([(1, True)] * hits[k] + [(0, False)] * sum(e[1] == k and e[2] is not None for e in wrong), objects[k])
        for k in categories
        if hits[k] or objects[k] or any(e[1] == k and e[2] is not None for e in wrong)
    ]
    costs["FalsePos"] = (sum(perfect) / len(perfect) if perfect else 0.0) - base
    return base, counts, costs


def _base(categories, right, wrong, objects, dataset, results, iou, positive, cap):
    """AP before any fix; ties stay in order of (image, score, row) here."""
    points = defaultdict(list)
    for found, annotations in by_image(dataset, results):
        taken = set()
        truths = [g for g in annotations if not g["iscrowd"]]
        for d in found[:cap]:
            best, value = _highest(iou, d, truths, [i for i in _own(d, truths) if i not in taken])
            if value >= positive:
                taken.add(best)
            elif any(
                g["iscrowd"] and g["category_id"] == d["category_id"] and iou(d, g) > positive for g in annotations
            ):
                continue
            points[d["category_id"]].append((d["score"], value >= positive))
    values = [_area(sorted(points[k], key=lambda p: -p[0]), objects[k]) for k in categories if points[k] or objects[k]]
    return sum(values) / len(values) if values else 0.0


def _area(points, positives):
    if not positives:
        return 0.0
    precisions, recalls = [], []
    hits = 0
    for n, (_, true) in enumerate(points, 1):
        hits += true
        precisions.append(hits / n)
        recalls.append(hits / positives)
    total = 0.0
    for i in range(101):
        reached = next((n for n, recall in enumerate(recalls) if recall >= i / 100), None)
        total += 0.0 if reached is None else max(precisions[reached:])
    return total / 101


def outcomes(dataset, results, iou, threshold, cap=100, area_range=(0, 1e10)):
    """Category -> list of (score, outcome) by COCO's rules, best score first."""
    answer = defaultdict(list)
    for found, truths in by_image(dataset, results):
        for k in {d["category_id"] for d in found}:
            cell = [d for d in found if d["category_id"] == k][:cap]
            own = [g for g in truths if g["category_id"] == k]
            answer[k] += zip(
                [d["score"] for d in cell], match_cell(cell, own, iou, threshold, area_range, True), strict=True
            )
    for rows in answer.values():
        rows.sort(key=lambda row: -row[0])
    return answer


def found_objects(dataset, results, iou, threshold, cap=100):
    """Ids of the annotations that count and are found, by COCO's matching."""
    ids = set()
    for found, truths in by_image(dataset, results):
        taken = set()
        seen = defaultdict(int)
        for d in found:
            seen[d["category_id"]] += 1
            if seen[d["category_id"]] > cap:
                continue
            best, best_iou = None, threshold
            for g in truths:
                counts = not g["iscrowd"] and 0 <= g["area"] <= 1e10 and g["id"] not in taken
                if g["category_id"] == d["category_id"] and counts and iou(d, g) >= best_iou:
                    best, best_iou = g["id"], iou(d, g)
            if best is not None:
                taken.add(best)
        ids |= taken
    return ids


def confusion(dataset, results, iou, threshold, least_score):
    """Counts of (object's category, detection's category); None is the background."""
    counts = defaultdict(int)
    for found, annotations in by_image(dataset, results):
        truths = [g for g in annotations if not g["iscrowd"] and 0 <= g["area"] <= 1e10]
        ignored = [g for g in annotations if g["iscrowd"] or not 0 <= g["area"] <= 1e10]
        used = set()
        taken = set()
        for d in found:
            if d["score"] < least_score:
                continue
            rank = [
                (iou(d, g), g["category_id"] == d["category_id"], i) for i, g in enumerate(truths) if i not in taken
            ]
            rank = [entry for entry in rank if entry[0] >= threshold]
            if rank:
                top = max(rank)[:2]
                ties = [i for *head, i in rank if tuple(head) == top]
                # the evaluation lists annotations by category, later ones of equal IoU first
                chosen = max(ties, key=lambda i: (truths[i]["category_id"], i))
                taken.add(chosen)
                counts[truths[chosen]["category_id"], d["category_id"]] += 1
                continue
            inside = [
                g
                for g in ignored
                if g["category_id"] == d["category_id"]
                and iou(d, g) >= threshold
                and (g["iscrowd"] or g["id"] not in used)
            ]
            if inside:
                used.add(inside[-1]["id"])
            elif 0 <= d["area"] <= 1e10:
                counts[None, d["category_id"]] += 1
        for i, g in enumerate(truths):
            if i not in taken:
                counts[g["category_id"], None] += 1
    return dict(counts)


def best_threshold(rows, objects):
    """(F1, score) of the best threshold for rows of (score, outcome); the highest score of equals."""
    best = (-1.0, math.nan)
    for score in sorted({score for score, outcome in rows if outcome != "ignored"}, reverse=True):
        kept = [outcome for other, outcome in rows if other >= score and outcome != "ignored"]
        f1 = 2 * kept.count("true") / (len(kept) + objects)
        if f1 > best[0]:
            best = (f1, score)
    return best


def average_precision(rows, positives):
    """COCO's AP of rows of (score, outcome) at one threshold."""
    if not rows:
        return 0.0
    at_recall, _, _ = curve([row[1] for row in rows], [row[0] for row in rows], positives)
    return sum(at_recall) / len(at_recall)
