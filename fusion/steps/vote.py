"""Top-k voting on boxes and scores."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from fusion.checks import at_least, within
from fusion.columns import Columns, Fused, Sources
from fusion.kernels.jit import chunks, joined, run
from fusion.kernels.suppress import Picked, nms_cells, scratch
from fusion.kernels.vote import Voted, ballot, vote_cells
from fusion.pool import Pool, Tables
from fusion.run import apply
from fusion.suppression import allocate
from fusion.table import DetectionTable

__all__ = ["Vote", "vote"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Vote:
    """Move each kept box towards the boxes that overlap it best, and add a share of their scores.

    Source: mmfruit-openimages2019, Eq. 8 and 9, with its k = 4, 0.05 and 0.7 / 0.3. Which boxes are voted
    on is not printed there; here the kept boxes P are those of hard suppression at `iou`. The voters of P
    are boxes of its (image, category) cell whose IoU with P is above `iou`, P excluded, the best k of
    them: boxes of other members than P's first, each group by IoU, ties by score, then row. A box may
    vote for several P, kept or suppressed. With n <= k voters P_i,

    - the score becomes S_P + score * sum of S_i, which may exceed 1,
    - the corners become (1 - box) * B_P + box / n * sum of B_i (the report divides by k, which with fewer
      voters would pull boxes towards the origin).

    Without voters P stays as it is. With sources, a box comes with its voters, best first.

    Attributes:
        k: Most voters per box, at least 1.
        score: Share of the voters' scores that is added, at least 0.
        box: Share of the voters in the box, in [0, 1].
        iou: Threshold in [0, 1] of both suppression and voting.
    """

    cellwise: ClassVar[bool] = True

    k: int = 4
    score: float = 0.05
    box: float = 0.3
    iou: float = 0.5

    def __post_init__(self) -> None:
        at_least("k", self.k, 1, whole=True)
        at_least("score", self.score, 0.0)
        within("box", self.box, 0.0, 1.0)
        within("iou", self.iou, 0.0, 1.0)

    def fuse(self, pool: Pool, sources: bool = False) -> Fused:
        """Return the boxes voted on, in order of (cell, score descending, row).

        `votes` counts the distinct members among each box and its voters.
        """
        columns = pool.columns
        pieces = run(lambda low, high: self._cells(columns, low, high, sources), chunks(columns.start))
        if not pieces:
            pieces = [_in_order(allocate(0, False), _room(0, 0), 0)]
        cell, row, score, corners, votes, size, source = joined(pieces)
        start = np.concatenate(([0], np.cumsum(size)))
        return Fused(cell, row, score, corners, votes, Sources(start, source) if sources else None)

    def _cells(self, columns: Columns, low: int, high: int, sources: bool) -> tuple[np.ndarray, ...]:
        sizes = np.diff(columns.start[low : high + 1])
        largest = int(sizes.max())
        k = min(int(self.k), largest)
        kept = allocate(int(sizes.sum()), False)
        left = nms_cells(columns, low, high, float(self.iou), scratch(columns, low, high), kept)
        members = int(columns.member[columns.start[low] : columns.start[high]].max()) + 1
        out = _room(left, k if sources else None)
        options = (float(self.iou), float(self.score), float(self.box), sources)
        written = vote_cells(columns, kept, left, options, ballot(k, members, largest), out)
        return _in_order(kept, out, written)


def vote(
    tables: Tables, *, k: int = 4, score: float = 0.05, box: float = 0.3, iou: float = 0.5, device: str = "cpu"
) -> DetectionTable:
    """Keep the boxes of hard suppression, voted on by the k boxes that overlap each best; see `Vote`.

    Args:
        tables: One table or several; several are pooled.
        k: Most voters per box.
        score: Share of the voters' scores that is added.
        box: Share of the voters in the box.
        iou: Threshold of suppression, and what a voter's IoU must exceed.
        device: "cpu", "cuda", or "auto"; see `fusion.apply`.

    Returns:
        The kept rows with new scores and boxes; `votes` is the number of distinct members behind each.
        Empty input gives an empty table.

    Raises:
        InputError: If an option is out of range or the tables do not go together.
    """
    return apply(Vote(k=k, score=score, box=box, iou=iou), tables, device=device)


def _room(left: int, k: int | None) -> Voted:
    """Room for the outcome of `left` boxes; with k, also for up to k voters of each."""
    return Voted(
        np.empty(left, np.int64),
        np.empty(left),
        np.empty((left, 4)),
        np.empty(left, np.int16),
        np.empty(0 if k is None else left, np.int64),
        np.empty(0 if k is None else left * (k + 1), np.int64),
    )


def _in_order(kept: Picked, out: Voted, written: int) -> tuple[np.ndarray, ...]:
    """Return cell, row, score, corners, votes, and sizes and rows of the sources, in order of the outcome."""
    order, size, source = out.order, out.size, out.source[:written]
    if len(size):
        begin = (np.cumsum(size) - size)[order]
        size = size[order]
        source = source[np.arange(written) + np.repeat(begin - (np.cumsum(size) - size), size)]
    # `order` stays within cells
    return (
        kept.cell[: len(order)].copy(),
        kept.row[order],
        out.score[order],
        out.corners[order],
        out.votes[order],
        size,
        source,
    )
