"""Tables written with a file or an entry per image: names, sizes and rows of each, and categories by name."""

import itertools
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import NamedTuple

import numpy as np

from evaluation.files.table_pieces import TablePieces
from evaluation.ground_truth import GroundTruth
from evaluation.truth_columns import places_of
from fusion.coco_results.file_names import normal_name
from fusion.errors import InputError, option
from fusion.table import DetectionTable

__all__ = ["ImageNames", "ImageRows", "category_names", "corners_of", "left_out"]


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


class ImageNames:
    """What the images of a table are called in files, which are written a piece of the table at a time.

    Args:
        truth: Their images; None takes ids as names.
        format_name: For messages.
        sizes: Whether the sizes have to be known.

    Raises:
        InputError: If they have to, and there is no ground truth.
    """

    def __init__(self, truth: GroundTruth | None, format_name: str, *, sizes: bool = False) -> None:
        self._truth, self._where, self._sizes = truth, f"export {format_name}", sizes
        self._taken: dict[str, object] = {}
        self._there = np.zeros(0 if truth is None else len(truth.image_id), np.bool_)
        if sizes and truth is None:
            remedy = f"Give the ground truth with {option('ground_truth')}"
            raise InputError(self._where, "needs the sizes of the images", remedy)

    def of(self, piece: DetectionTable) -> Iterator[ImageRows]:
        """Yield the images of a piece.

        Raises:
            InputError: If two images would have one name, or a size is not known.
        """
        ids = piece.image_ids
        place = np.full(len(ids), -1) if self._truth is None else places_of(self._truth.image_id, ids)
        self._there[place[place >= 0]] = True
        bounds = itertools.pairwise(piece.image_start.tolist())
        for image, at, (low, high) in zip(ids.tolist(), place.tolist(), bounds, strict=True):
            if at < 0 and self._sizes:
                remedy = "Give a ground truth that has it"
                raise InputError(self._where, f"the size of image {image!r} is not known", remedy)
            yield self._one(image, at, slice(low, high), self._sizes)

    def others(self) -> Iterator[ImageRows]:
        """Yield the images of the ground truth that were in no piece."""
        ids = [] if self._truth is None else self._truth.image_id.tolist()
        for at in np.flatnonzero(~self._there).tolist():
            yield self._one(ids[at], at, slice(0, 0), False)

    def _one(self, image: object, at: int, rows: slice, sizes: bool) -> ImageRows:
        truth = self._truth
        given = str(truth.file_name[at]) if truth is not None and at >= 0 else ""
        name = normal_name(given or str(image)).lstrip("/")
        pictured = PurePosixPath(name).suffix.lower() in _PICTURES
        stem = str(PurePosixPath(name).with_suffix("")) if given or pictured else name
        if not stem or ".." in PurePosixPath(name).parts or "\0" in name:
            raise InputError(self._where, f"image {image!r} has a name that no file can have: {name!r}", "Rename it")
        if self._taken.setdefault(stem, image) != image:
            problem = f"images {self._taken[stem]!r} and {image!r} would both be written as {stem!r}"
            raise InputError(self._where, problem, "Give their files different names")
        width, height = (int(truth.width[at]), int(truth.height[at])) if truth is not None and at >= 0 else (0, 0)
        if sizes and not (width > 0 and height > 0):
            raise InputError(self._where, f"the size of image {image!r} is not known", "Add it to the ground truth")
        return ImageRows(name, stem, width, height, rows)


_PICTURES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")


def category_names(table: TablePieces, truth: GroundTruth | None, format_name: str) -> dict[int, str]:
    """Return the name of each category id that a table uses; the id as text without ground truth.

    Raises:
        InputError: If the ground truth does not have one, or two have one name.
    """
    used = table.category_ids.tolist()
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


def left_out(table: TablePieces, *columns: str) -> list[str]:
    """Say which columns of a table a format has no place for."""
    names = [name for name in columns if name in table.nothing.arrow.column_names]
    words = {"mask": "masks", "soft_mask": "soft masks", "member": "members", "view": "views"}
    return [f"left out: {', '.join(words.get(name, name) for name in names)}"] if names else []
