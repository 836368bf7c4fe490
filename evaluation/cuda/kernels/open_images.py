"""The Open Images protocol: which detections are true, false or left out, and the false ones between the true.

A detection looks at its best ground truth of each section of its cell, never at the second best; an object goes to the
first detection, in the order of scores, that looks at it. So all detections are settled at once.
"""

from typing import Any, NamedTuple

import numpy as np

from evaluation.cuda.kernels.lookup import Located
from evaluation.cuda.kernels.precision import begin_categories
from evaluation.kernels.open_images import FALSE, LEFT_OUT, LOWEST, TRUE
from fusion.cuda.kernels.cells import GpuColumns, Rows
from fusion.cuda.kernels.device import Kernel, cuda, device_function, empty, filled, formula, number_at
from fusion.cuda.kernels.merge_sort import first_not_before, room_for_runs, sort_runs
from fusion.cuda.kernels.scan import offsets
from fusion.formulas.boxes import intersection, match

__all__ = [
    "GpuEntries",
    "Sections",
    "TruthBoxes",
    "UnitScale",
    "entries_of",
    "look_by_boxes",
    "look_by_masks",
    "settle",
    "usable",
]

intersection, match = formula(intersection), formula(match)


class UnitScale(NamedTuple):
    """How boxes come into the unit of the ground truth.

    Attributes:
        times: 1 where they are multiplied by the sides of their image, -1 where they are divided by them, else 0.
        width, height: float64 [images of the session].
    """

    times: int
    width: Any
    height: Any


class TruthBoxes(NamedTuple):
    """Ground truth, as `evaluation.open_images_truth.OpenImagesTruth`: float64 [g]."""

    x1: Any
    y1: Any
    x2: Any
    y2: Any
    area: Any


class Sections(NamedTuple):
    """Where the ground truth of each cell is.

    Attributes:
        cell: int32 [c], by the place of `Located`; -1 where a category is only known to be there or not.
        bound: int32 [5 * cells], offsets of the four sections of each cell, and its end.
    """

    cell: Any
    bound: Any


class GpuEntries(NamedTuple):
    """True detections, and regions that absorbed one, by category, score descending, image, place in the image.

    Attributes:
        start: int32 [k + 1], offsets of the categories.
        region: int8 [t], 1 for a region.
        between: int32 [t + k], false detections after i of category k's entries, at start[k] + k + i.
    """

    start: Any
    region: Any
    between: Any


def usable(rows: Rows, given: Any, scale: UnitScale) -> Any:
    """Return flags of the rows that take a place in their cell: int8 [n].

    Args:
        rows: The detections.
        given: int8 by origin, of masks, or [0]: then boxes must have an area.
        scale: For boxes.
    """
    used = empty(len(rows.image), np.int8)
    flag_usable(len(rows.image), rows, given, scale, used)
    return used


def look_by_boxes(
    rows: Rows, located: Located, sections: Sections, boxes: TruthBoxes, scale: UnitScale, least: float
) -> Any:
    """Return the best object and region that each row overlaps enough: int32 [2 * n], -1 without one."""
    size = len(located.columns.row)
    best = empty(2 * size, np.int32)
    look_at_boxes(2 * size, rows, located, sections, boxes, scale, least, best)
    return best


def look_by_masks(rows: Rows, columns: GpuColumns, known: Any) -> Any:
    """Return what each row's mask looks at, which no step changes: int32 [4 * n], of `known` int32 [4 * origins]."""
    size = len(columns.row)
    best = empty(4 * size, np.int32)
    copy_looks(4 * size, rows, columns, known, best)
    return best


def settle(located: Located, best: Any, cap: int, truths: int) -> tuple[Any, Any]:
    """Give objects to the first that look at them, and let regions absorb the others.

    Args:
        located: The rows.
        best: int32 [2 * n] or [4 * n], what they look at.
        cap: Detections of a cell that count.
        truths: Number of boxes of the ground truth.

    Returns:
        int8 [n], what became of each row; int32 [g], the first row that each region absorbed, n without one.
    """
    size = len(located.columns.row)
    outcome, absorbed = empty(size, np.int8), filled(truths, np.int32, size)
    judge(size, located, cap, outcome)
    for section in range(0, len(best) // size, 2):
        winner = filled(truths, np.int32, size)
        find_winners(size, best, section, outcome, winner)
        settle_rows(size, best, section, winner, outcome, absorbed)
    return outcome, absorbed


def entries_of(
    located: Located, sections: Sections, outcome: Any, absorbed: Any, categories: int, regions: bool
) -> GpuEntries:
    """Rank the true entries and count the false detections between them.

    Args:
        located: The rows.
        sections: The ground truth.
        outcome: int8 [n], of `settle`.
        absorbed: int32 [g], of `settle`.
        categories: Number of categories of the ground truth.
        regions: Whether regions count.
    """
    size, cells = len(outcome), len(located.place)
    # a slot for each row of a cell and behind them one for each of its regions: the order of equal scores
    held = empty(cells, np.int32)
    count_regions(cells, located.place, sections, held)
    shift = offsets(held)
    slots = size + number_at(shift, cells)
    flag, region = filled(slots, np.int8), filled(slots, np.int8)
    score, group = empty(slots, np.float64), empty(slots, np.int32)
    fill_rows(size, located, outcome, shift, flag, score, group)
    if regions:
        fill_regions(cells, located, sections, absorbed, shift, flag, region, score, group)
    at = offsets(flag)
    total = number_at(at, slots)
    runs = room_for_runs(total)
    take_slots(slots, flag, score, group, at, runs)
    runs = sort_runs(runs)
    start, between, is_region = (
        empty(categories + 1, np.int32),
        filled(total + categories, np.int32),
        empty(total, np.int8),
    )
    begin_categories(categories + 1, runs, start)
    gather_flags(total, runs, region, is_region)
    count_false(size, located, outcome, shift, start, runs, between)
    return GpuEntries(start, is_region, between)


@device_function
def scaled(value, side, times):
    """Return a coordinate in the unit of the ground truth."""
    if times > 0:
        return value * side
    if times < 0:
        return value / side
    return value


@Kernel
def flag_usable(rows, given, scale, used):
    """Flag the rows that have an area."""
    for i in range(cuda.grid(1), len(used), cuda.gridsize(1)):
        if len(given) > 0:
            used[i] = given[rows.origin[i]]
        else:
            width, height = scale.width[rows.image[i]], scale.height[rows.image[i]]
            x, y = scaled(rows.x[i], width, scale.times), scaled(rows.y[i], height, scale.times)
            x2, y2 = scaled(rows.x2[i], width, scale.times), scaled(rows.y2[i], height, scale.times)
            used[i] = 1 if x < x2 and y < y2 else 0


@Kernel
def look_at_boxes(rows, located, sections, boxes, scale, least, best):
    """Find the first object of largest IoU (the first n) and the region that holds the largest share (the others)."""
    size = len(located.columns.row)
    for i in range(cuda.grid(1), len(best), cuda.gridsize(1)):
        p, section = i % size, i // size
        r, at = located.columns.row[p], located.place[located.columns.cell[p]]
        cell = sections.cell[at] if at >= 0 else -1
        found = -1
        if cell >= 0:
            here = rows.image[r]
            width, height = scale.width[here], scale.height[here]
            x1, y1 = scaled(rows.x[r], width, scale.times), scaled(rows.y[r], height, scale.times)
            x2, y2 = scaled(rows.x2[r], width, scale.times), scaled(rows.y2[r], height, scale.times)
            area, most = (y2 - y1) * (x2 - x1), 0.0
            for g in range(sections.bound[5 * cell + section], sections.bound[5 * cell + section + 1]):
                bx1, by1, bx2, by2 = boxes.x1[g], boxes.y1[g], boxes.x2[g], boxes.y2[g]
                if section == 0:
                    share = match(x1, y1, x2, y2, area, bx1, by1, bx2, by2, boxes.area[g], False, least)
                else:
                    share = intersection(x1, y1, x2, y2, bx1, by1, bx2, by2) / area
                if share >= least and share > most:
                    found, most = g, share
        best[i] = found


@Kernel
def copy_looks(rows, columns, known, best):
    """Copy what the mask of each row looks at."""
    size, origins = len(columns.row), len(known) // 4
    for i in range(cuda.grid(1), len(best), cuda.gridsize(1)):
        best[i] = known[i // size * origins + rows.origin[columns.row[i % size]]]


@Kernel
def judge(located, cap, outcome):
    """Leave out what is not evaluated; the others are false until they are found true."""
    columns = located.columns
    for p in range(cuda.grid(1), len(outcome), cuda.gridsize(1)):
        c = columns.cell[p]
        right = located.category[c] >= 0 and p - columns.start[c] < cap and columns.score[p] > LOWEST
        outcome[p] = FALSE if right else LEFT_OUT


@Kernel
def find_winners(best, section, outcome, winner):
    """Find the first undecided row that looks at each object of a section."""
    size = len(outcome)
    for p in range(cuda.grid(1), size, cuda.gridsize(1)):
        g = best[section * size + p]
        if g >= 0 and outcome[p] == FALSE:
            cuda.atomic.min(winner, g, p)


@Kernel
def settle_rows(best, section, winner, outcome, absorbed):
    """Settle the undecided rows of a section of objects and of the section of regions behind it."""
    size = len(outcome)
    for p in range(cuda.grid(1), size, cuda.gridsize(1)):
        if outcome[p] == FALSE:
            g, region = best[section * size + p], best[(section + 1) * size + p]
            if g >= 0 and winner[g] == p:
                outcome[p] = TRUE if section == 0 else LEFT_OUT
            elif region >= 0:
                outcome[p] = LEFT_OUT
                if section == 0:
                    cuda.atomic.min(absorbed, region, p)


@Kernel
def count_regions(place, sections, held):
    """Count the regions of each cell that count."""
    for c in range(cuda.grid(1), len(held), cuda.gridsize(1)):
        cell = sections.cell[place[c]] if place[c] >= 0 else -1
        held[c] = sections.bound[5 * cell + 2] - sections.bound[5 * cell + 1] if cell >= 0 else 0


@Kernel
def fill_rows(located, outcome, shift, flag, score, group):
    """Flag the slots of true rows."""
    for p in range(cuda.grid(1), len(outcome), cuda.gridsize(1)):
        c = located.columns.cell[p]
        if outcome[p] == TRUE:
            slot = p + shift[c]
            flag[slot] = 1
            score[slot] = -located.columns.score[p]
            group[slot] = located.category[c]


@Kernel
def fill_regions(located, sections, absorbed, shift, flag, region, score, group):
    """Flag the slots of regions that absorbed a row with a score above 0."""
    columns = located.columns
    for c in range(cuda.grid(1), len(located.place), cuda.gridsize(1)):
        cell = sections.cell[located.place[c]] if located.place[c] >= 0 else -1
        if cell >= 0:
            first = sections.bound[5 * cell + 1]
            for g in range(first, sections.bound[5 * cell + 2]):
                p = absorbed[g]
                if p < len(columns.row) and columns.score[p] > 0.0:
                    slot = columns.start[c + 1] + shift[c] + g - first
                    flag[slot] = 1
                    region[slot] = 1
                    score[slot] = -columns.score[p]
                    group[slot] = located.category[c]


@Kernel
def take_slots(flag, score, group, at, runs):
    """Gather the slots that are flagged, in their order."""
    for i in range(cuda.grid(1), len(flag), cuda.gridsize(1)):
        if flag[i] != 0:
            e = at[i]
            runs.group[e] = group[i]
            runs.score[e] = score[i]
            runs.row[e] = i


@Kernel
def gather_flags(runs, region, out):
    """Write which entries are regions."""
    for e in range(cuda.grid(1), len(out), cuda.gridsize(1)):
        out[e] = region[runs.row[e]]


@Kernel
def count_false(located, outcome, shift, start, runs, between):
    """Count each false row behind the entries that come before it."""
    for p in range(cuda.grid(1), len(outcome), cuda.gridsize(1)):
        if outcome[p] == FALSE:
            c = located.columns.cell[p]
            k, s = located.category[c], -located.columns.score[p]
            e = first_not_before(runs, start[k], start[k + 1], s, p + shift[c])
            cuda.atomic.add(between, e + k, 1)
