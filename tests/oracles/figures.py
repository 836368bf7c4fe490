"""Figures that no official code has, by plain loops over what the official code matched."""

import copy

import numpy as np


def shape_area(box):
    """An area that stands for a shape: within [0, 5] tall, within [5, 50] square, within [50, 100] wide."""
    _, _, w, h = box
    tall, wide = 3 * w <= 2 * h, 3 * h <= 2 * w
    square = 3 * w >= 2 * h and 3 * h >= 2 * w
    marks = {
        (True, False, False): 1, (True, True, False): 5, (False, True, False): 10,
        (False, True, True): 50, (False, False, True): 70,
    }  # fmt: skip
    # a box of no width and no height is of every shape, and no area is
    return marks.get((tall, square, wide), 10)


SHAPES = [[0, 1e10], [0, 5], [5, 50], [50, 100]]


def reshaped(dataset):
    """The data set with areas that stand for shapes; what no area range counts stays so."""
    dataset = copy.deepcopy(dataset)
    for row in dataset["annotations"]:
        row["area"] = shape_area(row["bbox"]) if row["area"] <= 1e10 else 2e10
    return dataset


def entries_of(run):
    """(score, right) of the detections that count, by pycocotools at IoU .5, all areas and 100 detections."""
    entries = []
    for cell in run.evalImgs:
        if cell is None or cell["aRng"] != run.params.areaRng[0]:
            continue
        for score, match, ignored in zip(cell["dtScores"], cell["dtMatches"][0], cell["dtIgnore"][0], strict=True):
            if not ignored:
                entries.append((cell["category_id"], score, float(match > 0)))
    return entries


def objects_of(run):
    """Categories of the objects that count."""
    cells = [cell for cell in run.evalImgs if cell is not None and cell["aRng"] == run.params.areaRng[0]]
    return [cell["category_id"] for cell in cells for ignored in cell["gtIgnore"] if not ignored]


def at_score(entries, objects, score=None):
    """(precision, recall, f1, score) of the entries (score, right) of at least a score, by default the best.

    Args:
        entries: (score, what is right, what is wrong).
        objects: How many there are.
        score: Least score.
    """
    if score is None:
        found = [
            at_score(entries, objects, value) for value in sorted({value for value, _, _ in entries}, reverse=True)
        ]
        if not found or not objects:
            return (*at_score(entries, objects, np.inf)[:3], np.nan)
        best = found[0]
        for one in found:
            if one[2] > best[2]:
                best = one
        return best
    kept = [(right, wrong) for value, right, wrong in entries if value >= score]
    right, wrong = sum(r for r, _ in kept), sum(w for _, w in kept)
    if not objects:
        return np.nan, np.nan, np.nan, np.nan
    precision = right / (right + wrong) if right + wrong else np.nan
    return precision, right / objects, 2 * right / (right + wrong + objects), score
