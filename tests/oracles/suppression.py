"""Hard and soft suppression and box voting of one cell in plain Python, written to the definitions.

A box is a tuple (x1, y1, x2, y2, score, member, row), best score first, ties by row; an answer is a list
of (score, row, corners, votes, rows), best score first, ties by row. Slow on purpose.
"""

import math
from itertools import pairwise
from types import SimpleNamespace

import numpy as np

from fusion.columns import sort_columns
from tests.oracles.arithmetic import one_by_one


def iou(a, b):
    shared = max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    if not 0 < shared < math.inf:
        return 0.0
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)


def answer(rows):
    return sorted(rows, key=lambda entry: (-entry[0], entry[1]))


def hard(boxes, threshold):
    """The kept boxes, each with those it suppressed."""
    groups = []
    for box in boxes:
        for group in groups:
            if iou(group[0], box) > threshold:
                group.append(box)
                break
        else:
            groups.append([box])
    return groups


def rows_of(group):
    return [box[6] for box in group]


def nms(boxes, threshold=0.5):
    return answer((group[0][4], group[0][6], None, None, rows_of(group)) for group in hard(boxes, threshold))


def soft(groups, method, sigma, threshold, floor):
    """Soft suppression of the first box of each group; current scores are recomputed at every step."""
    boxes = [group[0] for group in groups]
    left = [k for k, box in enumerate(boxes) if box[4] >= floor]
    current = [box[4] for box in boxes]
    squares = [0.0] * len(boxes)
    picked = []
    while left:
        lead = max(left, key=lambda k: (current[k], -k))
        left.remove(lead)
        picked.append((current[lead], boxes[lead][6], None, None, rows_of(groups[lead])))
        for k in left:
            u = iou(boxes[lead], boxes[k])
            if method == "gaussian":
                squares[k] += u * u
                current[k] = boxes[k][4] * math.exp(-squares[k] / sigma)
            elif u > threshold:
                current[k] *= 1 - u
        left = [k for k in left if current[k] >= floor]
    return answer(picked)


def soft_nms(boxes, method="gaussian", sigma=0.5, threshold=0.5, floor=0.001):
    return soft([[box] for box in boxes], method, sigma, threshold, floor)


def soft_nms_by_factors(boxes, sigma=0.5, floor=0.001):
    """Gaussian soft suppression as it is usually written: one factor per step, floor at the end."""
    left, picked = [list(box) for box in boxes], []
    while left:
        lead = max(left, key=lambda box: box[4])
        left.remove(lead)
        picked.append((lead[4], lead[6], None, None, [lead[6]]))
        for box in left:
            box[4] *= math.exp(-(iou(lead, box) ** 2) / sigma)
    return answer(entry for entry in picked if entry[0] >= floor)


def nms_then_soft(boxes, hard_threshold=0.7, method="gaussian", sigma=0.5, threshold=0.5, floor=0.001):
    return soft(hard(boxes, hard_threshold), method, sigma, threshold, floor)


def vote(boxes, k=4, score=0.05, box=0.3, threshold=0.5, sides=None):
    voted = []
    for kept in (group[0] for group in hard(boxes, threshold)):
        voters = [(other, iou(kept, other)) for other in boxes if other is not kept]
        voters = [(other, u) for other, u in voters if u > threshold]
        voters.sort(key=lambda voter: (voter[0][5] == kept[5], -voter[1]))
        voters = [other for other, _ in voters[:k]]
        value, corners = kept[4], kept[:4]
        if voters:
            value += score * one_by_one(other[4] for other in voters)
            corners = tuple(
                (1 - box) * kept[c] + box / len(voters) * one_by_one(other[c] for other in voters) for c in range(4)
            )
        if voters and sides is not None:
            corners = weighed([(1.0 - box, kept), *((box / len(voters), other) for other in voters)], sides)
        votes = len({other[5] for other in [kept, *voters]})
        voted.append((value, kept[6], corners, votes, rows_of([kept, *voters])))
    return answer(voted)


def weighed(shares, sides):
    """Mean of boxes by share and weight of the side; sides that cross stay as the first box has them."""
    first, means = shares[0][1], []
    for c in range(4):
        weights = [share * sides[box[5]][c] for share, box in shares]
        mean = one_by_one(weight * box[c] for weight, (_, box) in zip(weights, shares, strict=True))
        means.append(mean / one_by_one(weights))
    for near, far in ((0, 2), (1, 3)):
        if means[far] < means[near]:
            means[near], means[far] = first[near], first[far]
    return tuple(means)


def scene(seed, size, *, members=3, cells=3, scale=1.0, offset=0.0, ties=False, flat=False):
    """Make a pool of random, overlapping boxes; returns it and the boxes of each of its cells.

    Args:
        seed: Seed of the generator.
        size: Number of boxes.
        members: Number of members.
        cells: Number of cells, at most.
        scale: Boxes lie in about [offset, offset + scale].
        offset: Added to all coordinates.
        ties: Scores and coordinates in steps, so that many are equal, as are IoUs; some boxes are the same.
        flat: Some boxes have no width or no height.
    """
    rng = np.random.default_rng(seed)
    places = rng.random((max(size // 4, 1), 2)) * 0.7
    low = places[rng.integers(len(places), size=size)] + rng.normal(0, 0.03, (size, 2))
    side = 0.2 * np.exp(rng.normal(0, 0.3, (size, 2)))
    score = rng.random(size)
    if ties:
        low, side, score = low.round(1), side.round(1), score.round(1)
    if flat:
        side[rng.random((size, 2)) < 0.1] = 0
    low, high = low * scale + offset, (low + side) * scale + offset
    kind = np.sort(rng.integers(cells, size=size)).astype(np.int32)
    member = rng.integers(members, size=size).astype(np.int16)
    columns = sort_columns(kind // 2, kind % 2, score, low[:, 0], low[:, 1], high[:, 0], high[:, 1], member)
    rows = zip(*low.T.tolist(), *high.T.tolist(), score.tolist(), member.tolist(), range(size), strict=True)
    return SimpleNamespace(columns=columns, members=members), in_cells(zip(kind.tolist(), rows, strict=True))


def in_cells(keyed):
    """The boxes of each cell, by ascending key, best score first, ties by row; from pairs of key and box."""
    cells = {}
    for key, box in keyed:
        cells.setdefault(key, []).append(box)
    return [sorted(cells[key], key=lambda box: (-box[4], box[6])) for key in sorted(cells)]


def listed(fused):
    """The entries of a `Fused` with sources, as (cell, score, row, corners, votes, rows)."""
    row = fused.sources.row.tolist()
    rows = [row[a:b] for a, b in pairwise(fused.sources.start.tolist())]
    corners = [None] * len(rows) if fused.corners is None else [tuple(box) for box in fused.corners.tolist()]
    votes = [None] * len(rows) if fused.votes is None else fused.votes.tolist()
    return list(zip(fused.cell.tolist(), fused.score.tolist(), fused.row.tolist(), corners, votes, rows, strict=True))


def expected(cells, definition, **options):
    """What `listed` should give: the definition applied to each cell."""
    return [(c, *entry) for c, boxes in enumerate(cells) for entry in definition(boxes, **options)]
