"""Masks on the GPU: COCO's compressed run lengths, decoded to run boundaries by a thread for each mask."""

from typing import Any, NamedTuple

import numpy as np

from fusion.cuda.kernels.cells import Rows
from fusion.cuda.kernels.device import Kernel, cuda, empty, filled, formula, to_device, to_host
from fusion.formulas import runs
from fusion.masks import MaskText
from fusion.soft_masks import SoftMaps

__all__ = [
    "BAD",
    "EMPTY",
    "NONE",
    "SOFT",
    "SOME",
    "Masks",
    "Texts",
    "decoded",
    "faults",
    "shared_pixels",
    "states",
    "uploaded",
]

NONE, SOME, EMPTY, BAD, SOFT = range(5)


class Masks(NamedTuple):
    """The masks of m rows, as boundaries of their runs; see `fusion.formulas.runs`.

    Attributes:
        runs: int32 [bytes], boundaries; a text has at most one per byte.
        start: int64 [m + 1], first boundary of each, which is also the first byte of its text.
        end: int64 [m], one past its last boundary.
        state: int8 [m], whether there is no mask (`NONE`), one with pixels (`SOME`), one without (`EMPTY`), or a text
            that is none (`BAD`).
        height, width: int32 [m], pixels of the image; -1 where a row's two masks differ in that, or a soft mask's
            image has more pixels than boundaries can tell.
        area: int64 [m], pixels of the mask.
        x1, y1, x2, y2: int32 [m], its bounds.
        view_number: int32 [m], which view the row is of.
        soft: float32, values of soft masks, one map behind the other.
        soft_start: int64 [m + 1], their offsets; a row without one has an empty map.
    """

    runs: Any
    start: Any
    end: Any
    state: Any
    height: Any
    width: Any
    area: Any
    x1: Any
    y1: Any
    x2: Any
    y2: Any
    view_number: Any
    soft: Any
    soft_start: Any


class Texts(NamedTuple):
    """The masks of m rows before they are decoded.

    Attributes:
        data: uint8 [bytes], compressed texts, one behind the other.
        start: int64 [m + 1], their offsets.
        state: int8 [m], `NONE` or not.
        height, width, view_number, soft, soft_start: As of `Masks`.
    """

    data: Any
    start: Any
    state: Any
    height: Any
    width: Any
    view_number: Any
    soft: Any
    soft_start: Any


def uploaded(text: MaskText, soft: SoftMaps, masked: np.ndarray, view: np.ndarray) -> Texts:
    """Upload the masks of m rows.

    Args:
        text: The run-length masks.
        soft: The soft masks.
        masked: bool [m], which rows have a run-length mask.
        view: int32 [m], which view they are of.
    """
    either = masked & (np.diff(soft.offset) > 0)
    odd = either & ((text.height != soft.height) | (text.width != soft.width))
    odd |= soft.height.astype(np.int64) * soft.width >= 2**31
    sizes = (np.where(odd, -1, np.where(masked, *two)) for two in zip(text[2:], soft[2:], strict=True))
    state, (height, width) = to_device(masked.astype(np.int8)), (to_device(size.astype(np.int32)) for size in sizes)
    data, start, values, soft_start = map(to_device, (*text[:2], *soft[:2]))
    return Texts(data, start, state, height, width, to_device(view), values, soft_start)


def decoded(texts: Texts) -> Masks:
    """Decode masks; their `state` becomes that of the answer."""
    size = len(texts.state)
    boundaries, end, area = empty(len(texts.data), np.int32), empty(size, np.int64), empty(size, np.int64)
    x1, y1, x2, y2 = (empty(size, np.int32) for _ in range(4))
    _, start, state, height, width, *others = texts
    masks = Masks(boundaries, start, end, state, height, width, area, x1, y1, x2, y2, *others)
    decode_masks(size, texts.data, masks)
    return masks


def states(rows: Rows, masks: Masks, soft: Any) -> Any:
    """Return what each row votes with: int8 [n], the `state` of its mask, or `SOFT`.

    Args:
        rows: The rows.
        masks: Their masks.
        soft: int8 [n], 0 for rows whose soft mask was for a box that they no longer have.
    """
    size = len(rows.image)
    out = empty(size, np.int8)
    find_states(size, rows, masks, soft, out)
    return out


def faults(rows: Rows, masks: Masks, state: Any, images: int) -> tuple[bool, bool]:
    """Return whether masks of one image differ in size, and whether one cannot be read."""
    size = len(rows.image)
    first, found = filled(images, np.int32, size), filled(2, np.int8)
    first_masks(size, rows, state, first)
    find_faults(size, rows, masks, state, first, found)
    sizes, texts = to_host(found).tolist()
    return bool(sizes), bool(texts)


decode, bounds_of, shared_pixels = map(formula, (runs.decode, runs.bounds, runs.shared_pixels))


@Kernel
def decode_masks(text, masks):
    """Decode the masks of all rows whose state is not `NONE`."""
    for i in range(cuda.grid(1), len(masks.end), cuda.gridsize(1)):
        begin = masks.start[i]
        masks.end[i], masks.area[i] = begin, 0
        masks.x1[i], masks.y1[i], masks.x2[i], masks.y2[i] = 0, 0, 0, 0
        if masks.state[i] != NONE:
            height = np.int64(masks.height[i])
            count, area = decode(text, begin, masks.start[i + 1], height * masks.width[i], masks.runs[begin:])
            if count < 0:
                masks.state[i] = BAD
            else:
                masks.state[i] = SOME if area > 0 else EMPTY
                masks.end[i], masks.area[i] = begin + count, area
                x1, y1, x2, y2 = bounds_of(masks.runs, begin, begin + count, height)
                masks.x1[i], masks.y1[i], masks.x2[i], masks.y2[i] = x1, y1, x2, y2


@Kernel
def find_states(rows, masks, soft, out):
    """Write what each row votes with; a soft mask goes before another."""
    for i in range(cuda.grid(1), len(rows.image), cuda.gridsize(1)):
        own = rows.origin[i]
        state = masks.state[own]
        if soft[i] != 0 and masks.soft_start[own + 1] > masks.soft_start[own]:
            state = np.int8(SOFT)
        out[i] = state


@Kernel
def first_masks(rows, state, first):
    """Find the first row of each image that has a mask."""
    for i in range(cuda.grid(1), len(rows.image), cuda.gridsize(1)):
        if state[i] != NONE:
            cuda.atomic.min(first, rows.image[i], i)


@Kernel
def find_faults(rows, masks, state, first, found):
    """Tell if a mask has another size than the first of its image, and if one cannot be read."""
    for i in range(cuda.grid(1), len(rows.image), cuda.gridsize(1)):
        own = rows.origin[i]
        if state[i] != NONE:
            one = rows.origin[first[rows.image[i]]]
            if masks.height[own] != masks.height[one] or masks.width[own] != masks.width[one] or masks.height[own] < 0:
                found[0] = 1
            if state[i] == BAD:
                found[1] = 1
