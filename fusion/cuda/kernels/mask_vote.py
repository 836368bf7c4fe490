"""Mask voting: a thread for each instance finds its voters, then goes through the boundaries of their runs in step.

The new mask is never there as pixels or boundaries: each boundary found goes straight into the compressed text. As
its length is not known before, that is done twice, first without writing. Where a soft mask votes, the votes are
counted by `mask_paint`, and the boundaries it finds are one more mask that votes alone.
"""

from typing import Any, NamedTuple

import numpy as np

from fusion.cuda.kernels.cells import GpuColumns, Rows, overlap
from fusion.cuda.kernels.device import (
    Kernel,
    cuda,
    device_function,
    empty,
    filled,
    formula,
    number_at,
    to_device,
    to_host,
)
from fusion.cuda.kernels.mask_paint import Frames, paint, soft_frame
from fusion.cuda.kernels.masks import BAD, EMPTY, NONE, SOFT, Masks
from fusion.cuda.kernels.scan import offsets
from fusion.formulas import masks as formulas
from fusion.formulas import runs

__all__ = ["Count", "Election", "NewMasks", "elect", "write_texts"]

write_number, whole_weight, needed = map(formula, (runs.write_number, formulas.whole_weight, formulas.needed))

_NOWHERE = np.int64(2**31)  # behind every boundary


class Election(NamedTuple):
    """Who may vote; see `fusion.steps.vote_masks.VoteMasks`.

    Attributes:
        instances: Number of instances, which are the first rows.
        views: Number of views of a member.
        pairs: Number of pairs of member and view: the most voters of an instance.
        iou: IoU of the boxes from which a row votes.
        threshold: Share of the weight that a pixel needs.
        normalized: Whether boxes are in [0, 1] instead of pixels.
    """

    instances: int
    views: int
    pairs: int
    iou: float
    threshold: float
    normalized: bool


class MaskVoters(NamedTuple):
    """Masks that vote, one instance's behind the other's.

    Attributes:
        who: int64, pair of member and view.
        iou: float64, of the boxes.
        share: float64, weight as it was given.
        place: int32, position in the columns.
        mask: int32, index into the `Masks`.
        state: int8, what the row votes with.
        weight: int64, whole weight.
        next: int64, the next boundary to come to.
    """

    who: Any
    iou: Any
    share: Any
    place: Any
    mask: Any
    state: Any
    weight: Any
    next: Any


class NewMasks(NamedTuple):
    """What becomes of each of n instances.

    Attributes:
        masks: int32, how many masks make the new one; below 0 for an instance to leave out.
        need: int64, votes that a pixel needs.
        length: int32, bytes of the new text; 0 without a mask.
        height, width: int32, of the new mask; 0 where it has none.
        x1, y1, x2, y2: int32, its bounds; all 0 without pixels.
    """

    masks: Any
    need: Any
    length: Any
    height: Any
    width: Any
    x1: Any
    y1: Any
    x2: Any
    y2: Any


class Count(NamedTuple):
    """A count of votes on runs, of all instances whose new mask comes of it.

    Attributes:
        masks: What votes.
        first: int32 [instances + 1], first voter of each instance.
        voters: The voters.
        outcome: What comes of it.
    """

    masks: Masks
    first: Any
    voters: MaskVoters
    outcome: NewMasks


def elect(
    rows: Rows, columns: GpuColumns, masks: Masks, state: Any, weights: Any, election: Election
) -> tuple[Count, ...] | None:
    """Find the voters of each instance and the length of the text that they vote for.

    Args:
        rows: Instances, and behind them those that may vote.
        columns: All of them, sorted.
        masks: Their masks, by `rows.origin`.
        state: int8 [n], what each row votes with.
        weights: float64 [members] on the GPU.
        election: Who may vote.

    Returns:
        What `write_texts` takes; the outcomes are in the same arrays. None if a mask of theirs cannot be read, or
        there is more to paint than can be counted.
    """
    size, instances = len(columns.row), election.instances
    count = empty(instances, np.int32)
    count_voters(size, columns, state, weights, election, count)
    first = offsets(count)
    voters = _voters(number_at(first, instances))
    outcome = NewMasks(count, empty(instances, np.int64), *(empty(instances, np.int32) for _ in range(7)))
    kinds = (np.int32, np.float64, *[np.int32] * 8)
    frames = Frames._make(empty(instances, kind) for kind in kinds)
    found_any = filled(2, np.int8)  # a mask that cannot be read, a soft one
    find_voters(size, rows, columns, masks, state, weights, election, first, voters, outcome, found_any)
    weigh_voters(instances, rows, columns, masks, state, weights, election, first, voters, outcome, frames, found_any)
    unreadable, any_soft = to_host(found_any).tolist()
    if unreadable:
        return None
    counts = [Count(masks, first, voters, outcome)]
    if any_soft:
        painted = paint(columns, masks, first, voters, frames, election.normalized)
        if painted is None:
            return None
        each = to_device(np.arange(instances, dtype=np.int32))
        alone = _voters(0)._replace(mask=each, weight=filled(instances, np.int64, 1), next=empty(instances, np.int64))
        need = filled(instances, np.int64, 1)
        counts.append(Count(painted, each, alone, outcome._replace(masks=frames.drawn, need=need)))
    for one in counts:
        vote_runs(instances, *one[:3], empty(0, np.int64), empty(0, np.uint8), one.outcome)
    return tuple(counts)


def _voters(size: int) -> MaskVoters:
    kinds = (np.int64, np.float64, np.float64, np.int32, np.int32, np.int8, np.int64, np.int64)
    return MaskVoters._make(empty(size, kind) for kind in kinds)


def write_texts(size: int, counts: tuple[Count, ...], begin: Any) -> Any:
    """Return the texts of the new masks: uint8 [size].

    Args:
        size: Their bytes, at least one.
        counts: As `elect` gave them.
        begin: int64 [instances] on the GPU, first byte of each text.
    """
    text = empty(size, np.uint8)
    for one in counts:
        vote_runs(len(begin), *one[:3], begin, text, one.outcome)
    return text


@device_function
def box_overlap(columns, state, weights, election, p, j):
    """Return the IoU of the instance at p with the row at j that may vote on it, 0 where it may not."""
    r = columns.row[j]
    u = 0.0
    able = r >= election.instances and state[r] != NONE and state[r] != EMPTY
    if able and columns.score[j] * weights[columns.member[j]] > 0.0:
        u = overlap(columns, p, j)
        if u < election.iou:
            u = 0.0
    return u


@device_function
def weigh(voters, low, high):
    """Write the weights of voters low..high-1 as whole numbers; returns their sum."""
    heaviest = 0.0
    for k in range(low, high):
        heaviest = max(heaviest, voters.share[k])
    total = np.int64(0)
    for k in range(low, high):
        weight = whole_weight(voters.share[k], heaviest)
        voters.weight[k] = weight
        total += weight
    return total


@device_function
def frame(columns, masks, normalized, voters, low, high, r, frames):
    """Write the rectangle that voters low..high-1 cover."""
    x1, y1, x2, y2 = _NOWHERE, _NOWHERE, np.int64(0), np.int64(0)
    for k in range(low, high):
        mask = voters.mask[k]
        left, top = np.int64(masks.x1[mask]), np.int64(masks.y1[mask])
        right, bottom = np.int64(masks.x2[mask]), np.int64(masks.y2[mask])
        if voters.state[k] == SOFT:
            left, top, right, bottom = soft_frame(columns, masks, voters.place[k], mask, normalized)
        x1, y1, x2, y2 = min(x1, left), min(y1, top), max(x2, right), max(y2, bottom)
    one = voters.mask[low]
    frames.voters[r], frames.drawn[r] = high - low, 1
    frames.height[r], frames.width[r] = masks.height[one], masks.width[one]
    if x1 < x2 and y1 < y2:
        frames.wide[r] = x2 - x1
        frames.x1[r], frames.y1[r], frames.x2[r], frames.y2[r] = x1, y1, x2, y2


@device_function
def step(masks, voters, low, high, position):
    """Go past the boundaries at a position; returns the votes that they bring, and the next position, -1 for none."""
    more, following = np.int64(0), _NOWHERE
    for k in range(low, high):
        mask = voters.mask[k]
        e = voters.next[k]
        while e < masks.end[mask] and masks.runs[e] == position:
            more += voters.weight[k] if (e - masks.start[mask]) & 1 == 0 else -voters.weight[k]
            e += 1
        voters.next[k] = e
        if e < masks.end[mask]:
            following = min(following, np.int64(masks.runs[e]))
    if following == _NOWHERE:
        following = np.int64(-1)
    return more, following


@Kernel
def count_voters(columns, state, weights, election, count):
    """Write how many places the voters of each instance may need; one if there are none, for its own mask."""
    for p in range(cuda.grid(1), len(columns.row), cuda.gridsize(1)):
        r = columns.row[p]
        if r < election.instances:
            c = columns.cell[p]
            found = 0
            for j in range(columns.start[c], columns.start[c + 1]):
                if box_overlap(columns, state, weights, election, p, j) > 0.0:
                    found += 1
            count[r] = max(min(found, election.pairs), 1)


@Kernel
def find_voters(rows, columns, masks, state, weights, election, first, voters, outcome, found_any):
    """Find the row of highest IoU of each member and view, in the order of the cell."""
    for p in range(cuda.grid(1), len(columns.row), cuda.gridsize(1)):
        r = columns.row[p]
        if r < election.instances:
            c = columns.cell[p]
            base = first[r]
            found = 0
            for j in range(columns.start[c], columns.start[c + 1]):
                u = box_overlap(columns, state, weights, election, p, j)
                if u > 0.0:
                    row = columns.row[j]
                    who = np.int64(columns.member[j]) * election.views + masks.view_number[rows.origin[row]]
                    k = 0
                    while k < found and voters.who[base + k] != who:
                        k += 1
                    if k == found or u > voters.iou[base + k]:
                        if k < found:  # the voter's row so far goes
                            found -= 1
                            for m in range(base + k, base + found):
                                voters.who[m] = voters.who[m + 1]
                                voters.iou[m] = voters.iou[m + 1]
                                voters.place[m] = voters.place[m + 1]
                        voters.who[base + found] = who
                        voters.iou[base + found] = u
                        voters.place[base + found] = j
                        found += 1
                        if state[row] == BAD:
                            found_any[0] = 1
            if found == 0 and state[r] != NONE:  # nobody votes: it keeps its own mask
                voters.place[base] = p
                found = 1
                if state[r] == BAD:
                    found_any[0] = 1
            outcome.masks[r] = found


@Kernel
def weigh_voters(rows, columns, masks, state, weights, election, first, voters, outcome, frames, found_any):
    """Weigh the votes of each instance, and frame those that are to be painted."""
    for r in range(cuda.grid(1), election.instances, cuda.gridsize(1)):
        low, high = first[r], first[r] + outcome.masks[r]
        soft = False
        for k in range(low, high):
            j = voters.place[k]
            row = columns.row[j]
            voters.mask[k] = rows.origin[row]
            voters.state[k] = state[row]
            voters.share[k] = 1.0  # its own mask votes alone, whatever its score
            if row != r:
                voters.share[k] = columns.score[j] * weights[columns.member[j]]
            soft = soft or state[row] == SOFT
        total = weigh(voters, low, high)
        outcome.need[r] = needed(election.threshold, total)
        frames.drawn[r] = -1
        frames.voters[r], frames.wide[r], frames.height[r], frames.width[r] = 0, 0, 0, 0
        if soft:
            found_any[1] = 1
            outcome.masks[r] = 0
            frames.least[r] = election.threshold * float(total)
            frame(columns, masks, election.normalized, voters, low, high, r, frames)


@Kernel
def vote_runs(masks, first, voters, begin, text, outcome):
    """Count votes on runs; without a text yet, find the length of what would be written, and its bounds."""
    for r in range(cuda.grid(1), len(outcome.masks), cuda.gridsize(1)):
        if outcome.masks[r] >= 0:
            low, high = first[r], first[r] + outcome.masks[r]
            at = np.int64(0)
            if len(text) > 0:
                at = begin[r]
            start = at
            height, width = np.int64(0), np.int64(0)
            position, following = np.int64(-1), np.int64(-1)
            if low < high:
                height, width = np.int64(masks.height[voters.mask[low]]), np.int64(masks.width[voters.mask[low]])
                following = np.int64(0)
            for k in range(low, high):
                voters.next[k] = masks.start[voters.mask[k]]
            votes, edges = np.int64(0), np.int64(0)  # at the position; boundaries of the new mask so far, odd inside it
            # the last boundary; run lengths one and two back
            last, length, before = np.int64(0), np.int64(0), np.int64(0)
            x1, y1, x2, y2 = _NOWHERE, height, np.int64(0), np.int64(0)
            while following >= 0:
                position = following
                more, following = step(masks, voters, low, high, position)
                votes += more
                if (votes >= outcome.need[r]) != (edges & 1 == 1):
                    run = position - last
                    at = write_number(run - before if edges > 2 else run, text, at)
                    before, length = length, run
                    edges += 1
                    if edges & 1 == 0:
                        column, row = last // height, last % height
                        x1, x2 = min(x1, column), (position + height - 1) // height
                        if row + run <= height:
                            y1, y2 = min(y1, row), max(y2, row + run)
                        else:
                            y1, y2 = np.int64(0), height
                    last = position
            if low < high and (edges == 0 or last < height * width):  # unless the mask reaches the last pixel
                run = height * width - last
                at = write_number(run - before if edges > 2 else run, text, at)
            if len(text) == 0:
                outcome.length[r] = at - start
                outcome.height[r], outcome.width[r] = height, width
                if x2 == 0:
                    x1, y1 = np.int64(0), np.int64(0)
                outcome.x1[r], outcome.y1[r], outcome.x2[r], outcome.y2[r] = x1, y1, x2, y2
