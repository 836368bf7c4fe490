"""Tables written with a file or an entry per image: names, sizes and rows of each, and categories by name."""

from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import NamedTuple

import numpy as np

from evaluation.ground_truth import GroundTruth
from evaluation.truth_columns import places_of
from fusion.coco_results.file_names import normal_name
from fusion.errors import InputError, option
from fusion.table import DetectionTable

__all__ = ["ImageRows", "category_names", "corners_of", "image_rows", "left_out"]


class ImageRows(NamedTuple):
    """The detections of an image.

    Attributes:
        name: Name of its file as the ground truth has it, else its id; with folders, without "..".
        stem: The same without suffix.
        width: Pixels; 0 where unknown.
        height: Pixels; 0 where unknown.
        rows: Its rows of the table.
    """

    name: str
    stem: str
    width: int
    height: int
    rows: slice


def image_rows(
    table: DetectionTable, truth: GroundTruth | None, format_name: str, *, sizes: bool = False, empty: bool = False
) -> Iterator[ImageRows]:
    """Yield the images of a table.

    Args:
        table: The detections.
        truth: Their images; None takes ids as names.
        format_name: For messages.
        sizes: Whether the sizes have to be known.
        empty: Also yield images of the ground truth without detections.

    Raises:
        InputError: If two images would have one name, or a size is not known.
    """
    where = f"export {format_name}"
    if sizes and truth is None:
        remedy = f"Give the ground truth with {option('ground_truth')}"
        raise InputError(where, "needs the sizes of the images", remedy)
    ids = table.image_ids
    place = np.full(len(ids), -1) if truth is None else places_of(truth.image_id, ids)
    taken: dict[str, object] = {}
    for number, (image, at) in enumerate(zip(ids.tolist(), place.tolist(), strict=True)):
        if at < 0 and sizes:
            raise InputError(where, f"the size of image {image!r} is not known", "Give a ground truth that has it")
        rows = slice(int(table.image_start[number]), int(table.image_start[number + 1]))
        yield _one(image, at, truth, rows, where, sizes, taken)
    if empty and truth is not None:
        there = set(place.tolist())
        for at, image in enumerate(truth.image_id.tolist()):
            if at not in there:
                yield _one(image, at, truth, slice(0, 0), where, False, taken)


def _one(
    image: object, at: int, truth: GroundTruth | None, rows: slice, where: str, sizes: bool, taken: dict[str, object]
) -> ImageRows:
    given = str(truth.file_name[at]) if truth is not None and at >= 0 else ""
    name = normal_name(given or str(image)).lstrip("/")
    stem = (
        str(PurePosixPath(name).with_suffix("")) if given or PurePosixPath(name).suffix.lower() in _PICTURES else name
    )
    if not stem or ".." in PurePosixPath(name).parts or "\0" in name:
        raise InputError(where, f"image {image!r} has a name that no file can have: {name!r}", "Rename it")
    if taken.setdefault(stem, image) != image:
        problem = f"images {taken[stem]!r} and {image!r} would both be written as {stem!r}"
        raise InputError(where, problem, "Give their files different names")
    width, height = (int(truth.width[at]), int(truth.height[at])) if truth is not None and at >= 0 else (0, 0)
    if sizes and not (width > 0 and height > 0):
        raise InputError(where, f"the size of image {image!r} is not known", "Add it to the ground truth")
    return ImageRows(name, stem, width, height, rows)


_PICTURES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")


def category_names(table: DetectionTable, truth: GroundTruth | None, format_name: str) -> dict[int, str]:
    """Return the name of each category id that a table uses; the id as text without ground truth.

    Raises:
        InputError: If the ground truth does not have one, or two have one name.
    """
    used = np.unique(table.category_id).tolist()
    if truth is None:
        return {number: str(number) for number in used}
    names = dict(zip(truth.category_id.tolist(), truth.category_name, strict=True))
    unknown = [number for number in used if number not in names]
    if unknown:
        problem = f"category {unknown[0]} is none of {truth.source}"
        raise InputError(f"export {format_name}", problem, "Give the ground truth that the table is of")
    found = {number: names[number] for number in used}
    if len(set(found.values())) < len(found):
        raise InputError(truth.source, "several categories have one name, which this format goes by", "Rename one")
    return found


def corners_of(table: DetectionTable) -> np.ndarray:
    """Return x1, y1, x2, y2, float64 [n, 4], to the last bit as they came."""
    near = [table.column(name).astype(np.float64, copy=False) for name in "xy"]
    return np.stack([*near, table.far("x"), table.far("y")], axis=1)


def left_out(table: DetectionTable, *columns: str) -> list[str]:
    """Say which columns of a table a format has no place for."""
    names = [name for name in columns if name in table.arrow.column_names]
    words = {"mask": "masks", "soft_mask": "soft masks", "member": "members", "view": "views"}
    return [f"left out: {', '.join(words.get(name, name) for name in names)}"] if names else []
