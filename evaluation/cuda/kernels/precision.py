"""From matches to interpolated precision, without a sort of all rows.

Only rows that are right at some threshold, or wrong at some and not at others, are ranked: events. A row that is wrong
at every threshold is counted before the first event that it does not precede, which it finds by halving.
"""

from typing import Any, NamedTuple

import numpy as np

from evaluation.cuda.kernels.lookup import Located
from evaluation.formulas import curve
from fusion.cuda.kernels.device import Kernel, cuda, empty, filled, formula, number_at
from fusion.cuda.kernels.merge_sort import Runs, first_not_before, lower_bound, room_for_runs, sort_runs
from fusion.cuda.kernels.scan import offsets

__all__ = ["Events", "events_of", "interpolated"]

precision = formula(curve.precision)


class Events(NamedTuple):
    """Rows that make a difference, ranked by (category, score descending, image, row); e of them.

    Attributes:
        start: int32 [k + 1], offsets of the categories.
        runs: The rows: category, score times -1, position among the columns.
        before: int32 [e], rows that are wrong at every threshold between each and the one before it.
    """

    start: Any
    runs: Runs
    before: Any


def events_of(located: Located, hits: Any, wrong: Any, thresholds: int, categories: int) -> Events:
    """Rank the rows that make a difference.

    Args:
        located: The rows.
        hits: int64 [n], at which thresholds a row is right.
        wrong: int64 [n], at which it is wrong.
        thresholds: Number of thresholds.
        categories: Number of categories of the ground truth.
    """
    size = len(located.columns.row)
    flag = empty(size, np.int8)
    flag_events(size, hits, wrong, thresholds, flag)
    place = offsets(flag)
    events = number_at(place, size)
    runs = room_for_runs(events)
    take_events(size, located, flag, place, runs)
    runs = sort_runs(runs)
    start, before = empty(categories + 1, np.int32), filled(events, np.int32)
    begin_categories(categories + 1, runs, start)
    count_wrong(size if events else 0, located, wrong, thresholds, start, runs, before)
    return Events(start, runs, before)


def interpolated(events: Events, hits: Any, wrong: Any, counted: Any, need: Any, thresholds: int, recalls: int) -> Any:
    """Return the best precision at or beyond each recall.

    Args:
        events: At least one.
        hits: int64 [n], by position.
        wrong: int64 [n].
        counted: int32 [j], categories.
        need: int32 [recalls * j], right rows that each recall needs, at least 1.
        thresholds: Number of thresholds.
        recalls: Number of recalls.

    Returns:
        float64 [thresholds * recalls * j], on the GPU.
    """
    size = len(events.before)
    right, false = empty(thresholds * size, np.int8), empty(thresholds * size, np.int8)
    spread_bits(thresholds * size, events.runs, hits, wrong, right, false)
    found, missed, passed = offsets(right), offsets(false), offsets(events.before)
    at = empty(number_at(found, thresholds * size), np.float64)
    write_precision(thresholds * size, events, right, found, missed, passed, at)
    points = thresholds * recalls * len(counted)
    out = empty(points, np.float64)
    find_peaks(points, events, found, at, counted, need, recalls, out)
    carry_peaks(thresholds * len(counted), recalls, len(counted), out)
    return out


@Kernel
def flag_events(hits, wrong, thresholds, flag):
    """Flag rows that are right at some threshold, or wrong at some alone."""
    every = (np.int64(1) << np.int64(thresholds)) - np.int64(1)
    for p in range(cuda.grid(1), len(flag), cuda.gridsize(1)):
        flag[p] = 1 if hits[p] != 0 or (wrong[p] != 0 and wrong[p] != every) else 0


@Kernel
def take_events(located, flag, place, runs):
    """Gather the rows that are flagged, in order of (image, category, score descending, row)."""
    for p in range(cuda.grid(1), len(flag), cuda.gridsize(1)):
        if flag[p] != 0:
            e = place[p]
            runs.group[e] = located.category[located.columns.cell[p]]
            runs.score[e] = -located.columns.score[p]
            runs.row[e] = p


@Kernel
def begin_categories(runs, start):
    """Find the first event of each category, and behind them the number of events."""
    for k in range(cuda.grid(1), len(start), cuda.gridsize(1)):
        start[k] = lower_bound(runs.group, k)


@Kernel
def count_wrong(located, wrong, thresholds, start, runs, before):
    """Count each row that is wrong at every threshold to the first event that does not come before it."""
    every = (np.int64(1) << np.int64(thresholds)) - np.int64(1)
    for p in range(cuda.grid(1), len(wrong), cuda.gridsize(1)):
        if wrong[p] == every:
            k, s = located.category[located.columns.cell[p]], -located.columns.score[p]
            e = first_not_before(runs, start[k], start[k + 1], s, p)
            if e < start[k + 1]:
                cuda.atomic.add(before, e, 1)


@Kernel
def spread_bits(runs, hits, wrong, right, false):
    """Write whether event e is right and wrong at threshold t, to place t * events + e."""
    events = len(runs.row)
    for i in range(cuda.grid(1), len(right), cuda.gridsize(1)):
        t, p = np.int64(i // events), runs.row[i % events]
        right[i] = (hits[p] >> t) & np.int64(1)
        false[i] = (wrong[p] >> t) & np.int64(1)


@Kernel
def write_precision(events, right, found, missed, passed, at):
    """Write the precision at each right event."""
    size = len(events.before)
    for i in range(cuda.grid(1), len(right), cuda.gridsize(1)):
        if right[i] != 0:
            e = i % size
            first = events.start[events.runs.group[e]]
            true = found[i] - found[i - e + first] + 1
            wrong = passed[e + 1] - passed[first] + missed[i] - missed[i - e + first]
            at[found[i]] = precision(true, wrong)


@Kernel
def find_peaks(events, found, at, counted, need, recalls, out):
    """Write the best precision from the right event that a recall needs to before the one that the next needs."""
    size, categories = len(events.before), len(counted)
    for i in range(cuda.grid(1), len(out), cuda.gridsize(1)):
        j, r = i % categories, i // categories % recalls
        row = i // categories // recalls * size
        first = found[row + events.start[counted[j]]]
        low, high = need[r * categories + j] - 1, found[row + events.start[counted[j] + 1]] - first
        if r + 1 < recalls:
            high = min(high, need[(r + 1) * categories + j] - 1)
        best = 0.0
        for n in range(first + low, first + high):
            best = max(best, at[n])
        out[i] = best


@Kernel
def carry_peaks(recalls, categories, out):
    """Raise each point to the best behind it."""
    for i in range(cuda.grid(1), len(out) // recalls, cuda.gridsize(1)):
        base = i // categories * recalls * categories + i % categories
        best = 0.0
        for r in range(recalls - 1, -1, -1):
            best = max(best, out[base + r * categories])
            out[base + r * categories] = best
