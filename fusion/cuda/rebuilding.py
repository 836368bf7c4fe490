"""Twins of the steps that make rows which no input has: copies in other categories, boxes with other scores."""

import msgspec
import numpy as np

from fusion.cuda.kernels.cells import sort_rows, used_categories
from fusion.cuda.kernels.device import filled, to_device
from fusion.cuda.kernels.expand import Reach, expand
from fusion.cuda.kernels.partners import pairs
from fusion.cuda.resident import GpuPool, Resident, UnsuitableError
from fusion.parents import ancestors_of
from fusion.steps.dropout import Dropout
from fusion.steps.expand_hierarchy import ExpandHierarchy

__all__ = ["dropout", "expand_hierarchy"]


def expand_hierarchy(step: ExpandHierarchy, pool: GpuPool) -> Resident:
    """Copy rows to the ancestors of their category."""
    ids, rows = pool.origins.category_ids, pool.rows
    ancestors = ancestors_of(step.parents)
    used = set(ids[used_categories(rows, len(ids))].tolist())
    kinds = [
        (category, *ancestors[category]) if category in used & ancestors.keys() else () for category in ids.tolist()
    ]
    flat = np.array([category for row in kinds for category in row], np.int32)
    if not used <= ancestors.keys() or not np.isin(flat, ids).all():
        raise UnsuitableError
    start = np.concatenate(([0], np.cumsum([len(row) for row in kinds]))).astype(np.int32)
    reach = Reach(to_device(start), to_device(np.searchsorted(ids, flat).astype(np.int32)))
    by_x = None
    if not step.keep_all:
        by_x = sort_rows(rows, rows.x, filled(len(rows.image), np.int8, 1), len(pool.origins.image_ids), 1)
    return pool.kept(expand(rows, reach, by_x), own_scores=True)


def dropout(step: Dropout, pool: GpuPool) -> Resident:
    """Pair the boxes of two inputs."""
    if len(pool.inputs) != 2 or not all(map(len, pool.inputs)):
        raise UnsuitableError
    left, right = pool.inputs
    boxes = right if step.part == "scores" else left
    metadata = msgspec.structs.replace(boxes.metadata, member=pool.labels[0], made_by={})
    return Resident(
        pool.origins,
        pairs(pool.rows, left.rows, pool.sorted(), float(step.iou), step.part),
        left.names,
        (np.dtype(np.float64), *boxes.kinds[1:]),
        boxes.optional - {"votes"},
        metadata,
    )
