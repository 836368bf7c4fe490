"""Slow, obvious versions of counting relations and of rescoring by them."""

import math


def together(truth):
    """Count images and objects: returns (images, objects, both, beside) as dicts by category and by ordered pair.

    `truth` is a list of images: each a dict with "boxes", a list of (category, x, y, w, h, crowd), and
    "labels", a list of categories.
    """
    images, objects, both, beside = {}, {}, {}, {}
    for image in truth:
        here = {box[0] for box in image["boxes"]} | set(image["labels"])
        for i in here:
            images[i] = images.get(i, 0) + 1
            for j in here - {i}:
                both[i, j] = both.get((i, j), 0) + 1
        for category, *_ in image["boxes"]:
            objects[category] = objects.get(category, 0) + 1
            for j in here - {category}:
                beside[category, j] = beside.get((category, j), 0) + 1
    return images, objects, both, beside


def lies_inside(inner, outer, ioa):
    """Whether box (x1, y1, x2, y2) lies inside a larger one."""
    area = (inner[2] - inner[0]) * (inner[3] - inner[1])
    other = (outer[2] - outer[0]) * (outer[3] - outer[1])
    if not 0 < area < other:
        return False
    width = max(0.0, min(inner[2], outer[2]) - max(inner[0], outer[0]))
    height = max(0.0, min(inner[3], outer[3]) - max(inner[1], outer[1]))
    return width * height >= ioa * area


def surrounding(truth, ioa):
    """Return {(inner, outer): [inner objects inside an outer one, outer objects with an inner one inside]}."""
    counts = {}
    for image in truth:
        boxes = [(c, (x, y, x + w, y + h)) for c, x, y, w, h, crowd in image["boxes"] if not crowd]
        for i, box in boxes:
            for j in {c for c, other in boxes if c != i and lies_inside(box, other, ioa)}:
                counts.setdefault((i, j), [0, 0])[0] += 1
            for j in {c for c, other in boxes if c != i and lies_inside(other, box, ioa)}:
                counts.setdefault((j, i), [0, 0])[1] += 1
    return counts


def raise_scores(rows, probability, given, least):
    """Return new scores of rows (image, category, score); probability[i, j] is p(i|j)."""
    best = {}
    for number, (image, category, score) in enumerate(rows):
        if (image, category) not in best or score > rows[best[image, category]][2]:
            best[image, category] = number
    new = [row[2] for row in rows]
    for (image, i), number in best.items():
        if rows[number][2] < least:
            continue
        for (other, j), top in best.items():
            if other == image and j != i and rows[top][2] >= given:
                new[number] = max(new[number], rows[top][2] * probability.get((i, j), 0.0))
    return new


def weigh_scores(rows, used, ioa, up, down):
    """Return new scores of rows (image, category, score, box); used[i] lists ("inside" or "around", j, q, r)."""
    new = []
    for image, i, p, box in rows:
        sums = []
        for way, j, q, r in used.get(i, []):
            e = 0.0
            for other, category, score, theirs in rows:
                if other == image and category == j:
                    pair = (box, theirs) if way == "inside" else (theirs, box)
                    if lies_inside(*pair, ioa):
                        e = max(e, score)
            sums.append(up * e * math.log(q / r) + down * (1 - e) * math.log((1 - q) / (1 - r)))
        odds = p * math.exp(max(sums)) if sums else p
        new.append(odds / (odds + 1 - p))
    return new
