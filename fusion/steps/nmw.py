"""Non-maximum weighted."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from fusion.checks import at_least, within
from fusion.columns import Fused
from fusion.kernels.cluster import NMW
from fusion.kernels.fuse import Options, fuse_columns
from fusion.pool import Pool, Tables
from fusion.run import apply
from fusion.table import DetectionTable
from fusion.weights import check_member_weights, member_weights

__all__ = ["Nmw", "nmw"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Nmw:
    """Replace each box that NMS would keep by a mean over the boxes it covers (Zhou 2017, CAD).

    Boxes are taken by score times weight, weights over the largest of them; each joins the kept box it
    overlaps most, above the threshold, or is kept itself. A cluster's box is the mean of its boxes
    weighted by score * IoU with the kept box; its score is that of the kept box. Both are float32
    values, equal to those of the public package `ensemble_boxes` to the last bit where no two boxes tie.

    It differs where the package's answer is an accident: ties go by row (an unstable sort there),
    weight 0 leaves a member's boxes out (NaN there), coordinates are never clipped, and boxes without
    area stay (dropped there), as does the first box of a cluster of scores 0 (NaN there).

    Attributes:
        iou: Threshold in [0, 1]; a box joins a cluster above it.
        weights: Weight per member name, finite and not negative, one at least positive; None for 1 each.
        skip_box_threshold: Boxes with a lower score, before weights, are left out; at least 0, since a
            negative score is no weight.
    """

    cellwise: ClassVar[bool] = True

    iou: float = 0.55
    weights: Mapping[str, float] | None = None
    skip_box_threshold: float = 0.0

    def __post_init__(self) -> None:
        within("iou", self.iou, 0.0, 1.0)
        at_least("skip_box_threshold", self.skip_box_threshold, 0.0)
        check_member_weights(self.weights)

    def fuse(self, pool: Pool, sources: bool = False) -> Fused:
        """Return the fused boxes of the pool, in order of (cell, score descending, row)."""
        weights = member_weights(self.weights, pool.members)
        weights = weights / weights.max()
        options = Options(
            kind=NMW,
            iou=float(self.iou),
            skip=float(self.skip_box_threshold),
            weights=weights,
            unsorted=bool((weights != 1).any()),
            sources=sources,
        )
        return fuse_columns(pool.columns, options)


def nmw(
    tables: Tables,
    *,
    iou: float = 0.55,
    weights: Mapping[str, float] | None = None,
    skip_box_threshold: float = 0.0,
    device: str = "cpu",
) -> DetectionTable:
    """Fuse tables by non-maximum weighted; see `Nmw`.

    Args:
        tables: One table or several; several are pooled. Any unit.
        iou: A box joins a cluster whose first box it overlaps by more than this.
        weights: Weight per member name; None for 1 each.
        skip_box_threshold: Boxes with a lower score are left out.
        device: "cpu", "cuda", or "auto"; see `fusion.apply`.

    Returns:
        One row per cluster: new box and score, `votes` the number of distinct members in it, other
        columns those of its best box. Empty input gives an empty table.

    Raises:
        InputError: If an option is out of range, a member has no weight, or the tables do not go together.
    """
    return apply(Nmw(iou=iou, weights=weights, skip_box_threshold=skip_box_threshold), tables, device=device)
