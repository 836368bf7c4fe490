"""Ground truth sorted for the Open Images protocol."""

from typing import NamedTuple

import numpy as np

from evaluation.columns import MaskRuns
from evaluation.ground_truth import GroundTruth, Labels
from evaluation.pairs import decode_masks
from fusion.masks import mask_array, mask_text, taken

__all__ = ["OpenImagesTruth", "Positives", "SortedTruth", "no_labels", "sort_truth"]


class OpenImagesTruth(NamedTuple):
    """Ground truth sorted by (image, category, section, order of the source); g boxes in c cells.

    A cell has four sections: objects that count, group-of regions that count, and, for masks, objects
    and regions without a mask, which only make detections be ignored.

    Attributes:
        start: int64 [images + 1], offsets of the images in the cells.
        category: int32 [c], dense index, ascending within an image.
        bound: int32 [c + 1, 5], offsets of the four sections of each cell and its end; of the last row,
            which is no cell, only the first is used.
        x1: float64 [g], left.
        y1: float64 [g], top.
        x2: float64 [g], right.
        y2: float64 [g], bottom.
        area: float64 [g], of the corners.
        mask: int32 [g], place among the decoded masks; empty for boxes.
    """

    start: np.ndarray
    category: np.ndarray
    bound: np.ndarray
    x1: np.ndarray
    y1: np.ndarray
    x2: np.ndarray
    y2: np.ndarray
    area: np.ndarray
    mask: np.ndarray


class Positives(NamedTuple):
    """Ground truth that counts, by category, images ascending; p pairs of category and image.

    Attributes:
        start: int64 [k + 1], offsets of the categories.
        image: int32 [p].
        counts: int64 [p, 2], objects and group-of regions.
    """

    start: np.ndarray
    image: np.ndarray
    counts: np.ndarray


class SortedTruth(NamedTuple):
    """What `sort_truth` returns.

    Attributes:
        truth: What the kernels see.
        masks: Decoded masks; None for boxes.
        image: int32 [g], image of each box of `truth`.
        category: int32 [g].
        positives: What counts.
    """

    truth: OpenImagesTruth
    masks: MaskRuns | None
    image: np.ndarray
    category: np.ndarray
    positives: Positives


def sort_truth(ground_truth: GroundTruth, *, with_masks: bool) -> SortedTruth:
    """Sort ground truth and decode its masks.

    Args:
        ground_truth: Of Open Images.
        with_masks: Whether masks decide; boxes without one, or with an empty one, do not count then.

    Raises:
        InputError: If a mask cannot be read.
    """
    image, category = ground_truth.image, ground_truth.category
    masks, place, counted = None, np.zeros(0, np.int32), np.ones(len(image), dtype=bool)
    if with_masks:
        masks, place = _decoded(ground_truth)
        counted = place >= 0
    section = ground_truth.crowd + 2 * ~counted
    order = np.lexsort((section, category, image))
    image, category, section, counted = image[order], category[order], section[order], counted[order]
    x1, y1, x2, y2 = (np.ascontiguousarray(side) for side in ground_truth.corners[order].T)
    heads = _heads(image, category)
    cell = np.repeat(np.arange(len(heads)), np.diff(heads, append=len(image)))
    sizes = np.bincount(cell * 4 + section, minlength=4 * len(heads)).reshape(-1, 4)
    bound = np.full((len(heads) + 1, 5), len(image), np.int32)
    bound[:-1, 0] = heads
    bound[:-1, 1:] = heads[:, None] + np.cumsum(sizes, axis=1)
    truth = OpenImagesTruth(
        np.searchsorted(image[heads], np.arange(len(ground_truth.image_id) + 1)).astype(np.int64),
        category[heads],
        bound,
        x1,
        y1,
        x2,
        y2,
        (y2 - y1) * (x2 - x1),
        place[order] if with_masks else place,
    )
    return SortedTruth(truth, masks, image, category, _positives(ground_truth, image[heads], category[heads], sizes))


def _heads(image: np.ndarray, category: np.ndarray) -> np.ndarray:
    if not len(image):
        return np.zeros(0, np.int64)
    return np.flatnonzero(np.concatenate(([True], (image[1:] != image[:-1]) | (category[1:] != category[:-1]))))


def _positives(ground_truth: GroundTruth, image: np.ndarray, category: np.ndarray, sizes: np.ndarray) -> Positives:
    keep = np.flatnonzero(sizes[:, 0] + sizes[:, 1] > 0)
    keep = keep[np.argsort(category[keep], kind="stable")]
    start = np.searchsorted(category[keep], np.arange(len(ground_truth.category_id) + 1)).astype(np.int64)
    return Positives(start, image[keep], sizes[keep, :2].astype(np.int64))


def _decoded(ground_truth: GroundTruth) -> tuple[MaskRuns, np.ndarray]:
    """Return the decoded masks, and int32 [a] the place of each annotation's; -1 where it has none or an empty one."""
    given = ground_truth.masks
    if given is None:
        given = mask_array([0] * len(ground_truth), [0] * len(ground_truth), [None] * len(ground_truth))
    rows = np.flatnonzero(given.is_valid().to_numpy(zero_copy_only=False))
    masks = decode_masks(mask_text(taken(given, rows)), f"{ground_truth.source}, annotation", rows)
    place = np.full(len(ground_truth), -1, np.int32)
    place[rows] = np.where(masks.area > 0, np.arange(len(rows)), -1)
    return masks, place


def no_labels(images: int) -> Labels:
    """Return labels without any."""
    return Labels(np.zeros(images + 1, np.int64), np.zeros(0, np.int32))
