"""Non-maximum weighted."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from fusion.box_weights import BOX_WEIGHTS, checked_box_weights, side_weights
from fusion.columns import Fused
from fusion.kernels.cluster import NMW
from fusion.kernels.fuse import Options, fuse_columns
from fusion.pool import Pool
from fusion.steps.base import check, parameter
from fusion.weights import check_member_weights, member_weights, numbers

__all__ = ["Nmw"]


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

    With `box_weights` each side of a cluster is the mean weighted by score * IoU * the weight of that side of the
    box's member; clusters and scores stay as they are.
    """

    cellwise: ClassVar[bool] = True

    iou: float = field(
        default=0.55,
        metadata=parameter("A box joins a cluster whose first box it overlaps by more than this.", low=0.0, high=1.0),
    )
    weights: Mapping[str, float] | None = field(
        default=None,
        metadata=parameter(
            "Weight per member; by default 1 each.",
            typed="member_weights",
            words=numbers,
            learned=True,
            sample="a=1 b=0.5",
        ),
    )
    box_weights: Mapping[str, Sequence[float]] | None = field(default=None, metadata=BOX_WEIGHTS)
    skip_box_threshold: float = field(
        default=0.0, metadata=parameter("Boxes with a lower score, before weights, are left out.", low=0.0)
    )

    def __post_init__(self) -> None:
        check(self)
        check_member_weights(self.weights)
        object.__setattr__(self, "box_weights", checked_box_weights(self.box_weights))

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
        return fuse_columns(pool.columns, options, side_weights(self.box_weights, pool))
