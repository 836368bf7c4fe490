"""Choosing, per fused instance, the test-time views whose masks vote on it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import pyarrow as pa

from fusion.arrow_arrays import numpy_array
from fusion.checks import listed
from fusion.errors import InputError, option
from fusion.kernels.jit import chunks, run
from fusion.kernels.mask_area import mask_areas
from fusion.kernels.partners import pair_cells
from fusion.masks import mask_text
from fusion.pool import Pool
from fusion.steps.base import Rescored, check, parameter
from fusion.table import DetectionTable
from fusion.table_columns import MASK_TYPE
from fusion.views import levels, views_of

__all__ = ["SelectViews"]

RULES = ("area", "log2")


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectViews:
    """Leave in the masks' tables only the rows of views that fit the instance they are of.

    The inputs are, in order, the fused boxes and the tables whose masks are to vote on them. Masks come "from
    different resolution images according to scale of the bounding box and area ratio of the mask and
    bounding box" (lvistraveler-lvis2020, sec. 3.3 (4)): small and thin things need high resolution. The rule is
    not printed there; here it is the one by which that report assigns masks to feature maps (Eq. 1). With S_box and
    S_mask the areas of an instance's box and of the mask it carries,

        level = min(floor(S_box / side ** 2), floor(S_mask / (ratio * S_box)), number of levels - 1)

    and the views of that level vote. By `rule` "log2" the first term is floor(log2(sqrt(S_box) / side)), as pyramids
    assign boxes: as printed, all boxes of more than twice the side are of the last level but for their masks.
    An instance without a mask goes by its box alone. A row belongs to the instance of its image and category that its
    box overlaps best (ties: higher score, then row); rows that overlap none are left out. The answer has the voting
    tables' rows, for `vote_masks`:

        [nodes.boxes]
        step = "merge_scales"
        inputs = ["*"]

        [nodes.voters]
        step = "select_views"
        inputs = ["boxes", "*"]
        views = [["2400"], ["1800", "2400"], ["1200", "1800"], ["1200"]]

        [nodes.output]
        step = "vote_masks"
        inputs = ["boxes", "voters"]
    """

    compares_scores: ClassVar[bool] = False

    shares_members: ClassVar[bool] = True
    inputs: ClassVar[tuple[str, str]] = ("instances", "voters")

    views: Sequence[Sequence[str]] = field(
        metadata=parameter(
            "For each level, names of the views that vote; the first is for the smallest and thinnest things.",
            words=levels,
            sample="2400 1800,2400 1200",
        )
    )
    side: float = field(
        default=56.0, metadata=parameter("Pixels; boxes of less than its square are of the first level.", low=1.0)
    )
    ratio: float = field(
        default=0.25, metadata=parameter("So are masks that fill less than this of their box.", low=0.01, high=1.0)
    )

    rule: str = field(
        default="area",
        metadata=parameter('First term of the level: "area" as printed, "log2" as pyramids do it.', choices=RULES),
    )

    def __post_init__(self) -> None:
        check(self)
        if not self.views or isinstance(self.views, str):
            raise InputError(
                f"option {option('views')}", f"expected a list of view names for each level, got {self.views!r}"
            )
        # a file gives lists, and equal steps should be equal
        object.__setattr__(self, "views", tuple(listed("views", names, str) for names in self.views))

    def fuse(self, pool: Pool, sources: bool = False) -> Rescored:
        """Return the rows that vote."""
        if pool.tables[0].metadata.unit != "pixel":
            raise InputError("select_views", "sizes are in pixels, and the boxes are normalized", "Use pixel boxes")
        instances = len(pool.tables[0])
        columns = pool.columns
        seeking = np.arange(len(columns.row)) >= instances
        partner, taken = np.empty(len(seeking), np.int64), np.zeros(len(seeking), dtype=bool)
        run(
            lambda low, high: pair_cells(columns, low, high, seeking, 0.0, False, taken, partner),
            chunks(columns.start),
        )
        names, view = views_of(pool)
        row = np.flatnonzero(partner >= 0)
        votes = np.array([[name in level for name in names] for level in self.views], bool)
        unlisted = [name for code, name in enumerate(names) if not votes[:, code].any() and np.any(view[row] == code)]
        if unlisted:
            known = ", ".join(map(repr, sorted({name for level in self.views for name in level})))
            raise InputError(
                f"option {option('views')}", f"view {unlisted[0]!r} is in no level; there are {known}", "Name it"
            )
        row = row[votes[self._levels(pool.tables[0])[partner[row]], view[row]]]
        return Rescored(row, pool.column("score")[row])

    def _levels(self, table: DetectionTable) -> np.ndarray:
        """Return the level of each instance, int64 [n]."""
        w, h = (table.column(name).astype(np.float64, copy=False) for name in "wh")
        box = w * h
        level = np.floor(box / self.side**2)
        if self.rule == "log2":
            # without a logarithm, so that all devices agree at the bounds
            bounds = self.side**2 * 4.0 ** np.arange(1, len(self.views))
            level = np.searchsorted(bounds, box, side="right").astype(np.float64)
        given = table.mask if table.mask is not None else pa.nulls(len(table), MASK_TYPE)
        masked = numpy_array(given.is_valid()) & (box > 0)
        thin = np.floor(_areas(table, given) / (self.ratio * np.where(masked, box, 1)))
        level[masked] = np.minimum(level, thin)[masked]
        return np.asarray(np.minimum(level, len(self.views) - 1), np.int64)


def _areas(table: DetectionTable, masks: pa.StructArray) -> np.ndarray:
    """Return the pixels of each mask, int64 [n]; 0 without one."""
    text = mask_text(masks)
    area = np.zeros(len(table), np.int64)
    for wrong in run(lambda low, high: mask_areas(low, high, *text, area), chunks(text.offset, 1 << 22)):
        if wrong >= 0:
            raise InputError(f"table {table.metadata.member or 0}, row {wrong}", "its mask is no compressed COCO RLE")
    return area
