"""Ground truth on the GPU, and the AP of detections that are there as well."""

from typing import Any

import numpy as np

from evaluation.attached import category_means
from evaluation.columns import Pairs
from evaluation.cuda.kernels.matching import MOST_THRESHOLDS, matched
from evaluation.cuda.kernels.pairing import (
    IGNORED,
    INSIDE,
    LEFT_OUT,
    LOST,
    OUTSIDE,
    SHARED,
    Limits,
    MaskPairs,
    Truth,
    TruthCells,
    box_pairs,
    cells_with_truth,
    mask_pairs,
)
from evaluation.cuda.kernels.precision import events_of, interpolated
from evaluation.ground_truth import Labels, places_of
from evaluation.kernels.precision import needed
from evaluation.prepared import Prepared
from evaluation.protocol import AREA_RANGES, RECALLS, Lvis
from fusion.cuda.kernels.cells import Columns, Rows, sort_rows
from fusion.cuda.kernels.device import empty, filled, to_device, to_host
from fusion.cuda.kernels.rescore import flag_best
from fusion.cuda.resident import Origins, Resident

__all__ = ["PreparedOnGpu", "prepare_on_gpu"]


def prepare_on_gpu(prepared: Prepared, origins: Origins) -> "PreparedOnGpu | None":
    """Put ground truth on the GPU.

    Args:
        prepared: COCO or LVIS, boxes or masks.
        origins: What the answers refer to; their tables are on the GPU already, and no step gives rows a new category.

    Returns:
        None where it cannot be done: categories are pooled, or LVIS's fixed AP or more than 62 thresholds are asked
        for; an image is not in the ground truth; a detection has no mask, and masks are measured.

    Raises:
        InputError: If a mask cannot be read.
    """
    protocol = prepared.protocol
    if not protocol.use_cats or len(protocol.thresholds) > MOST_THRESHOLDS:
        return None
    if isinstance(protocol, Lvis) and protocol.fixed_ap:
        return None
    if np.any(places_of(prepared.ground_truth.image_id, origins.image_ids) < 0):
        return None
    if prepared.masks is not None and any(
        table.mask is None or table.mask.null_count or table.metadata.unit != "pixel" for table in origins.tables
    ):
        return None
    return PreparedOnGpu(prepared, origins)


class PreparedOnGpu:
    """Ground truth on the GPU; see `prepare_on_gpu`."""

    def __init__(self, prepared: Prepared, origins: Origins) -> None:
        self._prepared, self._origins = prepared, origins
        truth, protocol = prepared.truth, prepared.protocol
        thresholds = np.minimum(protocol.thresholds, 1 - 1e-10)
        positives = prepared.positives[:, 0]
        counted = np.flatnonzero(positives > 0)
        need = [[max(needed(recall, count), 1) for count in positives[counted].tolist()] for recall in RECALLS]
        self._limits = Limits(
            least=float(thresholds[0]),
            cap=int(protocol.caps[-1]),
            categories=len(positives),
            federated=prepared.federated is not None,
            most=AREA_RANGES["all"][1],
        )
        self._thresholds, self._counted = to_device(thresholds), counted
        self._counted_here = to_device(counted.astype(np.int32))
        self._need = to_device(np.array(need, np.int32).ravel())
        self._cells = _truth_cells(prepared, origins)
        flags = truth.crowd * SHARED + truth.unmatchable * LOST + (truth.outside & 1) * IGNORED
        corners = (truth.x1, truth.y1, truth.x2, truth.y2, truth.box_area)
        self._truth = Truth._make(map(to_device, (*corners, flags.astype(np.uint8))))
        self._masks = None if prepared.masks is None else self._pairs_of_masks()

    def average_precision_per_category(self, table: Resident) -> np.ndarray:
        """Return the AP of each category of an answer on the GPU, float64 [k]; NaN without ground truth that counts.

        It equals `Prepared.average_precision_per_category` of the answer's table to the last bit.

        Args:
            table: An answer of the session, in pixels.

        Raises:
            InputError: If its boxes are normalized.
        """
        if table.metadata.unit != "pixel":
            return self._prepared.average_precision_per_category(table.to_table())
        figures = np.full(self._limits.categories, np.nan)
        shape = len(self._thresholds), len(RECALLS), len(self._counted)
        if len(self._counted):
            points = self._precision(table, shape) if len(table) else None
            precision = np.zeros(shape) if points is None else to_host(points).reshape(shape)
            figures[self._counted] = category_means(precision, len(figures))
        return figures

    def _precision(self, table: Resident, shape: tuple[int, ...]) -> Any:
        """Return interpolated precision on the GPU; None where nothing is right."""
        thresholds, recalls, _ = shape
        rows, limits = table.rows, self._limits
        columns = self._sorted(rows)
        category, place = cells_with_truth(rows, columns, self._cells, limits)
        if self._masks is None:
            pairs = box_pairs(rows, columns, category, place, self._cells, self._truth, limits)
        else:
            known = self._masks
            if table.metadata.boxes != "from_masks":
                known = known._replace(state=empty(0, np.int8))
            pairs = mask_pairs(rows, columns, category, place, self._cells, known, limits)
        hits, wrong = matched(columns, pairs, self._truth.flags, self._thresholds)
        events = events_of(columns, category, hits, wrong, thresholds, limits.categories)
        if not len(events.before):
            return None
        return interpolated(events, hits, wrong, self._counted_here, self._need, thresholds, recalls)

    def _sorted(self, rows: Rows) -> Columns:
        """Sort rows into cells; without those that LVIS cuts from an image, whatever their category."""
        size, images = len(rows.image), len(self._origins.image_ids)
        used = filled(size, np.int8, 1)
        if isinstance(self._prepared.protocol, Lvis):
            columns = sort_rows(rows, rows.score, used, images, 1)
            flag_best(size, columns, self._prepared.protocol.max_dets, used)
        return sort_rows(rows, rows.score, used, images, len(self._origins.category_ids))

    def _pairs_of_masks(self) -> MaskPairs:
        """Find what the masks of the session's tables match, on the CPU; the annotations that count come first."""
        parts = [self._prepared.paired(table.with_metadata(boxes="from_masks")) for table in self._origins.tables]
        ignored = self._prepared.truth.outside & 1
        start, truth, iou = [np.zeros(1, np.int64)], [], []
        for part in parts:
            pairs: Pairs = part.pairs
            row = np.repeat(np.arange(len(pairs.start) - 1), np.diff(pairs.start))
            order = np.lexsort((ignored[pairs.truth], row))
            start.append(start[-1][-1] + pairs.start[1:])
            truth.append(pairs.truth[order])
            iou.append(pairs.iou[order])
        state = [
            np.where(p.found.category < 0, LEFT_OUT, np.where(p.found.outside & 1, OUTSIDE, INSIDE)) for p in parts
        ]
        columns = np.concatenate(start).astype(np.int32), np.concatenate(truth), np.concatenate(iou)
        return MaskPairs._make(map(to_device, (*columns, np.concatenate(state).astype(np.int8))))


def _truth_cells(prepared: Prepared, origins: Origins) -> TruthCells:
    """List the cells of which something is known."""
    truth, count = prepared.truth, len(prepared.category_ids)
    keys = _keys(Labels(truth.start, truth.category), count)
    partial = np.zeros(0, np.int64)
    known = np.unique(keys)
    if prepared.federated is not None:
        known = np.union1d(known, _keys(prepared.federated.negative, count))
        partial = _keys(prepared.federated.partial, count)
    category = places_of(prepared.category_ids, origins.category_ids)
    category[category >= 0] = np.where(prepared.positives[category[category >= 0], 0] > 0, category[category >= 0], -1)
    return TruthCells(
        key=to_device(known),
        begin=to_device(np.searchsorted(keys, known).astype(np.int32)),
        end=to_device(np.searchsorted(keys, known, side="right").astype(np.int32)),
        partial=to_device(np.isin(known, partial).astype(np.int8)),
        image=to_device(places_of(prepared.ground_truth.image_id, origins.image_ids).astype(np.int32)),
        category=to_device(category.astype(np.int32)),
    )


def _keys(labels: Labels, categories: int) -> np.ndarray:
    """Return the key of each label, int64."""
    image = np.repeat(np.arange(len(labels.start) - 1), np.diff(labels.start))
    return np.asarray(image * np.int64(categories) + labels.category)
