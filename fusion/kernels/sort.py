"""Sorting detections into (image, category) cells, in linear time but for the sort inside a cell."""

import numpy as np

from fusion.kernels.jit import jit

__all__ = ["fill_images", "group_by_image", "sort_descending"]

# Below this length insertion beats merging (flat between 12 and 24).
_SHORT = 16
# Rows of an image are dealt into at most this many ranges of score, which leaves little to sort.
_BUCKETS = 256
# Moves per row that insertion may take in a cell before merging takes over.
_PATIENCE = 8


@jit
def group_by_image(image, images, order):
    """Write the stable order of rows by image into `order` and return the offsets, int64 [images + 1]."""
    start = np.zeros(images + 1, np.int64)
    following = start[1:]
    for i in range(len(image)):
        following[np.uint32(image[i])] += 1
    for k in range(images):
        start[k + 1] += start[k]
    place = start[:-1].astype(np.uint64)
    for i in range(len(image)):
        k = np.uint32(image[i])
        order[place[k]] = i
        place[k] += np.uint64(1)
    return start


@jit
def _insertion(key, index, low, high):
    for i in range(low + 1, high):
        k = key[i]
        r = index[i]
        j = i - 1
        while j >= low and key[j] < k:
            key[j + 1] = key[j]
            index[j + 1] = index[j]
            j -= 1
        key[j + 1] = k
        index[j + 1] = r


@jit
def _merge(key, index, other_key, other_index, low, middle, high):
    i = low
    j = middle
    for k in range(low, high):
        # equal scores: the left run first, so that rows stay in order
        if i < middle and (j >= high or key[i] >= key[j]):
            other_key[k] = key[i]
            other_index[k] = index[i]
            i += 1
        else:
            other_key[k] = key[j]
            other_index[k] = index[j]
            j += 1


@jit
def sort_descending(key, index, other_key, other_index, low, high):
    """Stable descending sort of key[low:high] with its index; `other_*` are scratch of the same size."""
    for i in range(low, high, _SHORT):
        _insertion(key, index, i, min(i + _SHORT, high))
    width = _SHORT
    while width < high - low:
        for i in range(low, high, 2 * width):
            middle = min(i + width, high)
            end = min(i + 2 * width, high)
            if middle >= end or key[middle - 1] >= key[middle]:
                continue
            for k in range(i, end):
                other_key[k] = key[k]
                other_index[k] = index[k]
            # merge back from the copy
            _merge(other_key, other_index, key, index, i, middle, end)
        width *= 2


@jit
def _tidy(key, index, other_key, other_index, low, high):
    """Stable descending sort of a cell that is nearly sorted: by insertion, else by merging."""
    patience = _PATIENCE * (high - low)
    for i in range(low + 1, high):
        k = key[i]
        if key[i - 1] < k:
            r = index[i]
            j = i
            while j > low and key[j - 1] < k:
                key[j] = key[j - 1]
                index[j] = index[j - 1]
                j -= 1
            key[j] = k
            index[j] = r
            patience -= i - j
            if patience < 0:
                sort_descending(key, index, other_key, other_index, low, high)
                break


@jit
def _deal(score, count, lowest, highest, bucket, counts, dealt):
    """Write the places 0..count-1 to `dealt` in falling order of score range, stable within a range.

    One pass over at most 256 ranges, where a radix sort takes three or four; the cells are put right by `_tidy`.
    """
    buckets = min(count, _BUCKETS)
    span = highest - lowest
    # 0 puts all into one range: equal scores, or a span too small or too large for a double
    scale = (buckets - 1) / span if 1e-300 < span < 1e300 else 0.0
    counts[:buckets] = 0
    bucket[:count] = 0
    if scale > 0.0:
        for r in range(count):
            bucket[r] = np.int32((highest - score[r]) * scale)
    # counted on its own: in one loop with the line above, both took up to 10 ns per row more, by where the code lay
    for r in range(count):
        counts[bucket[r]] += 1
    total = 0
    for d in range(buckets):
        size = counts[d]
        counts[d] = total
        total += size
    for r in range(count):
        d = bucket[r]
        p = counts[d]
        counts[d] = p + 1
        dealt[p] = r


@jit
def fill_images(low, high, image_start, order, categories, source, out):
    """Sort the detections of images low..high-1 into cells and copy their columns.

    An image's rows lie in several tables, so they are first read in order into scratch that stays in the cache:
    picking them from the tables in their new order would wait for memory (22 against 27 ns per row).

    Args:
        low: First image.
        high: One past the last image.
        image_start: int64 [images + 1].
        order: [n] rows by image.
        categories: Number of dense categories.
        source: (category, score, x1, y1, x2, y2, member), unsorted.
        out: (x1, y1, x2, y2, score, member, row), written at image_start[low]:image_start[high].

    Returns:
        (start int64, image int32, category int32) of the cells.
    """
    category, score, x1, y1, x2, y2, member = source
    out_x1, out_y1, out_x2, out_y2, out_score, out_member, out_row = out
    total = image_start[high] - image_start[low]
    widest = 0
    for i in range(low, high):
        widest = max(widest, image_start[i + 1] - image_start[i])
    place = np.zeros(categories, np.uint32)
    counts = np.empty(_BUCKETS, np.uint32)
    # unsigned, as numbers that may be negative are tested for that wherever they are an index
    kind, bucket, dealt = np.empty(widest, np.uint32), np.empty(widest, np.uint32), np.empty(widest, np.uint32)
    # the four sides of a box together: they are read in another order than written
    box, own_score = np.empty((widest, 4)), np.empty(widest)
    key, other_key = np.empty(widest), np.empty(widest)
    index, other_index = np.empty(widest, np.uint32), np.empty(widest, np.uint32)
    cell_start = np.empty(total, np.int64)
    cell_image, cell_category = np.empty(total, np.int32), np.empty(total, np.int32)
    cells = 0
    for i in range(low, high):
        first = image_start[i]
        count = image_start[i + 1] - first
        if count == 0:
            continue
        last = first + count
        rows = order[first:last]
        lowest, highest = np.inf, -np.inf
        for r in range(count):
            row = rows[r]
            c = np.uint32(category[row])
            kind[r] = c
            place[c] += 1
            s = np.float64(score[row])
            box[r, 0], box[r, 1], box[r, 2], box[r, 3], own_score[r] = x1[row], y1[row], x2[row], y2[row], s
            lowest, highest = min(lowest, s), max(highest, s)
        first_cell = cells
        offset = 0
        for c in range(categories):
            size = place[c]
            if size > 0:
                cell_start[cells] = first + offset
                cell_image[cells] = i
                cell_category[cells] = c
                cells += 1
                place[c] = offset
                offset += size
        _deal(own_score, count, lowest, highest, bucket, counts, dealt)
        for p in range(count):
            r = dealt[p]
            q = place[kind[r]]
            place[kind[r]] = q + 1
            key[q] = own_score[r]
            index[q] = r
        for c in range(first_cell, cells):
            place[np.uint32(cell_category[c])] = 0
            end = count if c + 1 == cells else cell_start[c + 1] - first
            _tidy(key, index, other_key, other_index, cell_start[c] - first, end)
        left, top, right, bottom = out_x1[first:last], out_y1[first:last], out_x2[first:last], out_y2[first:last]
        scores, members, numbers = out_score[first:last], out_member[first:last], out_row[first:last]
        for p in range(count):
            r = index[p]
            left[p], top[p], right[p], bottom[p], scores[p] = box[r, 0], box[r, 1], box[r, 2], box[r, 3], key[p]
            row = rows[r]
            members[p], numbers[p] = member[row], row
    return cell_start[:cells].copy(), cell_image[:cells].copy(), cell_category[:cells].copy()
