"""Weighted boxes fusion."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from fusion.across import across_categories
from fusion.box_weights import BOX_WEIGHTS, checked_box_weights, side_weights
from fusion.columns import Fused
from fusion.formulas.clusters import CONFIDENCES
from fusion.kernels.cluster import WBF
from fusion.kernels.fuse import Options, fuse_columns
from fusion.pool import Pool
from fusion.steps.base import check, parameter
from fusion.weights import check_member_weights, member_weights, numbers

__all__ = ["Wbf"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wbf:
    """Replace each cluster of boxes by their mean, weighted by score (Solovyev 2019, arXiv 1910.13302).

    Boxes are taken by score times weight; each joins the cluster whose current mean box it overlaps
    most, above the threshold, or starts one. Boxes and scores equal those of the public package
    `ensemble_boxes` to the last bit where no two boxes tie: sums of corners and the mean score of a
    cluster of several boxes are float32, a box alone keeps its float64 values.

    It differs where the package's answer is an accident: ties go by row (an unstable sort there),
    weight 0 leaves a member's boxes out (NaN there), coordinates are never clipped, boxes without area
    stay as they are (dropped there), and a cluster of scores 0 keeps its first box (NaN there).
    Each cluster becomes one row, with `votes` the number of distinct members in it and the other columns of its best
    box. The number of members counts all of the pool, also those without a box in the cell.

    The score of a cluster of n boxes from M members with weights w follows `conf_type`:

    - "avg": sum of score * w / n * min(n, M) / sum of all w; with `allows_overflow` n instead of min(n, M).
    - "max": largest score * w / largest w.
    - "box_and_model_avg": sum of score * w / sum of w over boxes * share of w of the members in it.
    - "absent_model_aware_avg": sum of score * w / (sum of w over boxes + w of the members not in it).

    With "avg" scores may exceed 1 even so, where weights differ and one of large weight brings several boxes of a
    cluster, as in the public package; "box_and_model_avg", which counts each member's weight once, never exceeds the
    largest score.

    With `box_weights` w_ms of member m's side s, that side of a cluster is sum of score * w * w_ms * side / sum of
    score * w * w_ms over its boxes, in every mean that boxes are matched with; sides that would cross, as those of
    boxes that overlap little may, stay where they are. Scores are made as without.

    With `across_categories` clusters are of all boxes of an image. The cluster gets the category whose boxes have the
    highest sum of score * w, and that category's share of the sum as a factor on its score: as if boxes of other
    categories had voted for it with score 0. "max" stays the largest of all (`fusion.across`).
    """

    cellwise: ClassVar[bool] = True

    iou: float = field(
        default=0.55,
        metadata=parameter("A box joins a cluster whose box it overlaps by more than this.", low=0.0, high=1.0),
    )
    conf_type: str = field(default="avg", metadata=parameter("Score of a cluster.", choices=CONFIDENCES))
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
    allows_overflow: bool = field(
        default=False, metadata=parameter("With avg, count all boxes of a cluster: scores may exceed 1.")
    )
    across_categories: bool = field(
        default=False,
        metadata=parameter("Cluster boxes of any category; a cluster's is that of the highest summed score."),
    )

    def __post_init__(self) -> None:
        check(self)
        check_member_weights(self.weights)
        object.__setattr__(self, "box_weights", checked_box_weights(self.box_weights))

    def fuse(self, pool: Pool, sources: bool = False) -> Fused:
        """Return the fused boxes of the pool, in order of (cell, score descending, row)."""
        weights = member_weights(self.weights, pool.members)
        if self.across_categories:
            return across_categories(self, pool, sources, weights, mean=self.conf_type != "max")
        options = Options(
            kind=WBF,
            confidence=CONFIDENCES.index(self.conf_type),
            overflow=bool(self.allows_overflow),
            iou=float(self.iou),
            skip=float(self.skip_box_threshold),
            weights=weights,
            total=float(weights.sum()),
            largest=float(weights.max()),
            unsorted=bool((weights != 1).any()),
            sources=sources,
        )
        return fuse_columns(pool.columns, options, side_weights(self.box_weights, pool))
