"""Top-k voting on boxes and scores."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from fusion.across import across_categories
from fusion.box_weights import BOX_WEIGHTS, checked_box_weights, side_weights
from fusion.columns import Columns, Fused, SideWeights, Sources
from fusion.kernels.jit import chunks, joined, run
from fusion.kernels.suppress import Picked, nms_cells, nms_scratch
from fusion.kernels.vote import Voted, vote_cells, vote_scratch
from fusion.pool import Pool
from fusion.steps.base import check, parameter
from fusion.suppression import allocate

__all__ = ["Vote"]


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

    Without voters P stays as it is. With sources, a box comes with its voters, best first. With `box_weights` the share
    of each box in a side, 1 - box for P and box / n for a voter, counts times its member's weight of that side, over
    the sum of these.

    With `across_categories` the cell is the image. A box gets the category that has the highest sum of scores among P
    and its voters (`fusion.across`); its score stays.
    """

    cellwise: ClassVar[bool] = True

    k: int = field(default=4, metadata=parameter("Most voters per box.", low=1))
    score: float = field(default=0.05, metadata=parameter("Share of the voters' scores that is added.", low=0.0))
    box: float = field(default=0.3, metadata=parameter("Share of the voters in the box.", low=0.0, high=1.0))
    iou: float = field(
        default=0.5,
        metadata=parameter("Threshold of suppression, and what a voter's IoU must exceed.", low=0.0, high=1.0),
    )
    box_weights: Mapping[str, Sequence[float]] | None = field(default=None, metadata=BOX_WEIGHTS)
    across_categories: bool = field(
        default=False,
        metadata=parameter("Boxes of any category vote, on the category as well: the highest summed score has it."),
    )

    def __post_init__(self) -> None:
        check(self)
        object.__setattr__(self, "box_weights", checked_box_weights(self.box_weights))

    def fuse(self, pool: Pool, sources: bool = False) -> Fused:
        """Return the boxes voted on, in order of (cell, score descending, row).

        `votes` counts the distinct members among each box and its voters.
        """
        if self.across_categories:
            return across_categories(self, pool, sources)
        columns = pool.columns
        sides = side_weights(self.box_weights, pool)
        pieces = run(lambda low, high: self._cells(columns, low, high, sources, sides), chunks(columns.start))
        if not pieces:
            pieces = [_in_order(allocate(0, False), _room(0, 0), 0)]
        cell, row, score, corners, votes, size, source = joined(pieces)
        start = np.concatenate(([0], np.cumsum(size)))
        return Fused(cell, row, score, corners, votes, Sources(start, source) if sources else None)

    def _cells(
        self, columns: Columns, low: int, high: int, sources: bool, sides: SideWeights | None
    ) -> tuple[np.ndarray, ...]:
        sizes = np.diff(columns.start[low : high + 1])
        largest = int(sizes.max())
        k = min(int(self.k), largest)
        kept = allocate(int(sizes.sum()), False)
        left = nms_cells(columns, low, high, float(self.iou), nms_scratch(columns, low, high), kept)
        members = int(columns.member[columns.start[low] : columns.start[high]].max()) + 1
        out = _room(left, k if sources else None)
        options = (float(self.iou), float(self.score), float(self.box), sources)
        written = vote_cells(columns, kept, left, options, vote_scratch(k, members, largest), out, sides)
        return _in_order(kept, out, written)


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
