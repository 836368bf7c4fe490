"""AP and recall by the size of objects, COCO's three areas and doublings of the side, and by their shape."""

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from evaluation.analysis.overlaps import Overlaps
from evaluation.columns import Pairs
from evaluation.figures import ASPECT
from evaluation.matches import find_matches
from evaluation.measures import AREA, Ranges
from evaluation.protocol import RECALLS
from evaluation.result import CocoResult

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["SIDES", "size_frame"]

SIDES = (8, 16, 32, 64, 128, 256, 512)
"""Sides in pixels between the finer bins; an area belongs to the bin of its square root."""


def size_frame(overlaps: Overlaps, result: CocoResult) -> "pd.DataFrame":
    """Return AP and AR by size, means over thresholds and categories by COCO's rules.

    The first rows are COCO's areas as in `result`. The next cut at sides of 8, 16 ... 512 pixels
    (squares of the areas differ by 4), each bin with its lower end and without its upper one, so that every
    object is in exactly one. As with COCO's, objects of other sizes are ignored, and so are unmatched
    detections of other sizes. The last rows are by the shape of boxes, as the figures APtall, APsquare and APwide.

    Args:
        overlaps: Detections and ground truth, with pairs from the smallest IoU threshold on.
        result: The evaluation of the same detections.

    Returns:
        A row per size: bins ("coco", "side" or "aspect"), size, objects, AP, AR; NaN without objects.
    """
    import pandas as pd

    prepared, truth, found = overlaps.prepared, overlaps.truth, overlaps.found
    areas = prepared.ground_truth.area[overlaps.source]
    rows = _by_ranges("coco", result, AREA, 1)
    bins = len(SIDES) + 1
    squares = np.array(SIDES, np.float64) ** 2
    inside = np.searchsorted(squares, areas, side="right")
    ignored = ~overlaps.counted
    outside = np.where(ignored, 2**bins - 1, ~(1 << inside) & (2**bins - 1)).astype(np.uint8)
    of_found = (~(1 << np.searchsorted(squares, overlaps.area, side="right")) & (2**bins - 1)).astype(np.uint8)
    counted = [
        np.bincount(truth.category[~ignored & (inside == b)], minlength=len(prepared.category_ids)) for b in range(bins)
    ]
    matches = find_matches(
        truth._replace(outside=outside),
        found._replace(outside=of_found),
        _own(overlaps),
        thresholds=result.iou_thresholds,
        caps=prepared.protocol.caps,
        positives=np.stack(counted, axis=1).astype(np.int64),
        recalls=RECALLS,
    )
    by_side, _ = matches.precision(prepared.protocol.caps[-1])
    recalls = matches.recall()
    names = [f"< {SIDES[0]} px", *(f"{a}-{b} px" for a, b in pairwise(SIDES)), f">= {SIDES[-1]} px"]
    for b, name in enumerate(names):
        rows.append(("side", name, int(counted[b].sum()), _mean(by_side[b]), _mean(recalls[:, :, b, -1])))
    rows += _by_ranges("aspect", result, ASPECT, 0)
    return pd.DataFrame(rows, columns=["bins", "size", "objects", "AP", "AR"])


def _by_ranges(bins: str, result: CocoResult, ranges: Ranges, first: int) -> list[tuple[str, str, int, float, float]]:
    """Return a row for each range from `first` on."""
    counts = result.matches_in(ranges)[0].positives.sum(axis=0).tolist()
    precision, recall = result.precision_in(ranges), result.recall_in(ranges)
    return [
        (bins, ranges.names[place], counts[place], _mean(precision[place]), _mean(recall[:, :, place, -1]))
        for place in range(first, len(ranges.names))
    ]


def _own(overlaps: Overlaps) -> Pairs:
    """The pairs within a category."""
    start, truth, iou = overlaps.pairs
    row = np.repeat(np.arange(len(start) - 1), np.diff(start))
    own = overlaps.truth.category[truth] == overlaps.found.category[row]
    count = np.bincount(row[own], minlength=len(start) - 1)
    return Pairs(np.concatenate(([0], np.cumsum(count))), truth[own], iou[own])


def _mean(values: np.ndarray) -> float:
    known = values[values > -1]
    return float(known.mean()) if known.size else float("nan")
