"""Learning which test-time view to trust for which size of object."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from evaluation.ground_truth import GroundTruth
from evaluation.matches import find_matches
from evaluation.prepared import Prepared, prepare
from evaluation.protocol import RECALLS, Coco, Lvis
from fusion.checks import at_least, one_of, within
from fusion.errors import InputError, option
from fusion.printed_table import PrintedTable
from fusion.scales import Scales
from fusion.table import DetectionTable
from fusion.weights import build_weights

__all__ = ["FIGURES", "LearnedScales", "figures_by_size", "learn_scales"]

FIGURES = ("AP", "AR")
_MOST_RANGES = 8  # a range is a bit of a byte


@dataclass(frozen=True, eq=False)
class LearnedScales:
    """What was learned, and from what.

    Attributes:
        scales: For step `merge_scales`.
        views: Names of the views.
        figure: "AP" or "AR".
        figures: float64 [views, ranges], of each view alone; NaN without objects.
        objects: int64 [ranges], annotations that count.
    """

    scales: Scales
    views: tuple[str, ...]
    figure: str
    figures: np.ndarray
    objects: np.ndarray

    def to_table(self) -> PrintedTable:
        """Return a table to print: a line per view, figure and weight of each size range."""
        bounds = ["0", *(f"{side:g}" for side in self.scales.sides), "up"]
        ranges = zip(pairwise(bounds), self.objects.tolist(), strict=True)
        heads = ["view", *(f"{low} - {high}\n{count:,} objects" for (low, high), count in ranges)]
        table = PrintedTable.of(heads, (), left=1)
        table.title = f"{self.figure} by size of objects (side in pixels), and the weight learned from it"
        for view, row in zip(self.views, self.figures.tolist(), strict=True):
            pairs = zip(row, self.scales.weights[view], strict=True)
            table.rows.append([view, *(f"{'-' if v != v else f'{v:.4f}'} x{w:.2f}" for v, w in pairs)])
        return table


def learn_scales(
    views: Mapping[str, DetectionTable],
    ground_truth: GroundTruth,
    *,
    protocol: Coco | Lvis | None = None,
    sides: Sequence[float] = (32.0, 96.0),
    figure: str = "AP",
    builder: str = "ap_ratio",
    power: float = 1.0,
    limit: float = 0.0,
    rare_boost: float = 1.0,
) -> LearnedScales:
    """Learn a weight per view and size range from how well each view does there alone.

    The "scale-adaptive merging strategy to collect the best results in different test scales"
    (alibaba-lvis2020, sec. 4.2) is not defined there. Here a view's figure in a size range, next to the other
    views', is turned into a weight as members' AP per category is: see `fusion.weights.build_weights`. With
    `ap_ratio` the best view of each range has weight 1, so that sizes stay comparable with one another.

    Args:
        views: Name -> detections of that view alone, of the images of the ground truth.
        ground_truth: The split to learn on.
        protocol: Coco or Lvis; COCO's for boxes by default.
        sides: Bounds between the size ranges, ascending; the default gives the protocols' own small, medium, large.
        figure: "AP" or "AR", mean over IoU thresholds and categories.
        builder: See `build_weights`: "ap_ratio", "ap_share", "rank_linear", "top_r" or "uniform".
        power: Sharpens (above 1) or flattens (below 1) ratios and shares.
        limit: A weight below this becomes 0: the view is not used for such sizes (lvistraveler-lvis2020,
            sec. 3.3 (1), where the valid ranges are not printed).
        rare_boost: Factor on the scores of rare categories (sec. 3.3 (2), "slightly", not printed).

    Returns:
        The weights, and the figures they come from.

    Raises:
        InputError: If an option is out of range, a table does not fit the ground truth, or it has no
            frequency groups where rare categories are to be raised.
    """
    one_of("figure", figure, FIGURES)
    within("limit", limit, 0.0, 1.0)
    at_least("rare_boost", rare_boost, 0.0)
    if not views:
        raise InputError("learn scales", "no view was given")
    boost = {} if rare_boost == 1 else dict.fromkeys(_rare(ground_truth), float(rare_boost))
    bounds = tuple(float(side) for side in sides)
    Scales(sides=bounds)
    prepared = prepare(ground_truth, protocol or Coco())
    rows = [figures_by_size(table, prepared, bounds) for table in views.values()]
    figures = np.stack([row[0] if figure == "AP" else row[1] for row in rows])
    named = {view: dict(enumerate(row)) for view, row in zip(views, figures.tolist(), strict=True)}
    built = build_weights(named, builder, power=power)
    weights = {view: [w if w >= limit else 0.0 for w in row.values()] for view, row in built.items()}
    scales = Scales(sides=bounds, weights=weights, boost=boost)
    return LearnedScales(scales, tuple(views), figure, figures, rows[0][2])


def figures_by_size(
    table: DetectionTable, prepared: Prepared, sides: Sequence[float]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return AP, AR and the number of objects by size, as the protocol counts them in its own area ranges.

    Areas are the annotations' own (of masks, in COCO) and w * h of detections; one on a bound is in both
    ranges. With sides 32 and 96 the figures are the official APs, APm, APl and ARs, ARm, ARl.

    Args:
        table: Detections in pixels.
        prepared: Ground truth.
        sides: Bounds between the ranges, ascending, at most 7.

    Returns:
        float64 [ranges] AP and AR, NaN without objects; int64 [ranges].

    Raises:
        InputError: If there are too many ranges, or the table does not fit the ground truth.
    """
    if len(sides) >= _MOST_RANGES:
        raise InputError(f"option {option('sides')}", f"expected at most {_MOST_RANGES - 1} bounds, got {len(sides)}")
    paired = prepared.paired(table)
    found = paired.found if prepared.federated is None else prepared.federated.cut(paired.found, paired.named)
    truth = prepared.truth
    given = prepared.ground_truth
    order = np.lexsort((given.category, given.image))
    if len(order) > len(truth.category):  # LVIS drops what has no area
        order = order[(given.area[order] > 0) & (given.area[order] < np.inf)]
    everywhere = np.uint8(2 ** (len(sides) + 1) - 1)
    ignored = (truth.outside & 1).astype(bool)
    outside = np.where(ignored, everywhere, _outside(given.area[order], sides))
    # what LVIS does not judge is outside of every range already
    spared = found.outside == np.uint8(2**4 - 1)
    of_found = np.where(spared, everywhere, _outside(found.w * found.h, sides))
    count = len(prepared.category_ids)
    counted = [np.bincount(truth.category[(outside >> a) & 1 == 0], minlength=count) for a in range(len(sides) + 1)]
    positives = np.stack(counted, axis=1).astype(np.int64)
    matches = find_matches(
        truth._replace(outside=outside),
        found._replace(outside=of_found),
        paired.pairs,
        thresholds=prepared.protocol.thresholds,
        caps=prepared.protocol.caps,
        positives=positives,
        recalls=RECALLS,
    )
    precision, _ = matches.precision(prepared.protocol.caps[-1])
    recall = matches.recall()[..., -1].transpose(2, 0, 1)
    return _means(precision), _means(recall), positives.sum(axis=0)


def _outside(area: np.ndarray, sides: Sequence[float]) -> np.ndarray:
    """Return the set of ranges that an area is outside of, as bits, uint8."""
    ends = [0.0, *(side**2 for side in sides), np.inf]
    bits = np.zeros(len(area), np.uint8)
    for a, (low, high) in enumerate(pairwise(ends)):
        bits |= ((area < low) | (area > high)).astype(np.uint8) << np.uint8(a)
    return bits


def _means(values: np.ndarray) -> np.ndarray:
    """Mean of each entry along the first axis over what has ground truth; NaN where nothing has."""
    return np.array([part[part > -1].mean() if np.any(part > -1) else np.nan for part in values])


def _rare(ground_truth: GroundTruth) -> list[int]:
    if ground_truth.frequency is None:
        raise InputError(
            ground_truth.source,
            "its categories have no frequency groups, so none is known to be rare",
            "Leave the boost of rare categories out, or write boost = {id = factor} into the learned file",
        )
    ids = zip(ground_truth.category_id.tolist(), ground_truth.frequency, strict=True)
    return [category for category, group in ids if group == "r"]
