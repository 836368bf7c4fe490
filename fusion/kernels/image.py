"""One image's boxes, as the public per-image functions take them: into cells, through a kernel, and out by score."""

import numpy as np

from fusion.columns import Columns
from fusion.kernels.cluster import order_by_key
from fusion.kernels.fuse import allocate, fuse_cells
from fusion.kernels.jit import jit
from fusion.kernels.sort import sort_descending

__all__ = ["arrange", "fuse_image"]


@jit
def _first_fault(boxes, scores, labels):
    """Return the first row with a number that is not finite, or -1."""
    # 0 * x is 0 for a finite x, else NaN, which stays in a sum: no branch per number
    check = 0.0
    for i in range(len(scores)):
        check += 0.0 * boxes[i, 0] + 0.0 * boxes[i, 1] + 0.0 * boxes[i, 2] + 0.0 * boxes[i, 3]
        check += 0.0 * scores[i] + 0.0 * labels[i]
    if check == 0.0:
        return -1
    for i in range(len(scores)):
        if not (np.isfinite(scores[i]) and np.isfinite(labels[i]) and np.isfinite(boxes[i]).all()):
            return i
    return -1


@jit
def _by_label(labels, rows, size):
    """Sort rows[:size] by label, ascending and stable."""
    low = high = labels[rows[0]]
    whole = True
    for k in range(size):
        label = labels[rows[k]]
        low = min(low, label)
        high = max(high, label)
        whole = whole and label == np.floor(label)
    if whole and high - low < 4 * size + 1024:
        place = np.zeros(int(high - low) + 2, np.int64)
        for k in range(size):
            place[int(labels[rows[k]] - low) + 1] += 1
        for c in range(1, len(place)):
            place[c] += place[c - 1]
        given = rows[:size].copy()
        for k in range(size):
            c = int(labels[given[k]] - low)
            rows[place[c]] = given[k]
            place[c] += 1
    else:
        key = np.empty(size)
        for k in range(size):
            key[k] = -labels[rows[k]]
        sort_descending(key, rows, np.empty(size), np.empty(size, np.int64), 0, size)


@jit
def arrange(boxes, scores, labels, sizes):
    """Sort the boxes of one image into a cell per label: by label, score descending, row.

    Swapped corners are put right, boxes without area are left out.

    Args:
        boxes: float64 [n, 4], two opposite corners.
        scores: float64 [n].
        labels: float64 [n].
        sizes: int64 [models], number of rows of each model.

    Returns:
        (fault, columns, float64 [cells] label of each cell). The fault is -1, or the first row with a
        number that is not finite; then the columns are empty.
    """
    n = len(scores)
    fault = _first_fault(boxes, scores, labels)
    rows = np.empty(n, np.int64)
    size = 0
    if fault == -1:
        for i in range(n):
            if (boxes[i, 2] - boxes[i, 0]) * (boxes[i, 3] - boxes[i, 1]) != 0.0:
                rows[size] = i
                size += 1
    if size > 0:
        _by_label(labels, rows, size)
    model = np.empty(n, np.int16)
    i = 0
    for m in range(len(sizes)):
        for _ in range(sizes[m]):
            model[i] = m
            i += 1

    score = np.empty(size)
    row = rows[:size].copy()
    start = np.empty(size + 1, np.int64)
    name = np.empty(size)
    cells = 0
    for k in range(size):
        score[k] = scores[row[k]]
        if k == 0 or labels[row[k]] != labels[row[k - 1]]:
            start[cells] = k
            name[cells] = labels[row[k]]
            cells += 1
    start[cells] = size
    other_score = np.empty(size)
    other_row = np.empty(size, np.int64)
    for c in range(cells):
        sort_descending(score, row, other_score, other_row, start[c], start[c + 1])

    x1, y1, x2, y2 = np.empty(size), np.empty(size), np.empty(size), np.empty(size)
    member = np.empty(size, np.int16)
    for k in range(size):
        i = row[k]
        x1[k] = min(boxes[i, 0], boxes[i, 2])
        y1[k] = min(boxes[i, 1], boxes[i, 3])
        x2[k] = max(boxes[i, 0], boxes[i, 2])
        y2[k] = max(boxes[i, 1], boxes[i, 3])
        member[k] = model[i]
    image = np.zeros(cells, np.int32)
    category = np.arange(cells).astype(np.int32)
    columns = Columns(x1, y1, x2, y2, score, member, row, start[: cells + 1].copy(), image, category)
    return fault, columns, name[:cells].copy()


@jit
def fuse_image(boxes, scores, labels, sizes, options):
    """Fuse the boxes of one image; arguments as of `arrange` and `fuse_cells`.

    Returns:
        (fault, float64 [k, 4] corners, float64 [k] scores, float64 [k] labels) in order of score
        descending, ties by the row of each cluster's best box.
    """
    fault, columns, name = arrange(boxes, scores, labels, sizes)
    answer = allocate(len(columns.score), False)
    size, _ = fuse_cells(columns, 0, len(name), options, answer, None)
    score = answer.score[:size].copy()
    index = np.arange(size)
    order_by_key(score, index, answer.row, np.empty(size), np.empty(size, np.int64), size)
    corners = np.empty((size, 4))
    label = np.empty(size)
    for k in range(size):
        i = index[k]
        label[k] = name[answer.cell[i]]
        for s in range(4):
            corners[k, s] = answer.corners[i, s]
    return fault, corners, score, label
