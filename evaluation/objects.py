"""Detections from objects of Python, and tables as such objects."""

from typing import Any

from evaluation.belonging import origin_of
from evaluation.formats import format_of, formats_that
from evaluation.ground_truth import GroundTruth
from evaluation.results import table_of_raw
from fusion.coco_results import AS_FOUND, Reading
from fusion.errors import InputError
from fusion.table import DetectionTable, Metadata

__all__ = ["read_objects", "to_objects"]


def read_objects(
    objects: Any,
    truth: GroundTruth | None = None,
    reading: Reading = AS_FOUND,
    *,
    member: str | None = None,
    as_is: bool = False,
    unknown_images: str = "error",
    unknown_categories: str = "error",
) -> DetectionTable:
    """Read detections from objects of other libraries, joined and compared as `read_results` does.

    Args:
        objects: A mapping from image ids or file names to `supervision.Detections`, to dictionaries of boxes (corners),
            scores and labels as torchvision, Hugging Face and torchmetrics have them, or to the lists of a pipeline; a
            FiftyOne dataset or view; or a pandas frame with a row per box.
        truth: What they are joined to and compared with; None takes ids as they are.
        reading: What ids, names and boxes mean; what is said here is not questioned.
        member: Name of the model.
        as_is: Do not compare them.
        unknown_images: "error", or "drop" detections on images that the truth does not have.
        unknown_categories: The same for categories.

    Raises:
        InputError: If they are of no known kind, or cannot be read.
    """
    origin = {} if truth is None else origin_of(truth)
    for name in formats_that("take"):
        raw = format_of(name, "take").take(objects)
        if raw is not None:
            return table_of_raw(
                raw,
                truth,
                reading,
                format=name,
                as_is=as_is,
                unknown_images=unknown_images,
                unknown_categories=unknown_categories,
                metadata=Metadata(member=member, **origin),
            )
    raise InputError(
        "the detections",
        f"expected a mapping from images to detections, a FiftyOne dataset or a frame, got {type(objects).__name__}",
        "Give {image_id: {'boxes': ..., 'scores': ..., 'labels': ...}}, for example",
    )


def to_objects(table: DetectionTable, format: str, truth: GroundTruth | None = None) -> Any:  # noqa: A002 - the users' word
    """Return a table as objects of another library.

    Args:
        table: The detections.
        format: "supervision" or "fiftyone": by image its Detections; "torchvision": by image a dictionary of arrays;
            "pandas": a frame.
        truth: Names and sizes of images, and names of categories.

    Raises:
        InputError: If the library is not installed, or what it needs of the ground truth is not given.
    """
    return format_of(format, "give").give(table, truth)
