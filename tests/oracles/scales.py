"""Merging of views in plain Python, written to the definition; see `tests.oracles.suppression` for boxes."""

import math

from tests.oracles.suppression import nms_then_soft


def factor(view, category, w, h, sides, weights, limits, boost):
    """What the score of a box is multiplied by."""
    side = math.sqrt(w * h)
    number = 1.0
    if weights:
        number = weights[view][sum(side >= bound for bound in sides)]
    least, most = limits.get(view, (0, math.inf))
    if not least <= side < most:
        number = 0.0
    return number * boost.get(category, 1.0)


def merge(rows, *, sides=(), weights=None, limits=None, boost=None, **suppression):
    """Merge rows (image, category, score, x, y, w, h, view, row), in the order of the input.

    Returns a list of (image, category, score, row, rows behind it).
    """
    cells = {}
    for image, category, score, x, y, w, h, view, row in rows:
        number = factor(view, category, w, h, sides, weights or {}, limits or {}, boost or {})
        if number > 0:
            cells.setdefault((image, category), []).append((x, y, x + w, y + h, score * number, 0, row))
    answer = []
    for cell in sorted(cells):
        boxes = sorted(cells[cell], key=lambda box: (-box[4], box[6]))
        for score, row, _, _, behind in nms_then_soft(boxes, **suppression):
            answer.append((*cell, score, row, behind))
    return answer
