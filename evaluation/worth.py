"""What each detection is worth: how often it is right, over the thresholds of a protocol."""

from typing import NamedTuple

import numpy as np

from evaluation.ground_truth import GroundTruth
from evaluation.kernels.best_match import match_cells
from evaluation.kernels.open_images import LEFT_OUT, TRUE
from evaluation.open_images import PreparedOpenImages
from evaluation.prepared import Prepared
from evaluation.protocol import OpenImages
from evaluation.truth_columns import places_of
from evaluation.units import in_unit
from fusion.errors import InputError, option
from fusion.kernels.jit import chunks, run
from fusion.pool import pool_tables
from fusion.table import DetectionTable

__all__ = ["Worth", "expected_iou", "mean_precision", "pair_objects"]

# IoU from which a detection is taken to mean an object
_FOUND = 0.3


class Worth(NamedTuple):
    """Detections and what they are worth; n detections.

    Attributes:
        score: float64 [n].
        worth: float64 [n], in [0, 1]; NaN where it is neither right nor wrong.
        image_id: [n] int64, or object array of str.
        category_id: int32 [n].
    """

    score: np.ndarray
    worth: np.ndarray
    image_id: np.ndarray
    category_id: np.ndarray

    def known(self) -> "Worth":
        """Return those that are right or wrong."""
        rows = np.flatnonzero(~np.isnan(self.worth))
        return Worth._make(column[rows] for column in self)


def mean_precision(table: DetectionTable, prepared: Prepared | PreparedOpenImages, at: float | None = None) -> Worth:
    """Say of each detection at what share of the protocol's IoU thresholds it is a true positive.

    Detections are matched by the protocol's own rule, best score first, so that a duplicate is a false positive. Over
    detections of one score it is the mean of the precisions at these thresholds, of which AP is made.

    Args:
        table: Detections.
        prepared: Ground truth and protocol; thresholds of LVIS and COCO are .50:.05:.95, Open Images has one.
        at: One of the protocol's thresholds, to look at it alone.

    Returns:
        In order of the table. NaN for those that the protocol ignores at every threshold or leaves out: in a crowd
        region, of a category that is not annotated in the image, beyond the limit of detections per image.

    Raises:
        InputError: As `prepared.evaluate`, and if `at` is none of the thresholds.
    """
    chosen = _chosen(prepared, at)
    if isinstance(prepared, PreparedOpenImages):
        worth = _by_open_images(table, prepared)
    else:
        worth = _by_coco(table, prepared, chosen)
    return Worth(table.score.astype(np.float64), worth, table.image_id, table.category_id)


def _chosen(prepared: Prepared | PreparedOpenImages, at: float | None) -> np.ndarray:
    """Return which of the protocol's thresholds count: bool [t]."""
    protocol = prepared.protocol
    thresholds = np.array([protocol.iou_threshold]) if isinstance(protocol, OpenImages) else protocol.thresholds
    chosen: np.ndarray = np.isclose(thresholds, at) if at is not None else np.ones(len(thresholds), bool)
    if not chosen.any():
        told = ", ".join(f"{threshold:g}" for threshold in thresholds)
        raise InputError(f"option {option('target')}", f"expected a threshold of the protocol ({told}), got {at:g}")
    return chosen


def _by_coco(table: DetectionTable, prepared: Prepared, chosen: np.ndarray) -> np.ndarray:
    matches = prepared.evaluate(table).matches
    right, judged = np.zeros(len(table)), np.zeros(len(table))
    first = 0
    for block, thresholds in zip(matches.blocks, matches.thresholds, strict=True):
        # of objects of all sizes, the first area range
        places = np.flatnonzero(chosen[first : first + thresholds])
        bits = np.uint64(sum(1 << int(place) for place in places))
        true, spared = block.true & bits, block.spared & bits
        hits = np.bitwise_count(true)
        right[block.row] += hits
        # one that is outside the range (of a category that is not exhaustively annotated, in LVIS) is never wrong
        counted = len(places) - np.bitwise_count(spared & ~true).astype(np.int64)
        judged[block.row] += np.where(block.outside & 1, hits, counted)
        first += thresholds
    return np.where(judged > 0, right / np.maximum(judged, 1), np.nan)


def _by_open_images(table: DetectionTable, prepared: PreparedOpenImages) -> np.ndarray:
    rows, outcome = prepared.outcomes(table)
    worth = np.full(len(table), np.nan)
    judged = outcome != LEFT_OUT
    worth[rows[judged]] = outcome[judged] == TRUE
    return worth


def expected_iou(table: DetectionTable, ground_truth: GroundTruth) -> Worth:
    """Say of each detection how well it fits the object that it finds.

    Args:
        table: Detections.
        ground_truth: The objects.

    Returns:
        In order of the table: the IoU with its object, 0 for one that finds none, NaN for one in a crowd region.

    Raises:
        InputError: As `pair_objects`.
    """
    iou, _ = pair_objects(table, ground_truth, _FOUND)
    return Worth(table.score.astype(np.float64), iou, table.image_id, table.category_id)


def pair_objects(table: DetectionTable, ground_truth: GroundTruth, least: float) -> tuple[np.ndarray, np.ndarray]:
    """Pair detections with objects of their category one to one, best score first.

    Args:
        table: Detections; images and categories that the ground truth does not have match nothing.
        ground_truth: The objects; crowd regions are not matched.
        least: IoU from which a detection is taken to mean an object.

    Returns:
        For each row of the table float64 [n], the IoU with its object, 0 without one, NaN for one in a crowd region;
        and int64 [n], the object by its place among the annotations, -1 without one.

    Raises:
        InputError: If the boxes are in another unit than the ground truth's, and the size of an image is not known.
    """
    if len(table):
        ground_truth = in_unit(ground_truth, table.metadata.unit)
    pool = pool_tables(table)
    columns = pool.columns
    count = len(ground_truth.category_id)
    key = ground_truth.image.astype(np.int64) * count + ground_truth.category
    order = np.argsort(key, kind="stable")
    corners = tuple(np.ascontiguousarray(side) for side in ground_truth.corners[order].T)
    truth = (*corners, ground_truth.crowd[order], np.ones(len(order), dtype=np.bool_))
    image = places_of(ground_truth.image_id, pool.image_ids)[columns.image]
    category = places_of(ground_truth.category_id, pool.category_ids)[columns.category]
    cell = np.where((image >= 0) & (category >= 0), image * count + category, -1)
    first, last = (np.searchsorted(key[order], cell, side) for side in ("left", "right"))
    iou, place = np.empty(len(columns.score)), np.empty(len(columns.score), np.int64)
    run(
        lambda low, high: match_cells(columns, low, high, truth, first, last, least, iou, place),
        chunks(columns.start),
    )
    by_row = np.argsort(columns.row)
    annotation = np.append(order, -1)[place]
    return iou[by_row], annotation[by_row]
