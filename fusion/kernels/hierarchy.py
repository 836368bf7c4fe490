"""Kernels that find rows of the same box, and copy rows to the ancestors of their category."""

import numpy as np

from fusion.kernels.jit import jit

__all__ = ["expand_images", "find_alike", "fold_images"]


@jit
def find_alike(low, high, start, order, bits, member, alike):
    """Find, for each row of images low..high-1, the first row of its image with the same member and box.

    Args:
        low: First image.
        high: One past the last image.
        start: int64 [images + 1].
        order: int64 [n], rows by image.
        bits: (x, y, w, h), the bits of float64 as uint64 [n]; no negative zeros.
        member: int16 [n].
        alike: int64 [n], written: the place in `order` of that row; its own where it is the first.
    """
    x, y, w, h = bits
    widest = 0
    for i in range(low, high):
        widest = max(widest, start[i + 1] - start[i])
    room = 2
    while room < 2 * widest:
        room *= 2
    # a hash table of places, at most half full; -1 for none. Sorting the rows by four numbers instead would go through
    # each several times.
    slots = np.empty(room, np.int64)
    for i in range(low, high):
        size = 2
        while size < 2 * (start[i + 1] - start[i]):
            size *= 2
        slots[:size] = -1
        last = np.uint64(size - 1)
        for k in range(start[i], start[i + 1]):
            r = order[k]
            key = x[r] * np.uint64(0x9E3779B97F4A7C15) ^ y[r] * np.uint64(0xC2B2AE3D27D4EB4F)
            key ^= w[r] * np.uint64(0x165667B19E3779F9) ^ h[r] * np.uint64(0x27D4EB2F165667C5)
            key = (key ^ (key >> np.uint64(32))) * np.uint64(0xD6E8FEB86659FD93)
            p = (key ^ (key >> np.uint64(32))) & last
            while True:
                k0 = slots[p]
                if k0 < 0:
                    slots[p] = k
                    alike[k] = k
                    break
                s = order[k0]
                if x[s] == x[r] and y[s] == y[r] and w[s] == w[r] and h[s] == h[r] and member[s] == member[r]:
                    alike[k] = k0
                    break
                p = (p + np.uint64(1)) & last


@jit
def expand_images(low, high, start, order, alike, score, category, reach, merge, out):
    """Copy the rows of images low..high-1 to all categories that their own reaches.

    Args:
        low: First image.
        high: One past the last image.
        start: int64 [images + 1].
        order: int64 [n], rows by image.
        alike: int64 [n], see `find_alike`; not used without `merge`.
        score: float64 [n], by row.
        category: int32 [n], dense, by row.
        reach: (int64 [categories + 1], int32 [m]), ids that each dense category reaches, its own first.
        merge: Whether entries of one box, member and category give way to the best of them.
        out: (row int64, category int32, owner int64), as long as all copies; `owner` is the entry of `out` that an
            entry gave way to, or itself.

    Returns:
        Number of entries.
    """
    reach_start, reach_id = reach
    out_row, out_category, owner = out
    widest = 0
    for i in range(low, high):
        widest = max(widest, start[i + 1] - start[i])
    # of each box (by the place of its first row) a list of the categories it has by now, in a row's reach at most: the
    # entry that brought the last one, the entry that brought the one before, the entry that stands for one; -1 for none
    head = np.empty(widest, np.int64)
    following = np.empty(len(out_row) if merge else 0, np.int64)
    standing = np.empty(len(out_row) if merge else 0, np.int64)
    count = 0
    for i in range(low, high):
        first = start[i]
        head[: start[i + 1] - first] = -1
        for k in range(first, start[i + 1]):
            r = order[k]
            for a in range(reach_start[category[r]], reach_start[category[r] + 1]):
                kind = reach_id[a]
                out_row[count], out_category[count], owner[count] = r, kind, count
                if merge:
                    g = alike[k] - first
                    node = head[g]
                    while node >= 0 and out_category[node] != kind:
                        node = following[node]
                    if node < 0:
                        following[count], standing[count] = head[g], count
                        head[g] = count
                    else:
                        other = standing[node]
                        if score[r] > score[out_row[other]]:
                            owner[other] = count
                            standing[node] = count
                        else:
                            owner[count] = other
                count += 1
    return count


@jit
def fold_images(low, high, start, order, alike, score, category, above, keep):
    """Mark the rows of images low..high-1 that are no copy of another: none alike has their score and a category below.

    Args:
        low: First image.
        high: One past the last image.
        start: int64 [images + 1].
        order: int64 [n], rows by image.
        alike: int64 [n], see `find_alike`.
        score: float64 [n], by row.
        category: int32 [n], dense, by row.
        above: bool [categories, categories], whether the second is an ancestor of the first.
        keep: bool [n], written: by row.
    """
    widest = 0
    for i in range(low, high):
        widest = max(widest, start[i + 1] - start[i])
    # rows of a box so far as a list: its last, and the one before each, by their place in the image; -1 for none
    last = np.empty(widest, np.int64)
    before = np.empty(widest, np.int64)
    for i in range(low, high):
        first = start[i]
        last[: start[i + 1] - first] = -1
        for k in range(first, start[i + 1]):
            r = order[k]
            keep[r] = True
            g = alike[k] - first
            other = last[g]
            while other >= 0:
                s = order[first + other]
                if score[s] == score[r]:
                    if above[category[s], category[r]]:
                        keep[r] = False
                    if above[category[r], category[s]]:
                        keep[s] = False
                other = before[other]
            before[k - first] = last[g]
            last[g] = k - first
