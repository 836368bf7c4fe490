"""Twins of the steps on masks: votes on them, and suppression by their overlap."""

from typing import Any

import numpy as np
import pyarrow as pa

from fusion.cuda.kernels.answer import Left, pack
from fusion.cuda.kernels.device import empty, to_device, to_host
from fusion.cuda.kernels.mask_suppress import suppress_by_masks
from fusion.cuda.kernels.mask_vote import Election, elect, write_texts
from fusion.cuda.kernels.masks import Masks, Texts, decoded, faults, states, uploaded
from fusion.cuda.resident import GpuPool, Origins, Resident, UnsuitableError
from fusion.kernels.mask_vote import Votes
from fusion.masks import MaskText, joined_masks, mask_text, mask_texts
from fusion.soft_masks import SOFT_MASK_TYPE, SoftMaps, soft_maps
from fusion.steps.mask_nms import MaskNms
from fusion.steps.vote_masks import VoteMasks
from fusion.table import DetectionTable
from fusion.table_columns import MASK_TYPE
from fusion.views import view_codes

__all__ = ["mask_bytes", "mask_nms", "masks_of", "upload_masks", "vote_masks"]

# A byte of a mask's text, the boundary of a run that it may be (4 bytes), and new texts (3).
_BYTES_PER_TEXT = 8
# Columns and boundaries of a mask that is painted.
_BYTES_PER_PAINTED = 2000


def upload_masks(origins: Origins) -> None:
    """Put the masks of all tables that are on the GPU there as well, unless they are."""
    tables = origins.tables
    if len(tables) in origins.masks:
        return
    origins.masks.clear()
    texts = [mask_text(pa.nulls(len(table), MASK_TYPE) if table.mask is None else table.mask) for table in tables]
    masked = [
        np.zeros(len(table), bool) if table.mask is None else table.mask.is_valid().to_numpy(zero_copy_only=False)
        for table in tables
    ]
    views = [view_codes(table) for table in tables]
    names = np.unique(np.concatenate([own for own, _ in views]))
    view = np.concatenate([np.searchsorted(names, own)[code] for own, code in views]).astype(np.int32)
    text, soft = MaskText._make(joined_masks(texts)), SoftMaps._make(joined_masks(list(map(_maps, tables))))
    origins.masks[len(tables)] = uploaded(text, soft, np.concatenate(masked), view)


def _maps(table: DetectionTable) -> SoftMaps:
    return soft_maps(pa.nulls(len(table), SOFT_MASK_TYPE) if table.soft_mask is None else table.soft_mask)


def masks_of(origins: Origins) -> Masks:
    """Return the masks of all tables on the GPU, by `Rows.origin`."""
    upload_masks(origins)
    number = len(origins.tables)
    if isinstance(origins.masks[number], Texts):
        origins.masks[number] = decoded(origins.masks[number])
    masks: Masks = origins.masks[number]
    return masks


def mask_bytes(table: DetectionTable) -> np.ndarray:
    """Return an upper bound of what the masks before each image of a table take, and in all: int64 [images + 1]."""
    total = np.zeros(len(table) + 1, np.int64)
    if table.mask is not None:
        offset = mask_text(table.mask).offset
        total += _BYTES_PER_TEXT * (offset - offset[0])
    if table.soft_mask is not None:
        offset = _maps(table).offset
        total += offset * np.dtype(np.float32).itemsize
        total[1:] += _BYTES_PER_PAINTED * np.cumsum(np.diff(offset) > 0)
    ends: np.ndarray = total[table.image_start]
    return ends


def vote_masks(step: VoteMasks, pool: GpuPool) -> DetectionTable:
    """Make new masks for the first input; the answer is a table, since masks are not kept on the GPU."""
    instances, *others = pool.inputs
    if not len(instances) or not any(table.optional & {"mask", "soft_mask"} for table in pool.inputs):
        raise UnsuitableError
    masks, state = _checked(pool, texts=False)
    views = int(to_host(masks.view_number).max()) + 1
    pairs = len(pool.members) * views
    if pairs * len(instances) >= 2**31:
        raise UnsuitableError
    normalized = instances.metadata.unit == "normalized"
    election = Election(len(instances), views, pairs, float(step.iou), float(step.threshold), normalized)
    weights = to_device(_weights(step, pool, others))
    counts = elect(pool.rows, pool.sorted(), masks, state, weights, election)
    if counts is None:
        raise UnsuitableError
    outcome = counts[0].outcome
    length = to_host(outcome.length)
    ends = np.cumsum(length, dtype=np.int64)
    size = int(ends[-1])
    if size >= 2**31:
        raise UnsuitableError
    text = np.zeros(0, np.uint8)
    if size:
        text = to_host(write_texts(size, counts, to_device(ends - length)))
    rows = np.arange(len(instances))
    height, width, *bounds = map(to_host, outcome[3:])
    votes = Votes(rows, to_host(outcome.masks).astype(np.int64), height, width, ends, np.stack(bounds, axis=1))
    return step.rebuilt(instances.to_table(), votes, mask_texts(text, length), rows)


def _weights(step: VoteMasks, pool: GpuPool, others: list[Resident]) -> np.ndarray:
    """Return the weight of each of the pool's members, 0 for those that bring no voter: float64."""
    if step.weights is None:
        return np.ones(len(pool.members))
    for number, table in enumerate(others, 1):
        names = (pool.labels[number],) if table.names is None else table.names
        if not step.weights.keys() >= set(names):
            raise UnsuitableError
    return np.array([step.weights.get(name, 0) for name in pool.members], np.float64)


def mask_nms(step: MaskNms, pool: GpuPool) -> Resident:
    """Suppress within each cell by the overlap of masks."""
    (masks, _), columns = _checked(pool, texts=True), pool.sorted()
    alive = suppress_by_masks(pool.rows, columns, masks, float(step.iou))
    none: Any = empty(0, np.float64)
    left = Left(alive, columns.score, none, none, none, none, empty(0, np.int16))
    return pool.kept(pack(pool.rows, columns, left))


def _checked(pool: GpuPool, *, texts: bool) -> tuple[Masks, Any]:
    """Return the masks and what each row votes with, if they go together; with `texts`, if all can be read, too."""
    masks = masks_of(pool.origins)
    soft = np.concatenate([np.full(len(table), "soft_mask" in table.optional, np.int8) for table in pool.inputs])
    state = states(pool.rows, masks, to_device(soft))
    sizes, unreadable = faults(pool.rows, masks, state, len(pool.origins.image_ids))
    if sizes or (texts and unreadable):
        raise UnsuitableError
    return masks, state
