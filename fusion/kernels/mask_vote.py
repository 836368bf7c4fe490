"""Kernel of mask voting: finds the voters of each instance and counts their votes on runs of pixels.

A pixel's votes change only where a voter's run starts or ends. The boundaries of all voters are merged in
pairs, then in fours, and so on; one pass over the merged ones keeps the count. Weights are whole
numbers, so the count is exact and its order does not matter. Soft masks have a vote of their own at every
pixel; with them the count is kept per pixel of the rectangle that the voters cover.
"""

from typing import NamedTuple

import numpy as np

from fusion.formulas import boxes, masks
from fusion.kernels.jit import formula, jit
from fusion.kernels.runs import TEXT_BYTES, bounds, decode, encode
from fusion.kernels.soft_mask import add_runs, add_soft, soft_frame, threshold_canvas

__all__ = ["HARD", "NONE", "SOFT", "Votes", "VotingRows", "vote_cells"]

NONE, HARD, SOFT = 0, 1, 2
_UNKNOWN, _SOME, _EMPTY, _BAD = 0, 1, 2, 3  # what is known of the pixels of a row's mask
_SHIFT = 32
_ONE = np.uint64(1)
_LOW = (np.int64(1) << _SHIFT) - 1

iou, whole_weight, needed = map(formula, (boxes.iou, masks.whole_weight, masks.needed))


class VotingRows(NamedTuple):
    """What is known of each input row; rows below `instances` are the instances.

    Attributes:
        instances: Number of instances.
        voter: int32 [rows], who casts the row's vote: one of `voters` pairs of member and view.
        voters: Number of such pairs.
        weight: float64 [rows]; a row of weight 0 or less does not vote.
        kind: uint8 [rows], NONE, HARD (a run-length mask) or SOFT.
    """

    instances: int
    voter: np.ndarray
    voters: int
    weight: np.ndarray
    kind: np.ndarray


class Votes(NamedTuple):
    """The outcome for each of n instances, in order of the cells.

    Attributes:
        row: int64, its row.
        voters: int64, how many voted.
        height: int32, of its mask; 0 where it has none.
        width: int32.
        end: int64, end of its text.
        box: int64 [n, 4], pixels x1, y1, x2, y2 of the mask; all 0 where it is empty.
    """

    row: np.ndarray
    voters: np.ndarray
    height: np.ndarray
    width: np.ndarray
    end: np.ndarray
    box: np.ndarray


class _Cell(NamedTuple):
    """Scratch of one cell.

    Attributes:
        pixels: uint8, what is known of each row's mask.
        first: int64, its first boundary among the runs, and
        last: int64, one past its last.
        used: int64 [1], boundaries in use.
        best: float64 [voters], largest IoU of each voter so far; all 0 between instances.
        where: int64 [voters + 1], positions of an instance's voters.
        weight: int64 [voters + 1], their weights.
    """

    pixels: np.ndarray
    first: np.ndarray
    last: np.ndarray
    used: np.ndarray
    best: np.ndarray
    where: np.ndarray
    weight: np.ndarray


@jit
def _longer(array, used, more):
    """Return the array, or a copy of its first entries with room for `more` others."""
    if used + more <= len(array):
        return array
    longer = np.empty(2 * (used + more) + 1024, array.dtype)
    longer[:used] = array[:used]
    return longer


@jit
def _merge(events, ends, pieces, spare):
    """Merge ascending pieces of `events`, cut at `ends`; returns the array that holds the answer."""
    total = ends[pieces]
    while pieces > 1:
        merged = 0
        for p in range(0, pieces, 2):
            # unsigned, so that no index is tested for being negative: a third faster
            i, middle, last = np.uint64(ends[p]), np.uint64(ends[p + 1]), np.uint64(ends[min(p + 2, pieces)])
            j, t = middle, i
            while i < middle and j < last:
                # both step without a branch: which boundary comes first is a coin toss to the processor
                first = np.uint64(events[i] <= events[j])
                spare[t] = min(events[i], events[j])
                i += first
                j += _ONE - first
                t += _ONE
            while i < middle:
                spare[t] = events[i]
                i += _ONE
                t += _ONE
            while j < last:
                spare[t] = events[j]
                j += _ONE
                t += _ONE
            ends[merged] = ends[p]
            merged += 1
        ends[merged] = total
        pieces = merged
        events, spare = spare, events
    return events


@jit
def _count(events, total, change, need, out):
    """Write the boundaries of the pixels whose votes reach `need`, above 0; returns how many."""
    votes = np.int64(0)
    written = 0
    e = 0
    while e < total:
        position = events[e] >> _SHIFT
        while e < total and events[e] >> _SHIFT == position:
            votes += change[events[e] & _LOW]
            e += 1
        if (votes >= need) != (written & 1 == 1):
            out[written] = position
            written += 1
    return written


@jit
def _read(j, begin, columns, about, text, cell, runs):
    """Decode the mask at position j of a cell that starts at `begin`; returns the boundaries of all masks read."""
    row = columns.row[j]
    if about.kind[row] == SOFT:
        solid = columns.x1[j] < columns.x2[j] and columns.y1[j] < columns.y2[j]
        cell.pixels[j - begin] = _SOME if solid else _EMPTY
        return runs
    used = cell.used[0]
    runs = _longer(runs, used, text.offset[row + 1] - text.offset[row] + 1)
    pixels = np.int64(text.height[row]) * text.width[row]
    size, area = decode(text.data, text.offset[row], text.offset[row + 1], pixels, runs[used:])
    cell.pixels[j - begin] = _BAD if size < 0 else _SOME if area > 0 else _EMPTY
    cell.first[j - begin] = used
    cell.last[j - begin] = cell.used[0] = used + max(size, 0)
    return runs


@jit
def _find_voters(i, begin, end, columns, about, text, least, cell, runs):
    """Write the positions of the voters of instance i into `cell.where`: of each voter the row of highest IoU.

    Returns (number of voters, boundaries of all masks read); the number is -1 - row of a mask that cannot be read.
    """
    x1, y1, x2, y2 = columns.x1[i], columns.y1[i], columns.x2[i], columns.y2[i]
    area = (x2 - x1) * (y2 - y1)
    best, where = cell.best, cell.where
    count = 0
    for j in range(begin, end):
        u1, v1, u2, v2 = columns.x1[j], columns.y1[j], columns.x2[j], columns.y2[j]
        if not (u1 < x2 and x1 < u2 and v1 < y2 and y1 < v2):
            continue
        row = columns.row[j]
        if row < about.instances or about.kind[row] == NONE or not about.weight[row] > 0:
            continue
        overlap = iou(x1, y1, x2, y2, area, u1, v1, u2, v2, (u2 - u1) * (v2 - v1))
        who = about.voter[row]
        if overlap < least or overlap <= best[who]:
            continue
        if cell.pixels[j - begin] == _UNKNOWN:
            runs = _read(j, begin, columns, about, text, cell, runs)
        if cell.pixels[j - begin] == _BAD:
            return -1 - row, runs
        if cell.pixels[j - begin] == _EMPTY:
            continue
        if best[who] > 0:  # the voter's row so far goes
            k = 0
            while about.voter[columns.row[where[k]]] != who:
                k += 1
            count -= 1
            for m in range(k, count):
                where[m] = where[m + 1]
        where[count] = j
        count += 1
        best[who] = overlap
    for k in range(count):
        best[about.voter[columns.row[where[k]]]] = 0.0
    return count, runs


@jit
def _vote_on_runs(count, begin, threshold, total, cell, runs, out, events, spare):
    """Count votes on runs; returns (number of boundaries, `out`, `events`, `spare`)."""
    many = np.int64(0)
    for k in range(count):
        many += cell.last[cell.where[k] - begin] - cell.first[cell.where[k] - begin]
    events, spare, out = _longer(events, 0, many), _longer(spare, 0, many), _longer(out, 0, many)
    change = np.empty(2 * count, np.int64)
    ends = np.empty(count + 1, np.int64)
    e = np.int64(0)
    for k in range(count):
        ends[k] = e
        change[2 * k] = cell.weight[k]
        change[2 * k + 1] = -cell.weight[k]
        low, high = cell.first[cell.where[k] - begin], cell.last[cell.where[k] - begin]
        for p in range(high - low):
            events[e + p] = np.int64(runs[low + p]) << _SHIFT | (2 * k + (p & 1))
        e += high - low
    ends[count] = e
    need = needed(threshold, total)
    return _count(_merge(events, ends, count, spare), many, change, need, out), out, events, spare


@jit
def _vote_on_pixels(count, begin, threshold, total, columns, about, soft, normalized, height, cell, runs, out, canvas):
    """Count votes pixel by pixel in the rectangle that the voters cover; returns (boundaries, `out`, `canvas`)."""
    x1, y1, x2, y2 = np.int64(2**31), np.int64(2**31), np.int64(0), np.int64(0)
    for k in range(count):
        j = cell.where[k]
        if about.kind[columns.row[j]] == SOFT:
            left, top, right, bottom = soft_frame(j, columns, soft, normalized)
        else:
            left, top, right, bottom = bounds(runs, cell.first[j - begin], cell.last[j - begin], height)
        x1, y1, x2, y2 = min(x1, left), min(y1, top), max(x2, right), max(y2, bottom)
    if x1 >= x2 or y1 >= y2:
        return 0, out, canvas
    pixels = (x2 - x1) * (y2 - y1)
    canvas, out = _longer(canvas, 0, pixels), _longer(out, 0, pixels + 1)
    canvas[:pixels] = 0.0
    area = (x1, y1, x2, y2)
    for k in range(count):
        j = cell.where[k]
        weight = float(cell.weight[k])
        if about.kind[columns.row[j]] == SOFT:
            add_soft(j, columns, soft, normalized, weight, canvas, area)
        else:
            add_runs(runs, cell.first[j - begin], cell.last[j - begin], height, weight, canvas, area)
    return threshold_canvas(canvas, area, height, threshold * float(total), out), out, canvas


@jit
def _weigh(count, columns, about, cell):
    """Write the voters' weights as whole numbers; returns their sum and whether one has a soft mask."""
    heaviest = 0.0
    for k in range(count):
        heaviest = max(heaviest, about.weight[columns.row[cell.where[k]]])
    total = np.int64(0)
    any_soft = False
    for k in range(count):
        row = columns.row[cell.where[k]]
        cell.weight[k] = whole_weight(about.weight[row], heaviest) if heaviest > 0 else np.int64(masks.SCALE)
        total += cell.weight[k]
        any_soft |= about.kind[row] == SOFT
    return total, any_soft


@jit
def vote_cells(low, high, columns, about, text, soft, options, out):
    """Vote on the masks of the instances in cells low..high-1.

    Args:
        low: First cell.
        high: One past the last.
        columns: `Columns` of instances and voters.
        about: `VotingRows`.
        text: `MaskText` of all rows.
        soft: `SoftMaps` of all rows.
        options: IoU from which a box votes; share of the weight that a pixel needs, above 0; whether boxes
            are in [0, 1] instead of pixels; whether to report voters.
        out: `Votes` with room for the instances of these cells.

    Returns:
        (texts of the new masks, rows of the voters, row whose mask cannot be read or -1).
    """
    least, threshold, normalized, traced = options
    largest = 0
    for c in range(low, high):
        largest = max(largest, columns.start[c + 1] - columns.start[c])
    cell = _Cell(
        np.empty(largest, np.uint8),
        np.empty(largest, np.int64),
        np.empty(largest, np.int64),
        np.zeros(1, np.int64),
        np.zeros(about.voters, np.float64),
        np.empty(about.voters + 1, np.int64),
        np.empty(about.voters + 1, np.int64),
    )
    runs = np.empty(1024, np.int32)
    edges, events, spare = np.empty(1024, np.int64), np.empty(1024, np.int64), np.empty(1024, np.int64)
    canvas = np.empty(1024, np.float64)
    texts = np.empty(1024, np.uint8)
    rows = np.empty(1024, np.int64)
    done, filled, listed = 0, 0, 0
    for c in range(low, high):
        begin, end = columns.start[c], columns.start[c + 1]
        cell.pixels[: end - begin] = _UNKNOWN
        cell.used[0] = 0
        for i in range(begin, end):
            row = columns.row[i]
            if row >= about.instances:
                continue
            count, runs = _find_voters(i, begin, end, columns, about, text, least, cell, runs)
            if count < 0:
                return texts, rows, -1 - count
            out.row[done] = row
            out.voters[done] = count
            if traced:
                rows = _longer(rows, listed, count)
                for k in range(count):
                    rows[listed + k] = columns.row[cell.where[k]]
                listed += count
            if count == 0 and about.kind[row] != NONE:  # nobody votes: it keeps its own mask
                runs = _read(i, begin, columns, about, text, cell, runs)
                if cell.pixels[i - begin] == _BAD:
                    return texts, rows, row
                cell.where[0] = i
                count = 1
            if count > 0:
                total, any_soft = _weigh(count, columns, about, cell)
                one = columns.row[cell.where[0]]
                if about.kind[one] == SOFT:
                    height, width = np.int64(soft.height[one]), np.int64(soft.width[one])
                else:
                    height, width = np.int64(text.height[one]), np.int64(text.width[one])
                if any_soft:
                    found, edges, canvas = _vote_on_pixels(
                        count,
                        begin,
                        threshold,
                        total,
                        columns,
                        about,
                        soft,
                        normalized,
                        height,
                        cell,
                        runs,
                        edges,
                        canvas,
                    )
                else:
                    found, edges, events, spare = _vote_on_runs(
                        count, begin, threshold, total, cell, runs, edges, events, spare
                    )
                texts = _longer(texts, filled, TEXT_BYTES * (found + 1))
                filled = encode(edges, found, height * width, texts, filled)
                out.height[done], out.width[done] = height, width
                x1, y1, x2, y2 = bounds(edges, 0, found, height)
                out.box[done, 0], out.box[done, 1], out.box[done, 2], out.box[done, 3] = x1, y1, x2, y2
            out.end[done] = filled
            done += 1
    return texts[:filled].copy(), rows[:listed].copy(), -1
