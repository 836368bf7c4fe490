"""AP and recall by the size of objects, COCO's three areas and doublings of the side, and by their shape."""

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from evaluation.analysis.overlaps import Overlaps
from evaluation.columns import Pairs, Truth
from evaluation.figures import ASPECT
from evaluation.matches import Matches, find_matches
from evaluation.measures import AREA, Ranges
from evaluation.prepared import Prepared
from evaluation.protocol import RECALLS
from evaluation.result import CocoResult
from evaluation.stored_matches import StoredMatches

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["SIDES", "side_matches", "side_truth", "size_frame", "size_frame_of"]

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
    return size_frame_of(side_matches(overlaps), result)


def side_truth(prepared: Prepared) -> tuple[Truth, np.ndarray]:
    """Return ground truth as the bins of sides ignore it, and how much counts in each, int64 [k, bins]."""
    truth, bins = prepared.truth, len(SIDES) + 1
    inside = _bin_of(prepared.ground_truth.area[prepared.source])
    ignored = (truth.outside & 1) != 0
    outside = np.where(ignored, 2**bins - 1, ~(1 << inside) & (2**bins - 1)).astype(np.uint8)
    k = len(prepared.category_ids)
    counted = [np.bincount(truth.category[~ignored & (inside == b)], minlength=k) for b in range(bins)]
    return truth._replace(outside=outside), np.stack(counted, axis=1).astype(np.int64)


def side_matches(overlaps: Overlaps) -> Matches:
    """Match by the bins of sides."""
    prepared, bins = overlaps.prepared, len(SIDES) + 1
    truth, counted = side_truth(prepared)
    of_found = (~(1 << _bin_of(overlaps.area)) & (2**bins - 1)).astype(np.uint8)
    return find_matches(
        truth,
        overlaps.found._replace(outside=of_found),
        _own(overlaps),
        thresholds=prepared.protocol.thresholds,
        caps=prepared.protocol.caps,
        positives=counted,
        recalls=RECALLS,
    )


def size_frame_of(matches: Matches | StoredMatches, result: CocoResult) -> "pd.DataFrame":
    """Return what `size_frame` does of matches by the bins of sides."""
    import pandas as pd

    rows = _by_ranges("coco", result, AREA, 1)
    by_side, _ = matches.precision(matches.caps[-1])
    recalls, counted = matches.recall(), matches.positives.sum(axis=0).tolist()
    names = [f"< {SIDES[0]} px", *(f"{a}-{b} px" for a, b in pairwise(SIDES)), f">= {SIDES[-1]} px"]
    for b, name in enumerate(names):
        rows.append(("side", name, counted[b], _mean(by_side[b]), _mean(recalls[:, :, b, -1])))
    rows += _by_ranges("aspect", result, ASPECT, 0)
    return pd.DataFrame(rows, columns=["bins", "size", "objects", "AP", "AR"])


def _bin_of(area: np.ndarray) -> np.ndarray:
    return np.searchsorted(np.array(SIDES, np.float64) ** 2, area, side="right")


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
