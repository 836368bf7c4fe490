"""Ground truth on the GPU, and the AP of detections that are there as well."""

from typing import Any

import numpy as np

from evaluation.attached import category_means
from evaluation.columns import Pairs
from evaluation.cuda.kernels.lookup import locate
from evaluation.cuda.kernels.matching import MOST_THRESHOLDS, matched
from evaluation.cuda.kernels.pairing import (
    INSIDE,
    LEFT_OUT,
    OUTSIDE,
    GpuTruth,
    Limits,
    MaskPairs,
    TruthCells,
    box_pairs,
    mask_pairs,
)
from evaluation.cuda.kernels.precision import events_of, interpolated
from evaluation.cuda.lookup import keys_of, lookup_of
from evaluation.cuda.open_images import OpenImagesOnGpu
from evaluation.formulas.matching import IGNORED, LOST, SHARED
from evaluation.kernels.precision import needed
from evaluation.open_images import PreparedOpenImages
from evaluation.prepared import Prepared
from evaluation.protocol import AREA_RANGES, RECALLS, Lvis
from evaluation.truth_columns import places_of
from fusion.cuda.kernels.cells import GpuColumns, Rows, sort_rows
from fusion.cuda.kernels.device import empty, filled, to_device, to_host
from fusion.cuda.kernels.rescore import flag_best
from fusion.cuda.resident import Origins, Resident

__all__ = ["PreparedOnGpu", "prepare_on_gpu"]


def prepare_on_gpu(
    prepared: Prepared | PreparedOpenImages, origins: Origins
) -> "PreparedOnGpu | OpenImagesOnGpu | None":
    """Put ground truth on the GPU.

    Args:
        prepared: Of any protocol.
        origins: What the answers refer to; their tables are on the GPU already, and no step gives rows a new category.

    Returns:
        None where it cannot be done: an image is not in the ground truth; masks are measured, and a detection has none;
        sizes of images are not known that boxes have to be scaled by; categories are pooled; LVIS's fixed AP or more
        than 62 thresholds are asked for.

    Raises:
        InputError: If a mask cannot be read.
    """
    protocol, truth = prepared.protocol, prepared.ground_truth
    image = places_of(truth.image_id, origins.image_ids)
    if not len(image) or np.any(image < 0):
        return None
    if protocol.iou_type == "segm" and any(table.mask is None or table.mask.null_count for table in origins.tables):
        return None
    if isinstance(prepared, PreparedOpenImages):
        scaled = any(table.metadata.unit != truth.unit for table in origins.tables) and protocol.iou_type == "bbox"
        if scaled and np.any((truth.width[image] <= 0) | (truth.height[image] <= 0)):
            return None
        return OpenImagesOnGpu(prepared, origins)
    if any(table.metadata.unit != "pixel" for table in origins.tables):
        return None
    if not prepared.protocol.use_cats or len(prepared.protocol.thresholds) > MOST_THRESHOLDS:
        return None
    if isinstance(prepared.protocol, Lvis) and prepared.protocol.fixed_ap:
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
            federated=prepared.federated is not None,
            most=AREA_RANGES["all"][1],
        )
        self._thresholds, self._counted = to_device(thresholds), counted
        self._counted_here = to_device(counted.astype(np.int32))
        self._need = to_device(np.array(need, np.int32).ravel())
        keys = keys_of(truth.start, truth.category, len(positives))
        known, partial = _labelled(prepared, keys)
        self._lookup = lookup_of(known, prepared.ground_truth, positives > 0, origins)
        begin, end = np.searchsorted(keys, known), np.searchsorted(keys, known, side="right")
        self._cells = TruthCells(
            to_device(begin.astype(np.int32)), to_device(end.astype(np.int32)), to_device(partial.astype(np.int8))
        )
        flags = truth.crowd * SHARED + truth.unmatchable * LOST + (truth.outside & 1) * IGNORED
        corners = (truth.x1, truth.y1, truth.x2, truth.y2, truth.box_area)
        self._truth = GpuTruth._make(map(to_device, (*corners, flags.astype(np.uint8))))
        self._masks = None if prepared.masks is None else self._pairs_of_masks()

    def average_precision_per_category(self, table: Resident) -> np.ndarray:
        """Return the AP of each category of an answer on the GPU, float64 [k]; NaN without ground truth that counts.

        It equals `Prepared.average_precision_per_category` of the answer's table to the last bit.

        Args:
            table: An answer of the session.
        """
        figures = np.full(len(self._prepared.category_ids), np.nan)
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
        categories = len(self._prepared.category_ids)
        located = locate(rows, columns, self._lookup, categories, limits.federated)
        if self._masks is None:
            pairs = box_pairs(rows, located, self._cells, self._truth, limits)
        else:
            known = self._masks
            if table.metadata.boxes != "from_masks":
                known = known._replace(state=empty(0, np.int8))
            pairs = mask_pairs(rows, located, self._cells, known, limits)
        hits, wrong = matched(columns, pairs, self._truth.flags, self._thresholds)
        events = events_of(located, hits, wrong, thresholds, categories)
        if not len(events.before):
            return None
        return interpolated(events, hits, wrong, self._counted_here, self._need, thresholds, recalls)

    def _sorted(self, rows: Rows) -> GpuColumns:
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


def _labelled(prepared: Prepared, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the cells of which something is known, and whether they are not fully annotated."""
    known, federated, count = np.unique(keys), prepared.federated, len(prepared.category_ids)
    if federated is None:
        return known, np.zeros(len(known), bool)
    negative, partial = (keys_of(*labels, count) for labels in (federated.negative, federated.partial))
    known = np.union1d(known, negative)
    return known, np.isin(known, partial)
