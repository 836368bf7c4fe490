"""Masks of ground truth and of detections as they are compared."""

import numpy as np
import pyarrow as pa

from evaluation.columns import Found
from evaluation.ground_truth import GroundTruth
from evaluation.masks import box_masks
from fusion.arrow_arrays import numpy_array
from fusion.errors import InputError, option
from fusion.masks import MaskText, mask_array, mask_text, taken

__all__ = ["truth_text", "with_boxes"]


def truth_text(ground_truth: GroundTruth, order: np.ndarray) -> MaskText:
    """Return the masks of annotations in an order.

    Raises:
        InputError: If one has none.
    """
    masks = ground_truth.masks
    missing = len(ground_truth) if masks is None else masks.null_count
    if missing:
        raise InputError(
            ground_truth.source,
            f"{missing} of {len(ground_truth)} annotations have no segmentation, which "
            f"{option('iou_type', 'segm')} needs",
            f"Evaluate boxes with {option('iou_type', 'bbox')}",
        )
    if masks is None:
        return mask_text(mask_array([], [], []))
    return mask_text(taken(masks, order))


def with_boxes(mask: pa.StructArray | None, found: Found, ground_truth: GroundTruth) -> tuple[pa.StructArray, int]:
    """Give detections without a mask their box as mask, as pycocotools does.

    Args:
        mask: Of each detection, null where it has none; None where no detection has one.
        found: The detections.
        ground_truth: Says how large the images are.

    Returns:
        The masks, and how many of them are boxes.

    Raises:
        InputError: If the size of an image is needed and not known.
    """
    n = len(found.score)
    rows = np.arange(n) if mask is None else np.flatnonzero(numpy_array(mask.is_null()))
    if mask is not None and not len(rows):
        return mask, 0
    image = found.image[rows]
    height, width = ground_truth.height[image], ground_truth.width[image]
    if np.any((height <= 0) | (width <= 0)):
        unknown = ground_truth.image_id[image[(height <= 0) | (width <= 0)][0]]
        raise InputError(
            ground_truth.source,
            f"{len(rows)} detections have no mask, and the size of image {unknown!r} is not known",
            f"Evaluate boxes with {option('iou_type', 'bbox')}, or give the images their width and height",
        )
    xywh = np.stack([column[rows] for column in (found.x, found.y, found.w, found.h)], axis=1)
    drawn = mask_array(height, width, box_masks(xywh, height, width))
    if mask is None:
        return drawn, len(rows)
    source = np.arange(n)
    source[rows] = n + np.arange(len(rows))
    return taken(pa.concat_arrays([mask, drawn]), source), len(rows)
