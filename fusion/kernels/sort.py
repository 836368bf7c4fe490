"""Sorting detections into (image, category) cells, in linear time but for the sort inside a cell."""

import numpy as np

from fusion.kernels.jit import jit

__all__ = ["fill_images", "group_by_image"]

# Images with fewer rows are sorted by insertion and merging: a radix sort has 4 x 256 counters to clear.
_FEW = 64
# Below this length insertion beats merging (flat between 12 and 24).
_SHORT = 16


@jit
def group_by_image(image, images, order):
    """Write the stable order of rows by image into `order` and return the offsets, int64 [images + 1]."""
    start = np.zeros(images + 1, np.int64)
    for i in range(len(image)):
        start[image[i] + 1] += 1
    for k in range(images):
        start[k + 1] += start[k]
    place = start[:-1].copy()
    for i in range(len(image)):
        k = image[i]
        order[place[k]] = i
        place[k] += 1
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
def _sort_descending(key, index, other_key, other_index, low, high):
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
def _radix_descending(rows, other, bits, other_bits, count, histogram):
    """Sort rows[:count] by their score in float32, descending and stable.

    Scores that are equal in float32 but not in float64 are left in row order for the caller to mend.

    Args:
        rows: [>= count] rows; sorted in place.
        other: Scratch like `rows`.
        bits: uint32 [>= count], the scores' float32 bits, turned so that ascending is descending by score.
        other_bits: Scratch like `bits`.
        count: Number of rows.
        histogram: Scratch, int32 [4, 256].
    """
    histogram[:] = 0
    for i in range(count):
        b = bits[i]
        histogram[0, b & 255] += 1
        histogram[1, (b >> 8) & 255] += 1
        histogram[2, (b >> 16) & 255] += 1
        histogram[3, b >> 24] += 1
    swapped = False
    for digit in range(4):
        shift = np.uint32(8 * digit)
        counts = histogram[digit]
        if counts[(bits[0] >> shift) & 255] == count:
            continue
        total = 0
        for d in range(256):
            size = counts[d]
            counts[d] = total
            total += size
        for i in range(count):
            d = (bits[i] >> shift) & 255
            p = counts[d]
            counts[d] = p + 1
            other_bits[p] = bits[i]
            other[p] = rows[i]
        rows, other = other, rows
        bits, other_bits = other_bits, bits
        swapped = not swapped
    if swapped:
        for i in range(count):
            other[i] = rows[i]


@jit
def fill_images(low, high, image_start, order, categories, source, out):
    """Sort the detections of images low..high-1 into cells and copy their columns.

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
    base = image_start[low]
    total = image_start[high] - base
    widest = 0
    for i in range(low, high):
        widest = max(widest, image_start[i + 1] - image_start[i])
    place = np.zeros(categories, np.int32)
    histogram = np.empty((4, 256), np.int32)
    single = np.empty(widest, np.float32)
    bits = single.view(np.uint32)
    other_bits = np.empty(widest, np.uint32)
    key = np.empty(widest)
    index = np.empty(widest, np.int64)
    other_key = np.empty(widest)
    other_index = np.empty(widest, np.int64)
    cell_start = np.empty(total, np.int64)
    cell_image = np.empty(total, np.int32)
    cell_category = np.empty(total, np.int32)
    cells = 0
    for i in range(low, high):
        first = image_start[i]
        count = image_start[i + 1] - first
        if count == 0:
            continue
        for r in range(count):
            place[category[order[first + r]]] += 1
        first_cell = cells
        offset = 0
        for c in range(categories):
            if place[c] > 0:
                cell_start[cells] = first + offset
                cell_image[cells] = i
                cell_category[cells] = c
                cells += 1
                size = place[c]
                place[c] = offset
                offset += size
        for r in range(count):
            other_index[r] = order[first + r]
        if count > _FEW:
            for r in range(count):
                single[r] = score[other_index[r]] + 0.0  # -0.0 and 0.0 are equal scores
            for r in range(count):
                b = bits[r]
                bits[r] = b if b >> 31 else b ^ np.uint32(0x7FFFFFFF)
            _radix_descending(other_index, index, bits, other_bits, count, histogram)
        for r in range(count):
            row = other_index[r]
            p = place[category[row]]
            place[category[row]] += 1
            key[p] = score[row]
            index[p] = row
        for c in range(first_cell, cells):
            begin = cell_start[c] - first
            end = count if c + 1 == cells else cell_start[c + 1] - first
            place[cell_category[c]] = 0
            for p in range(begin + 1, end):
                if key[p - 1] < key[p]:
                    _sort_descending(key, index, other_key, other_index, begin, end)
                    break
        for p in range(count):
            row = index[p]
            q = first + p
            out_x1[q] = x1[row]
            out_y1[q] = y1[row]
            out_x2[q] = x2[row]
            out_y2[q] = y2[row]
            out_score[q] = key[p]
            out_member[q] = member[row]
            out_row[q] = row
    return cell_start[:cells].copy(), cell_image[:cells].copy(), cell_category[:cells].copy()
