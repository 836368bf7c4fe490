"""Voting on masks: fuse boxes with any method, then let the members' masks vote on each fused box."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import pyarrow as pa

from fusion.across import image_cells
from fusion.arrow_arrays import arrow_array
from fusion.checks import listing
from fusion.columns import Sources
from fusion.errors import InputError, option
from fusion.kernels.jit import chunks, joined, run
from fusion.kernels.mask_vote import HARD, NONE, SOFT, Votes, VotingRows, vote_cells
from fusion.masks import PooledMasks, mask_texts, pool_masks, unreadable
from fusion.pool import Pool
from fusion.steps.base import Rebuilt, check, parameter
from fusion.table import DetectionTable
from fusion.table_columns import MASK_TYPE
from fusion.views import view_codes
from fusion.weights import check_member_weights, numbers

__all__ = ["VoteMasks"]


@dataclass(frozen=True, slots=True, kw_only=True)
class VoteMasks:
    """Give each instance of the first table the mask that the other tables' masks vote for.

    Sources: mmfruit-openimages2019, sec. 8.4 (the maps of four models vote on each pixel of a box);
    alibaba-lvis2020, sec. 4.2 (votes of several scales on the boxes already merged); megdetv2-coco2019,
    sec. 3.2 (masks of two models on the best boxes).

    In these reports every model, or scale, makes one mask per box, so here each has one vote per instance: of
    each pair of member and view votes the row of the instance's image and category whose box has the highest
    IoU with the instance's, at least `iou` and above 0; ties go by score, then row. A mask may vote on several
    instances. Rows without a mask, with an empty one, or of weight 0 or less do not vote. The weight of a vote is
    the row's score, times the member's weight.

    Weights w are taken as whole numbers W = round(2^40 * w / the instance's largest w), so equal weights tie
    exactly and no order matters. A pixel belongs to the new mask where the sum of W over the masks that
    cover it is at least ceil(threshold * sum of W): a tie counts as covered, and with two voters of equal
    weight the mask is the union. A soft mask votes with W times its probability at the pixel's centre,
    bilinear between the centres of the map's cells and falling to 0 over one cell outside them, as Mask R-CNN
    pastes masks; then sums are float64, best score first, and compared with threshold * sum of W. A row with
    both votes with its soft mask.

    An instance that nobody votes on keeps its own mask (a soft one pasted, at the threshold); without one it has none.
    Scores and order stay, boxes too unless `tighten`. With `across_categories` rows of any category vote.
    """

    shares_members: ClassVar[bool] = True
    inputs: ClassVar[tuple[str, str]] = ("instances", "voters")

    iou: float = field(
        default=0.5, metadata=parameter("IoU of its box with the instance's from which a row votes.", low=0.0, high=1.0)
    )
    threshold: float = field(
        default=0.5,
        metadata=parameter("Share of the weight that a pixel needs; a tie counts as covered.", above=0.0, high=1.0),
    )
    weights: Mapping[str, float] | None = field(
        default=None,
        metadata=parameter(
            "Weight per member, for all that vote; by default 1 each.",
            typed="member_weights",
            words=numbers,
            learned=True,
            sample="a=1 b=0.5",
        ),
    )
    tighten: bool = field(
        default=False, metadata=parameter("Shrink or grow each box to the bounds of its mask, where it has pixels.")
    )
    across_categories: bool = field(
        default=False, metadata=parameter("Masks of any category vote; each instance keeps its own.")
    )

    def __post_init__(self) -> None:
        check(self)
        check_member_weights(self.weights)
        if self.weights and not any(self.weights.values()):
            raise InputError(
                f"option {option('weights')}", "all members have weight 0", "Give one at least a positive weight"
            )

    def fuse(self, pool: Pool, sources: bool = False) -> Rebuilt:
        """Return the first table with new masks; sources are each instance and its voters, best score first.

        Raises:
            InputError: If no table has masks, a mask cannot be read, masks of one image differ in size, or a voter has
                no weight.
        """
        names = {name for table in pool.tables for name in table.arrow.column_names}
        if len(pool.member) and not names & {"mask", "soft_mask"}:
            raise InputError(
                "vote_masks",
                "none of the tables has masks",
                "Import results that have a segmentation, or leave the step out",
            )
        masks = pool_masks(pool)
        columns, about = pool.columns, self._voters(pool, masks)
        if self.across_categories:
            columns = image_cells(columns)
        options = (float(self.iou), float(self.threshold), pool.tables[0].metadata.unit == "normalized", sources)

        def task(low: int, high: int) -> tuple[np.ndarray, ...]:
            rows = columns.row[columns.start[low] : columns.start[high]]
            votes = _room(int(np.count_nonzero(rows < about.instances)))
            texts, voters, wrong = vote_cells(low, high, columns, about, masks.text, masks.soft, options, votes)
            if wrong >= 0:
                raise unreadable(pool, masks.text, wrong)
            return (*votes, texts, voters, np.diff(votes.end, prepend=0))

        pieces = run(task, chunks(columns.start, 8192))
        nothing = np.zeros(0, np.uint8), np.zeros(0, np.int64), np.zeros(0, np.int64)
        *parts, texts, voters, length = joined(pieces or [(*_room(0), *nothing)])
        votes = Votes._make(parts)
        order = np.argsort(votes.row)  # each row occurs once
        table = self.rebuilt(pool.tables[0], votes, mask_texts(texts, length), order)
        return Rebuilt(table, np.arange(len(table)), _listed(votes.voters, voters, order) if sources else None)

    def _voters(self, pool: Pool, masks: PooledMasks) -> VotingRows:
        instances = len(pool.tables[0])
        views = [view_codes(table) for table in pool.tables]
        names = np.unique(np.concatenate([name for name, _ in views]))
        view = np.concatenate([np.searchsorted(names, name)[code] for name, code in views])
        _, voter = np.unique(pool.member.astype(np.int64) * len(names) + view, return_inverse=True)
        weight = pool.column("score").astype(np.float64)
        if self.weights is not None:
            weight[instances:] *= self._member_weights(pool)[pool.member[instances:]]
        kind = np.where(masks.masked, HARD, NONE).astype(np.uint8)
        kind[np.diff(masks.soft.offset) > 0] = SOFT
        return VotingRows(instances, voter.astype(np.int32), int(voter.max(initial=-1)) + 1, weight, kind)

    def _member_weights(self, pool: Pool) -> np.ndarray:
        """Return the weight of each of the pool's members, 0 for those that bring no voter."""
        weights = np.zeros(len(pool.members))
        for member in np.unique(pool.member[len(pool.tables[0]) :]):
            name = pool.members[member]
            if self.weights is None or name not in self.weights:
                raise InputError(
                    f"option {option('weights')}",
                    f"there is none for {name!r}; they are for {listing(self.weights or ())}",
                    "Give every voting member a weight, 0 to leave it out",
                )
            weights[member] = self.weights[name]
        return weights

    def rebuilt(self, table: DetectionTable, votes: Votes, texts: pa.Array, order: np.ndarray) -> DetectionTable:
        """Return the instances with the masks voted for, and tightened where asked.

        Args:
            table: The instances.
            votes: What the votes gave.
            texts: Their masks, in the order of the votes.
            order: int64 [n], the vote of each instance.
        """
        masked = votes.height > 0
        sizes: list[pa.Array] = [arrow_array(votes.height), arrow_array(votes.width)]
        masks = pa.StructArray.from_arrays([*sizes, texts], fields=list(MASK_TYPE), mask=arrow_array(~masked))
        names = [name for name in table.arrow.column_names if name not in ("mask", "soft_mask")]
        arrow = table.arrow.select(names).append_column("mask", masks.take(arrow_array(order)))
        if self.tighten:
            x1, y1, x2, y2 = votes.box[order].T
            tight = x1 < x2
            across = np.ones(len(order))
            down = across
            if table.metadata.unit == "normalized":
                across, down = np.maximum(votes.width[order], 1), np.maximum(votes.height[order], 1)
            for name, values in zip(
                "xywh", (x1 / across, y1 / down, (x2 - x1) / across, (y2 - y1) / down), strict=True
            ):
                old = table.column(name)
                new = arrow_array(np.where(tight, values, old).astype(old.dtype))
                arrow = arrow.set_column(arrow.column_names.index(name), name, new)
        return DetectionTable.from_arrow(arrow, table.metadata, "mask voting")


def _room(instances: int) -> Votes:
    return Votes(
        np.empty(instances, np.int64),
        np.empty(instances, np.int64),
        np.zeros(instances, np.int32),
        np.zeros(instances, np.int32),
        np.empty(instances, np.int64),
        np.zeros((instances, 4), np.int64),
    )


def _listed(count: np.ndarray, voters: np.ndarray, order: np.ndarray) -> Sources:
    """List for each instance, in order of row, itself and its voters."""
    begin = (np.cumsum(count) - count)[order]
    count = count[order]
    start = np.concatenate(([0], np.cumsum(count + 1)))
    rows = np.empty(start[-1], np.int64)
    rest = np.ones(len(rows), bool)
    rest[start[:-1]] = False
    rows[start[:-1]] = np.arange(len(count))
    rows[rest] = voters[np.arange(len(voters)) + np.repeat(begin - (np.cumsum(count) - count), count)]
    return Sources(start, rows)
