"""Detections of the library supervision, by image."""

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from evaluation.files.image_rows import ImageNames, category_names, corners_of
from evaluation.files.per_image import OfImage, gathered
from evaluation.files.table_pieces import TablePieces
from evaluation.formats.base import Format
from evaluation.ground_truth import GroundTruth
from fusion.coco_results import RawResults
from fusion.errors import InputError
from fusion.table import DetectionTable

__all__ = ["SupervisionFormat"]


class SupervisionFormat(Format):
    """By image a `supervision.Detections`; names of classes are in its `data`."""

    title = "supervision's Detections"

    def take(self, objects: Any) -> RawResults | None:
        """Take a mapping from images to detections."""
        if not isinstance(objects, Mapping) or not objects:
            return None
        if not all(hasattr(found, "xyxy") and hasattr(found, "class_id") for found in objects.values()):
            return None
        return gathered({image: _one(image, found) for image, found in objects.items()}, "the Detections", "xyxy")

    def give(self, table: DetectionTable, truth: GroundTruth | None) -> dict[str, Any]:
        """Return Detections by the names of the files, or by ids without ground truth."""
        try:
            from supervision import Detections
        except ImportError as error:
            raise InputError("supervision", "is not installed", "pip install supervision") from error
        names = category_names(TablePieces(table), truth, self.name)
        corners, score, category = corners_of(table), table.score.astype(np.float64), table.category_id
        titles = np.array([names[number] for number in category.tolist()], str)
        masks = table.mask
        return {
            image.name: Detections(
                xyxy=corners[image.rows],
                confidence=score[image.rows],
                class_id=category[image.rows].astype(np.int64),
                mask=None if masks is None else _decoded(masks[image.rows.start : image.rows.stop]),
                data={"class_name": titles[image.rows]},
            )
            for image in ImageNames(truth, self.name).of(table)
        }


def _decoded(masks: pa.StructArray) -> np.ndarray | None:
    """Return bool [n, height, width]; None where a detection has no mask."""
    from pycocotools import mask as codec

    found = masks.to_pylist()
    if not found or any(mask is None for mask in found):
        return None
    runs = [{"size": [mask["height"], mask["width"]], "counts": mask["counts"]} for mask in found]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # pycocotools' own, of NumPy 2
        return np.stack([codec.decode(one).astype(np.bool_) for one in runs])


def _one(image: Any, found: Any) -> OfImage:
    if not len(found.xyxy):
        return OfImage([], [], [])
    data = getattr(found, "data", None) or {}
    if found.confidence is None:
        raise InputError(f"the Detections, image {image!r}", "they have no confidence", "Give detections of a model")
    label = found.class_id if found.class_id is not None else np.ones(len(found.xyxy), np.int64)
    return OfImage(found.xyxy, found.confidence, label, data.get("class_name"), getattr(found, "mask", None))
