"""Dictionaries of boxes, scores and labels: torchvision's models, Hugging Face's post-processing, torchmetrics."""

from collections.abc import Mapping
from typing import Any

from evaluation.files.image_rows import corners_of
from evaluation.files.per_image import OfImage, gathered
from evaluation.formats.base import Format
from evaluation.ground_truth import GroundTruth
from fusion.coco_results import RawResults
from fusion.table import DetectionTable

__all__ = ["TorchvisionFormat"]

_WANTED = {"boxes", "scores", "labels"}


class TorchvisionFormat(Format):
    """By image a dictionary with boxes (corners in pixels), scores, labels and perhaps masks; or a pipeline's list."""

    title = "dictionaries of torchvision, Hugging Face and torchmetrics"

    def take(self, objects: Any) -> RawResults | None:
        """Take a mapping from images to such dictionaries."""
        if not isinstance(objects, Mapping) or not objects:
            return None
        if not all(_is_one(found) for found in objects.values()):
            return None
        return gathered({image: _one(found) for image, found in objects.items()}, "the dictionaries", "xyxy")

    def give(self, table: DetectionTable, truth: GroundTruth | None) -> dict[int | str, dict[str, Any]]:
        """Return arrays by image id."""
        corners, score, category = corners_of(table), table.score, table.category_id
        rows = [
            slice(a, b) for a, b in zip(table.image_start[:-1].tolist(), table.image_start[1:].tolist(), strict=True)
        ]
        return {
            image: {"boxes": corners[own], "scores": score[own], "labels": category[own]}
            for image, own in zip(table.image_ids.tolist(), rows, strict=True)
        }


def _is_one(found: Any) -> bool:
    if isinstance(found, Mapping):
        return found.keys() >= _WANTED
    return isinstance(found, list) and all(isinstance(one, Mapping) and {"box", "score"} <= one.keys() for one in found)


def _one(found: Any) -> OfImage:
    if isinstance(found, Mapping):
        return OfImage(found["boxes"], found["scores"], found["labels"], mask=found.get("masks"))
    box = [[one["box"][side] for side in ("xmin", "ymin", "xmax", "ymax")] for one in found]
    return OfImage(box, [one["score"] for one in found], [one["label"] for one in found])
