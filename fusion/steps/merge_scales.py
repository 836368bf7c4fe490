"""Merging what one member found at several scales, each trusted for the sizes it is good at."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from fusion.checks import listing
from fusion.columns import Columns, Fused, sort_columns
from fusion.errors import InputError
from fusion.pool import Pool
from fusion.scales import Scales
from fusion.steps.base import check, parameter
from fusion.steps.nms_then_soft import NmsThenSoft
from fusion.suppression import METHODS
from fusion.views import views_of

__all__ = ["MergeScales"]

_ALIKE = Scales()


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeScales:
    """Pool the views of a member, each with its weight for the size of the box, and suppress.

    - A view counts only for sizes inside its limits: small boxes from enlarged images and large boxes from
      small ones (lvistraveler-lvis2020, sec. 3.3 (1)).
    - Scores are multiplied by the view's weight for the size range, "to collect the best results in
      different test scales" (alibaba-lvis2020, sec. 4.2; how the weights come about is not printed there:
      `evaluation.scales.learn_scales` takes each view's AP by size).
    - Scores of some categories are raised (lvistraveler-lvis2020, sec. 3.3 (2): slightly, for rare ones). Within a
      category that changes no order: it counts where a cap per image makes categories compete, as in LVIS.
    - Hard suppression at 0.7, then soft suppression (lvistraveler-lvis2020, sec. 3.3 (3)); the others'
      soft-NMS with IoU 0.5 (alibaba-lvis2020, sec. 4.2) is method "linear". See `NmsThenSoft`.

    Views are named in the column `view`; a table without one is a single view, called as its member. Boxes of
    mirrored images have to be mirrored back before. With sources, a box comes with those that hard
    suppression removed for it: the views that found the same thing.
    """

    scales: Scales = field(
        default_factory=Scales,
        metadata=parameter(
            "What each view is good for; by default all are equal.",
            files={"scales": "What each view is good for: what `quorum learn scales` wrote."},
            learned=True,
            build=Scales.from_dict,
            sample="scales.toml",
        ),
    )
    iou: float = field(default=0.7, metadata=parameter("Threshold of hard suppression.", low=0.0, high=1.0))
    method: str = field(default="gaussian", metadata=parameter("How scores fall.", choices=METHODS, typed="decay"))
    sigma: float = field(default=0.5, metadata=parameter("Width of the gaussian; without effect on linear.", above=0.0))
    soft_iou: float = field(
        default=0.5, metadata=parameter("Threshold of linear; without effect on gaussian.", low=0.0, high=1.0)
    )
    floor: float = field(default=0.001, metadata=parameter("Boxes with a lower score are dropped.", low=0.0))

    def __post_init__(self) -> None:
        check(self)

    def fuse(self, pool: Pool, sources: bool = False) -> Fused:
        """Return what stays of the pool, in order of (cell, score descending, row)."""
        factor = self._factors(pool)
        # the step behind sorts by the new scores
        inner = pool.with_columns(_sorted(pool, np.flatnonzero(factor > 0), factor))
        fused = self._suppression().fuse(inner, sources)
        # cells of the pool that lost all their boxes are not among those of `inner`
        count = len(pool.category_ids)
        key = pool.columns.image.astype(np.int64) * count + pool.columns.category
        own = inner.columns.image.astype(np.int64) * count + inner.columns.category
        return fused._replace(cell=np.searchsorted(key, own)[fused.cell])

    def _suppression(self) -> NmsThenSoft:
        return NmsThenSoft(iou=self.iou, method=self.method, sigma=self.sigma, soft_iou=self.soft_iou, floor=self.floor)

    def _factors(self, pool: Pool) -> np.ndarray:
        """Return the factor on each row's score, float64 [n]; 0 for a row that is left out."""
        scales = self.scales
        names, view = views_of(pool)
        factor = np.ones(len(view))
        if len(view) and (scales.weights or scales.limits):
            _check_views(pool, names, scales)
            w, h = (pool.column(name).astype(np.float64, copy=False) for name in "wh")
            side = np.sqrt(w * h)
            if scales.weights:
                sizes = np.searchsorted(np.asarray(scales.sides, np.float64), side, side="right")
                factor = np.array([scales.weights[name] for name in names], np.float64)[view, sizes]
            if scales.limits:
                limits = np.array([scales.limits[name] for name in names], np.float64)
                factor[(side < limits[view, 0]) | (side >= limits[view, 1])] = 0
        if scales.boost:
            factor *= np.array([scales.boost.get(int(i), 1.0) for i in pool.category_ids])[pool.category()]
        return factor


def _check_views(pool: Pool, names: Sequence[str], scales: Scales) -> None:
    if pool.tables[0].metadata.unit != "pixel":
        raise InputError("scales", "are in pixels, and the boxes are normalized", "Import the boxes in pixels")
    for what, known in (("weights", scales.weights), ("limits", scales.limits)):
        missing = [name for name in names if known and name not in known]
        if missing:
            raise InputError(
                f"scales, {what}",
                f"there are none for view {missing[0]!r}; they are for {listing(known)}",
                "Learn them with these views, of this member; a table without a view column is a view itself",
            )


def _sorted(pool: Pool, keep: np.ndarray, factor: np.ndarray) -> Columns:
    """Sort the rows that stay, by their new scores."""
    x, y = (pool.column(name)[keep].astype(np.float64, copy=False) for name in "xy")
    x2, y2 = (pool.far(name)[keep] for name in "xy")
    score = pool.column("score")[keep] * factor[keep]
    columns = sort_columns(pool.image()[keep], pool.category()[keep], score, x, y, x2, y2, pool.member[keep])
    return columns._replace(row=keep[columns.row])
