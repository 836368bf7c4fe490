"""Pairs of two inputs in plain Python, written to the definition."""

from tests.oracles.suppression import iou


def pairs(left, right, threshold):
    """Pair boxes (image, category, score, x1, y1, x2, y2, row); returns a set of (row of left, row of right)."""
    wishes = {}
    for a in left:
        near = [(iou(a[3:7], b[3:7]), b[2], -b[7]) for b in right if a[:2] == b[:2]]
        near = [entry for entry in near if entry[0] > threshold]
        if near:
            wishes.setdefault(-max(near)[2], []).append((a[2], -a[7]))
    return {(-max(group)[1], partner) for partner, group in wishes.items()}
