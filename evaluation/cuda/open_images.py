"""Ground truth of Open Images on the GPU, and the AP of detections that are there as well."""

from typing import Any

import numpy as np

from evaluation.cuda.kernels.lookup import locate
from evaluation.cuda.kernels.open_images import (
    GpuEntries,
    Sections,
    TruthBoxes,
    UnitScale,
    entries_of,
    look_by_boxes,
    look_by_masks,
    settle,
    usable,
)
from evaluation.cuda.lookup import keys_of, lookup_of
from evaluation.open_images import PreparedOpenImages
from evaluation.open_images_curve import average_precision
from evaluation.truth_columns import places_of
from fusion.cuda.kernels.cells import sort_rows
from fusion.cuda.kernels.device import empty, to_device, to_host
from fusion.cuda.resident import Origins, Resident

__all__ = ["OpenImagesOnGpu"]


class OpenImagesOnGpu:
    """Ground truth of Open Images on the GPU; see `evaluation.cuda.prepared.prepare_on_gpu`."""

    def __init__(self, prepared: PreparedOpenImages, origins: Origins) -> None:
        self._prepared, self._origins = prepared, origins
        truth, ground_truth = prepared.sorted_truth.truth, prepared.ground_truth
        count = len(prepared.positives)
        keys = keys_of(truth.start, truth.category, count)
        labels = [keys_of(*one, count) for one in (prepared.positive, prepared.negative)]
        known = np.unique(np.concatenate([keys, *labels]))
        cell = np.full(len(known), -1, np.int32)
        cell[np.searchsorted(known, keys)] = np.arange(len(keys))
        self._lookup = lookup_of(known, ground_truth, prepared.positives > 0, origins)
        self._sections = Sections(to_device(cell), to_device(truth.bound.ravel()))
        self._boxes = TruthBoxes._make(map(to_device, (truth.x1, truth.y1, truth.x2, truth.y2, truth.area)))
        image = places_of(ground_truth.image_id, origins.image_ids)
        self._sides = [to_device(side[image].astype(np.float64)) for side in (ground_truth.width, ground_truth.height)]
        self._masks = None
        if prepared.sorted_truth.masks is not None:
            best, evaluated = zip(*map(prepared.masks_look_at, origins.tables), strict=True)
            flags = np.concatenate(evaluated).astype(np.int8)
            self._masks = to_device(np.concatenate(best, axis=1).ravel()), to_device(flags)

    def average_precision_per_category(self, table: Resident) -> np.ndarray:
        """Return the AP of each category of an answer on the GPU, float64 [k]; NaN without ground truth.

        It equals that of `PreparedOpenImages.evaluate` of the answer's table to the last bit.

        Args:
            table: An answer of the session.
        """
        prepared = self._prepared
        count, weight = len(prepared.positives), float(prepared.protocol.group_of_weight)
        place, label, between = np.zeros(count + 1, np.int64), np.zeros(0), np.zeros(count, np.int64)
        entries = self._entries(table) if len(table) else None
        if entries is not None:
            place, between = (to_host(column).astype(np.int64) for column in (entries.start, entries.between))
            label = np.where(to_host(entries.region), weight, 1.0)
        figures, *_ = average_precision(place, label, between, prepared.positives)
        return figures

    def _entries(self, table: Resident) -> GpuEntries | None:
        """Match the rows; None where none is evaluated."""
        rows, protocol, scale = table.rows, self._prepared.protocol, self._scale(table)
        none: Any = empty(0, np.int8)
        given = none if self._masks is None else self._masks[1]
        used = usable(rows, given, scale)
        columns = sort_rows(rows, rows.score, used, len(self._origins.image_ids), len(self._origins.category_ids))
        if not len(columns.row):
            return None
        count = len(self._prepared.positives)
        located = locate(rows, columns, self._lookup, count, True)
        if self._masks is None:
            best = look_by_boxes(rows, located, self._sections, self._boxes, scale, float(protocol.iou_threshold))
        else:
            best = look_by_masks(rows, columns, self._masks[0])
        outcome, absorbed = settle(located, best, protocol.max_dets, len(self._boxes.x1))
        return entries_of(located, self._sections, outcome, absorbed, count, protocol.group_of_weight > 0)

    def _scale(self, table: Resident) -> UnitScale:
        times = 0
        if table.metadata.unit != self._prepared.ground_truth.unit:
            times = 1 if table.metadata.unit == "normalized" else -1
        return UnitScale(times, *self._sides)
