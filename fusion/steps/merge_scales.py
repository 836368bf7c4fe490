"""Merging what one member found at several scales, each trusted for the sizes it is good at."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa

from fusion.checks import at_least, listing
from fusion.columns import Columns, Fused, sort_columns
from fusion.errors import InputError, option
from fusion.pool import Pool, Tables, apply
from fusion.steps.soft_nms import NmsThenSoft
from fusion.table import DetectionTable

__all__ = ["MergeScales", "Scales", "merge_scales", "split_views", "views_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scales:
    """What each test-time view is good for, by the size of boxes.

    The size of a box is the square root of its area, in pixels of the original image. A size range takes in
    its lower bound and not its upper one. When there are weights, every view needs them, and likewise with limits.

    Attributes:
        sides: Bounds between size ranges, ascending: (32, 96) makes three, COCO's small, medium, large.
        weights: View -> a factor on scores per size range; 0 leaves the boxes out.
        limits: View -> (least, most): boxes of other sizes are left out; `most` itself is out.
        boost: Category id -> a factor on scores, at every size.
    """

    sides: Sequence[float] = ()
    weights: Mapping[str, Sequence[float]] = field(default_factory=dict)
    limits: Mapping[str, Sequence[float]] = field(default_factory=dict)
    boost: Mapping[int, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for side in self.sides:
            at_least("sides", side, 0.0)
        if any(after <= before for before, after in zip(self.sides, self.sides[1:], strict=False)):
            raise InputError(f"option {option('sides')}", f"expected ascending numbers, got {list(self.sides)}")
        for view, weights in self.weights.items():
            if not isinstance(weights, Sequence) or len(weights) != len(self.sides) + 1:
                problem = f"expected a number for each of {len(self.sides) + 1} size ranges, got {weights!r}"
                raise InputError(
                    f"option {option('weights')}.{view}", problem, f"The ranges meet at sides {list(self.sides)}"
                )
            for weight in weights:
                at_least(f"weights.{view}", weight, 0.0)
        for view, limits in self.limits.items():
            if not isinstance(limits, Sequence) or len(limits) != 2:
                raise InputError(f"option {option('limits')}.{view}", f"expected [least, most], got {limits!r}")
            for limit in limits:
                at_least(f"limits.{view}", limit, 0.0)
        for category, factor in self.boost.items():
            at_least(f"boost.{category}", factor, 0.0)
        # a file gives lists, and equal scales should be equal
        object.__setattr__(self, "sides", tuple(self.sides))
        for name in ("weights", "limits"):
            object.__setattr__(self, name, {view: tuple(row) for view, row in getattr(self, name).items()})


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

    Attributes:
        scales: What each view is good for; by default all are equal.
        iou: Threshold of hard suppression in [0, 1].
        method: "gaussian" or "linear".
        sigma: Width of the gaussian, above 0; without effect on "linear".
        soft_iou: Threshold in [0, 1] of "linear"; without effect on "gaussian".
        floor: Least score that stays, at least 0.
    """

    scales: Scales = Scales()
    iou: float = 0.7
    method: str = "gaussian"
    sigma: float = 0.5
    soft_iou: float = 0.5
    floor: float = 0.001

    def __post_init__(self) -> None:
        self._suppression()

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


def merge_scales(
    tables: Tables,
    *,
    scales: Scales = Scales(),
    iou: float = 0.7,
    method: str = "gaussian",
    sigma: float = 0.5,
    soft_iou: float = 0.5,
    floor: float = 0.001,
    device: str = "cpu",
) -> DetectionTable:
    """Merge the views of a member; see `MergeScales`.

    Args:
        tables: A table with a `view` column, or one table per view.
        scales: What each view is good for.
        iou: Threshold of hard suppression.
        method: "gaussian" or "linear".
        sigma: Width of the gaussian.
        soft_iou: Threshold of "linear".
        floor: Boxes with a lower score are dropped.
        device: "cpu", "cuda", or "auto"; see `fusion.apply`.

    Returns:
        The rows that stay, with their new scores; boxes unchanged. Empty input gives an empty table.

    Raises:
        InputError: If an option is out of range, the tables do not go together, or a view has no weights.
    """
    step = MergeScales(scales=scales, iou=iou, method=method, sigma=sigma, soft_iou=soft_iou, floor=floor)
    return apply(step, tables, device=device)


def views_of(pool: Pool) -> tuple[tuple[str, ...], np.ndarray]:
    """Return the names of the views of a pool and the view of each row, int64 [n].

    Raises:
        InputError: If a table has a `view` column that is empty in some rows.
    """
    names: dict[str, int] = {}
    parts = []
    for number, table in enumerate(pool.tables):
        own, view = _views(table, number)
        parts.append(np.array([names.setdefault(name, len(names)) for name in own], np.int64)[view])
    return tuple(names), np.concatenate(parts)


def split_views(tables: Sequence[DetectionTable]) -> dict[str, DetectionTable]:
    """Cut tables into one per view, in the order in which the tables name them.

    Raises:
        InputError: If a table has a `view` column that is empty in some rows, or two tables have the same view.
    """
    views: dict[str, DetectionTable] = {}
    for number, table in enumerate(tables):
        own, view = _views(table, number)
        for code, name in enumerate(own):
            if name in views:
                raise InputError(f"table {number} (counted from 0)", f"has view {name!r}, as another table has")
            views[name] = replace(table, arrow=table.arrow.filter(pa.array(view == code)).combine_chunks())
    return views


def _views(table: DetectionTable, number: int) -> tuple[list[str], np.ndarray]:
    """Return the views that occur in a table, and the place of each row's among them, int64 [n]."""
    label = table.metadata.member or f"table{number}"
    if not len(table):
        return [], np.zeros(0, np.int64)
    if "view" not in table.arrow.column_names:
        return [label], np.zeros(len(table), np.int64)
    column = table.arrow["view"]
    if column.null_count:
        row = int(np.flatnonzero(column.is_null().to_numpy())[0])
        raise InputError(f"table {label}, column view", f"row {row} has none", "Name the view of every row")
    encoded = column.combine_chunks()
    used, view = np.unique(encoded.indices.to_numpy(), return_inverse=True)
    return encoded.dictionary.take(pa.array(used)).to_pylist(), view.astype(np.int64)


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
