"""Weighted boxes fusion."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from fusion.checks import at_least, one_of, within
from fusion.columns import Fused
from fusion.kernels.cluster import WBF
from fusion.kernels.fuse import CONFIDENCES, Options, fuse_columns
from fusion.pool import Pool, Tables
from fusion.run import apply
from fusion.table import DetectionTable
from fusion.weights import check_member_weights, member_weights

__all__ = ["Wbf", "wbf"]


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
    The number of members counts all of the pool, also those without a box in the cell.

    Attributes:
        iou: Threshold in [0, 1]; a box joins a cluster above it.
        conf_type: Score of a cluster of n boxes from M members with weights w.
            "avg": sum of score * w / n * min(n, M) / sum of all w.
            "max": largest score * w / largest w.
            "box_and_model_avg": sum of score * w / sum of w over boxes * share of w of the members in it.
            "absent_model_aware_avg": sum of score * w / (sum of w over boxes + w of the members not in it).
        weights: Weight per member name, finite and not negative, one at least positive; None for 1 each.
        skip_box_threshold: Boxes with a lower score, before weights, are left out; at least 0, since a
            negative score is no weight.
        allows_overflow: With "avg", n instead of min(n, M): scores may exceed 1.

    Without it they may, too, where weights differ and one of large weight brings several boxes of a cluster, as in the
    public package; "box_and_model_avg", which counts each member's weight once, never exceeds the largest score.
    """

    cellwise: ClassVar[bool] = True

    iou: float = 0.55
    conf_type: str = "avg"
    weights: Mapping[str, float] | None = None
    skip_box_threshold: float = 0.0
    allows_overflow: bool = False

    def __post_init__(self) -> None:
        within("iou", self.iou, 0.0, 1.0)
        one_of("conf_type", self.conf_type, CONFIDENCES)
        at_least("skip_box_threshold", self.skip_box_threshold, 0.0)
        check_member_weights(self.weights)

    def fuse(self, pool: Pool, sources: bool = False) -> Fused:
        """Return the fused boxes of the pool, in order of (cell, score descending, row)."""
        weights = member_weights(self.weights, pool.members)
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
        return fuse_columns(pool.columns, options)


def wbf(
    tables: Tables,
    *,
    iou: float = 0.55,
    conf_type: str = "avg",
    weights: Mapping[str, float] | None = None,
    skip_box_threshold: float = 0.0,
    allows_overflow: bool = False,
    device: str = "cpu",
) -> DetectionTable:
    """Fuse tables by weighted boxes fusion; see `Wbf`.

    Args:
        tables: One table or several; several are pooled. Any unit.
        iou: A box joins a cluster whose box it overlaps by more than this.
        conf_type: "avg", "max", "box_and_model_avg" or "absent_model_aware_avg".
        weights: Weight per member name; None for 1 each.
        skip_box_threshold: Boxes with a lower score are left out.
        allows_overflow: Whether scores may exceed 1.
        device: "cpu", "cuda", or "auto"; see `fusion.apply`.

    Returns:
        One row per cluster: new box and score, `votes` the number of distinct members in it, other
        columns those of its best box. Empty input gives an empty table.

    Raises:
        InputError: If an option is out of range, a member has no weight, or the tables do not go together.
    """
    return apply(
        Wbf(
            iou=iou,
            conf_type=conf_type,
            weights=weights,
            skip_box_threshold=skip_box_threshold,
            allows_overflow=allows_overflow,
        ),
        tables,
        device=device,
    )
