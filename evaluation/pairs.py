"""Finding the detections and ground truth that overlap enough to match."""

import numpy as np

from evaluation.columns import Found, MaskRuns, Pairs, Truth
from evaluation.kernels.overlap import box_pairs, mask_pairs
from fusion.errors import InputError
from fusion.kernels.jit import chunks, run
from fusion.kernels.runs import decode_all
from fusion.masks import MaskText

__all__ = ["decode_masks", "find_box_pairs", "find_mask_pairs", "iou_of_corners"]


def iou_of_corners(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the IoU of boxes x1, y1, x2, y2 in the last axis, whose others broadcast; 0 where neither has an area."""
    sides = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    shared = np.prod(np.maximum(sides, 0), axis=-1)
    areas = np.prod(a[..., 2:] - a[..., :2], axis=-1) + np.prod(b[..., 2:] - b[..., :2], axis=-1)
    return np.asarray(shared / np.maximum(areas - shared, 1e-12))


def find_box_pairs(truth: Truth, found: Found, categories: int, least: float) -> Pairs:
    """Find all pairs of one cell with a box IoU of at least `least`, as pycocotools computes it.

    Args:
        truth: Ground truth.
        found: Detections of the same images.
        categories: Number of dense categories.
        least: Above 0.

    Returns:
        The pairs.
    """
    count = np.zeros(len(found.score), np.int32)

    def task(low: int, high: int) -> tuple[np.ndarray, np.ndarray]:
        return box_pairs(low, high, truth, found, categories, least, count)  # type: ignore[no-any-return]

    return _joined(run(task, chunks(found.start)), count)


def find_mask_pairs(
    truth: Truth, masks: MaskRuns, found: Found, text: MaskText, categories: int, least: float, *, areas: bool
) -> tuple[Pairs, np.ndarray, int]:
    """Find all pairs of one cell with a mask IoU of at least `least`; each text is decoded once.

    Args:
        truth: Ground truth.
        masks: Its masks.
        found: Detections of the same images.
        text: Their masks.
        categories: Number of dense categories.
        least: Above 0.
        areas: Whether the areas of the detections are wanted; otherwise only masks that share a cell
            with ground truth are decoded.

    Returns:
        The pairs, int64 [n] areas in pixels (empty unless wanted), and the number of detections whose
        mask has another size than ground truth of its cell; these match nothing.

    Raises:
        InputError: If a text is no mask of its size; the row is named.
    """
    count = np.zeros(len(found.score), np.int32)
    area = np.zeros(len(found.score) if areas else 0, np.int64)

    def task(low: int, high: int) -> tuple[np.ndarray, np.ndarray, int, int]:
        return mask_pairs(low, high, truth, masks, found, text, categories, least, count, area)  # type: ignore[no-any-return]

    parts = run(task, chunks(found.start, 16384))
    for *_, wrong in parts:
        if wrong >= 0:
            raise _unreadable("detections, row", wrong, text, wrong)
    return _joined([part[:2] for part in parts], count), area, sum(part[2] for part in parts)


def decode_masks(text: MaskText, where: str, rows: np.ndarray) -> MaskRuns:
    """Decode all masks of the ground truth.

    Args:
        text: The masks.
        where: What to call them in an error message.
        rows: Their numbers in the source, for an error message.

    Raises:
        InputError: If a text is no mask of its size.
    """
    n = len(text.height)
    start = np.stack([text.offset[:-1], text.offset[:-1]], axis=1)
    runs = np.empty(len(text.data), np.int32)
    area = np.zeros(n, np.int64)
    box = np.zeros((n, 4), np.int64)

    def task(low: int, high: int) -> int:
        return int(decode_all(low, high, *text, runs, start, area, box))

    for wrong in run(task, chunks(text.offset, 1 << 22)):
        if wrong >= 0:
            raise _unreadable(where, wrong, text, int(rows[wrong]))
    return MaskRuns(runs, start, area, box, text.height, text.width)


def _joined(parts: list[tuple[np.ndarray, np.ndarray]], count: np.ndarray) -> Pairs:
    start = np.zeros(len(count) + 1, np.int64)
    np.cumsum(count, out=start[1:])
    truth = np.concatenate([np.zeros(0, np.int32), *(part[0] for part in parts)])
    return Pairs(start, truth, np.concatenate([np.zeros(0), *(part[1] for part in parts)]))


def _unreadable(where: str, row: int, text: MaskText, number: int) -> InputError:
    counts = bytes(text.data[text.offset[row] : text.offset[row + 1]][:40])
    return InputError(
        f"{where} {number}, field 'mask'",
        f"expected compressed COCO RLE of {text.height[row]} x {text.width[row]} pixels, got {counts!r}",
        "Write the mask again with its own size",
    )
