"""Boxes in pixels and boxes as shares of the image's sides, one in the unit of the other."""

from dataclasses import replace

import numpy as np

from evaluation.ground_truth import GroundTruth
from fusion.checks import one_of
from fusion.corners import from_corners
from fusion.errors import InputError

__all__ = ["in_unit", "sides_of"]


def in_unit(ground_truth: GroundTruth, unit: str) -> GroundTruth:
    """Return ground truth with boxes in pixels ("pixel") or as shares of the image's sides ("normalized").

    Raises:
        InputError: If the size of an image with annotations is not known.
    """
    one_of("unit", unit, ("pixel", "normalized"))
    if unit == ground_truth.unit:
        return ground_truth
    problem = f"its boxes are {ground_truth.unit} where {unit} ones are needed"
    sides = sides_of(ground_truth, ground_truth.image, ground_truth.source, problem)
    corners = ground_truth.corners * sides if unit == "pixel" else ground_truth.corners / sides
    xywh, far = from_corners(corners)
    return replace(ground_truth, xywh=xywh, far=far, area=xywh[:, 2] * xywh[:, 3], unit=unit)


def sides_of(ground_truth: GroundTruth, image: np.ndarray, where: str, problem: str) -> np.ndarray:
    """Return width, height, width and height of some images, by which corners are brought into another unit.

    Args:
        ground_truth: Of the images.
        image: int [n], index into them.
        where: Of the error.
        problem: Why they are needed.

    Returns:
        float64 [n, 4], pixels.

    Raises:
        InputError: If the size of one is not known.
    """
    sides = np.stack([ground_truth.width, ground_truth.height], axis=1)[image].astype(np.float64)
    unknown = np.flatnonzero(np.any(sides <= 0, axis=1))
    if len(unknown):
        one = ground_truth.image_id[image[unknown[:1]]].tolist()[0]
        raise InputError(
            where,
            f"{problem}, and the size of image {one!r} is not known",
            f"Import the detections with {ground_truth.unit} boxes, or give the ground truth the sizes of its images",
        )
    return np.hstack((sides, sides))
