"""Kernels that put sorted detections together, take some of them, and sort them again after their scores changed."""

import numpy as np

from fusion.kernels.cluster import order_by_key
from fusion.kernels.jit import jit, uncounted

__all__ = ["lower_cells", "merge_cells", "settle_cells"]


@uncounted
def merge_cells(low, high, a, b, members, start, out):
    """Merge cells low..high-1 of two sorted sheets; of equal scores the first sheet's come first.

    Args:
        low: First cell.
        high: One past the last cell.
        a: (start, x1, y1, x2, y2, w, h, score, member, rank, source) of the first sheet; the last two may be of size 0.
        b: The same of the second.
        members: Number of members of the first.
        start: int64 [cells + 1], the sum of the sheets' offsets.
        out: (x1, y1, x2, y2, w, h, score, member, row, source); a row is the rank in the upper and the position in
            the lower 32 bits.
    """
    a_start, ax1, ay1, ax2, ay2, aw, ah, a_score, a_member, a_rank, a_source = a
    b_start, bx1, by1, bx2, by2, bw, bh, b_score, b_member, b_rank, b_source = b
    x1, y1, x2, y2, w, h, score, member, row, source = out
    a_ranked, b_ranked, traced = len(a_rank) > 0, len(b_rank) > 0, len(source) > 0
    for c in range(low, high):
        i, j = a_start[c], b_start[c]
        a_end, b_end = a_start[c + 1], b_start[c + 1]
        for k in range(start[c], start[c + 1]):
            if i < a_end and (j >= b_end or a_score[i] >= b_score[j]):
                x1[k], y1[k], x2[k], y2[k] = ax1[i], ay1[i], ax2[i], ay2[i]
                w[k], h[k], score[k], member[k] = aw[i], ah[i], a_score[i], a_member[i]
                rank = np.int64(a_rank[i]) if a_ranked else np.int64(i)
                if traced:
                    source[k] = a_source[i]
                i += 1
            else:
                x1[k], y1[k], x2[k], y2[k] = bx1[j], by1[j], bx2[j], by2[j]
                w[k], h[k], score[k], member[k] = bw[j], bh[j], b_score[j], b_member[j] + members
                rank = len(a_score) + (np.int64(b_rank[j]) if b_ranked else np.int64(j))
                if traced:
                    source[k] = b_source[j]
                j += 1
            row[k] = (rank << 32) | k


@uncounted
def lower_cells(low, high, start, lowered, factor, given, out):
    """Multiply the scores of some rows of cells low..high-1 by a factor, and put the cells back into their order.

    Both the rows that are lowered and the others are in order already, so that one pass merges them.

    Args:
        low: First cell.
        high: One past the last cell.
        start: int64 [cells + 1].
        lowered: Bool [n], the rows to multiply.
        factor: Above 0.
        given: (x1, y1, x2, y2, w, h, score, member, row, source) as `merge_cells` writes them.
        out: The same, of the same sizes.
    """
    x1, y1, x2, y2, w, h, score, member, row, source = given
    x1_out, y1_out, x2_out, y2_out, w_out, h_out, score_out, member_out, row_out, source_out = out
    traced = len(source) > 0
    for c in range(low, high):
        first, last = start[c], start[c + 1]
        i = j = first
        for k in range(first, last):
            while i < last and lowered[i]:
                i += 1
            while j < last and not lowered[j]:
                j += 1
            # of equal scores the lower rank: the upper half of a row
            other = score[j] * factor if j < last else -np.inf
            if i < last and (j == last or score[i] > other or (score[i] == other and row[i] < row[j])):
                taken, value = i, score[i]
                i += 1
            else:
                taken, value = j, other
                j += 1
            place = k
            # products that only rounding made equal may have come in the wrong order
            while place > first and score_out[place - 1] == value and row_out[place - 1] > row[taken]:
                row_out[place], score_out[place] = row_out[place - 1], value
                place -= 1
            row_out[place], score_out[place] = row[taken], value
        for k in range(first, last):
            p = row_out[k] & 0xFFFFFFFF
            x1_out[k], y1_out[k], x2_out[k], y2_out[k] = x1[p], y1[p], x2[p], y2[p]
            w_out[k], h_out[k], member_out[k] = w[p], h[p], member[p]
            if traced:
                source_out[k] = source[p]
            row_out[k] = (row_out[k] >> 32 << 32) | k


@jit
def settle_cells(low, high, start, score, rank, order):
    """Write the order of cells low..high-1 by score descending, then rank, to `order`; whether it is a new one."""
    widest = 0
    for c in range(low, high):
        widest = max(widest, start[c + 1] - start[c])
    key, other_key = np.empty(widest), np.empty(widest)
    index, other_index = np.empty(widest, np.int64), np.empty(widest, np.int64)
    changed = False
    for c in range(low, high):
        first, last = start[c], start[c + 1]
        sorted_already = True
        for i in range(first, last):
            order[i] = i
            if i > first and (score[i] > score[i - 1] or (score[i] == score[i - 1] and rank[i] < rank[i - 1])):
                sorted_already = False
        if not sorted_already:
            changed = True
            for i in range(first, last):
                key[i - first], index[i - first] = score[i], i
            order_by_key(key, index, rank, other_key, other_index, last - first)
            order[first:last] = index[: last - first]
    return changed
