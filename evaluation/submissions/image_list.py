"""The images of a split and the categories of its data set: what a submission is checked against."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np

from evaluation.ground_truth import GroundTruth
from evaluation.lists import check_siblings
from evaluation.submissions.csv_files import read_rows
from evaluation.truth_columns import places_of
from fusion.belonging import Sketch
from fusion.errors import InputError
from fusion.source import Source
from fusion.text import encoding_of

__all__ = ["COCO_CATEGORIES", "LVIS_CATEGORIES", "ImageList", "read_image_list"]

COCO_CATEGORIES = np.array(
    [i for i in range(1, 91) if i not in (12, 26, 29, 30, 45, 66, 68, 69, 71, 83)], dtype=np.int32
)
"""The 80 category ids of COCO 2014 and 2017."""

LVIS_CATEGORIES = np.arange(1, 1204, dtype=np.int32)
"""The category ids of LVIS v1."""


class _Image(msgspec.Struct):
    id: int | str
    width: int | None = None
    height: int | None = None
    file_name: object = None


class _Category(msgspec.Struct):
    id: (
        Annotated[int, msgspec.Meta(ge=-(2**31), lt=2**31)] | Annotated[str, msgspec.Meta(pattern=r"^-?[0-9]{1,9}$")]
    )  # "1" is read as 1, as everywhere
    name: str = ""
    frequency: str | None = None


class _File(msgspec.Struct):
    images: list[_Image]
    categories: list[_Category] | None = None


@dataclass(frozen=True, eq=False)
class ImageList:
    """Images of a split, in the order of their source.

    Attributes:
        image_id: [i] int64, or an object array of str; no two equal.
        width: int32 [i], pixels; 0 where unknown.
        height: int32 [i], pixels; 0 where unknown.
        category_id: int32 [c]; None where the source names no categories.
        category_label: [c] names for machines such as "/m/011k07"; None where there are none.
        federated: Whether the categories have LVIS's frequency groups.
        source: Name of the source for messages.
        file_name: [i] names, "" where unknown; None where the source has none.
        category_name: [c] names; None where the source has none.
    """

    image_id: np.ndarray
    width: np.ndarray
    height: np.ndarray
    category_id: np.ndarray | None = None
    category_label: tuple[str, ...] | None = None
    federated: bool = False
    source: str = "the image list"
    file_name: tuple[str, ...] | None = None
    category_name: tuple[str, ...] | None = None

    @classmethod
    def from_ground_truth(cls, truth: GroundTruth) -> "ImageList":
        """Return the images and categories of a ground truth."""
        return cls(
            truth.image_id,
            truth.width,
            truth.height,
            truth.category_id,
            truth.category_label,
            truth.frequency is not None,
            truth.source,
            tuple(truth.file_name.tolist()),
            truth.category_name,
        )

    def sketch(self, places: np.ndarray | None = None) -> Sketch:
        """Return a sketch of the images, or of those at some places."""
        chosen = np.arange(len(self)) if places is None else places
        names = [""] * len(self) if self.file_name is None else self.file_name
        sizes = np.stack([self.width[chosen], self.height[chosen]], axis=1)
        return Sketch.of(self.image_id[chosen], [names[place] for place in chosen.tolist()], sizes)

    def __len__(self) -> int:
        return len(self.image_id)

    @cached_property
    def _order(self) -> np.ndarray:
        return np.argsort(self.image_id, kind="stable")

    @cached_property
    def _place(self) -> dict[str, int]:
        return dict(zip(self.image_id.tolist(), range(len(self.image_id)), strict=True))

    def places(self, ids: np.ndarray) -> np.ndarray:
        """Return the place of each id in the list: int64 [n], -1 where it is not there."""
        if self.image_id.dtype == object or ids.dtype == object:
            if self.image_id.dtype != ids.dtype:
                return np.full(len(ids), -1, dtype=np.int64)  # the integer 7 is not the text "7"
            return np.array([self._place.get(name, -1) for name in ids.tolist()], dtype=np.int64)
        found = places_of(self.image_id[self._order], ids)
        return np.where(found >= 0, self._order[np.maximum(found, 0)] if len(self) else -1, -1)

    def with_text_ids(self) -> "ImageList":
        """Return the list with ids as a CSV file has them, texts."""
        return replace(self, image_id=np.array([str(name) for name in self.image_id.tolist()], dtype=object))

    def with_classes(self, labels: Sequence[str]) -> "ImageList":
        """Return the list with Open Images labels; their ids are 1, 2, ... in this order."""
        ids = np.arange(1, len(labels) + 1, dtype=np.int32)
        return replace(self, category_id=ids, category_label=tuple(labels), category_name=None)


def read_image_list(path: str | os.PathLike[str], *, text_ids: bool = False) -> ImageList:
    """Read the images of a split.

    The file is COCO-style JSON with "images" and, where it has them, "categories" (annotations are not
    needed, and not kept); or a CSV file with a column ImageID or ImageId and, for pixels and masks,
    ImageWidth and ImageHeight, such as a sample submission of Kaggle; or a text file with an id per line.

    Args:
        path: The file.
        text_ids: Ids of a CSV or text file stay texts even where all of them are integers.

    Raises:
        InputError: If the file cannot be read or used; the line or entry is named.
    """
    place = Path(path)
    source = Source(place, "a file with a list of images")
    try:
        head = source.read(64)
        encoding = encoding_of(head)
        if head.decode(encoding, "ignore").lstrip()[:1] == "{":
            return _from_json(place, head + source.read(), encoding)
    finally:
        source.close()
    return _from_lines(place, text_ids)


def _from_json(place: Path, data: bytes, encoding: str) -> ImageList:
    try:
        file = msgspec.json.decode(data.decode(encoding), type=_File)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise InputError(
            place,
            f"expected a list of images ({error})",
            "Give a COCO-style JSON file with 'images', or a text file with an id per line",
        ) from error
    ids: list[Any] = [image.id for image in file.images]
    categories = None
    if file.categories:
        categories = np.array([int(category.id) for category in file.categories], dtype=np.int32)
    sizes = [[image.width or 0, image.height or 0] for image in file.images]
    return ImageList(
        _id_array(place, ids),
        *_sides(place, sizes),
        categories,
        None,
        any(category.frequency for category in file.categories or ()),
        str(place),
        tuple(image.file_name if isinstance(image.file_name, str) else "" for image in file.images),
        tuple(category.name for category in file.categories) if file.categories else None,
    )


def _from_lines(place: Path, text_ids: bool) -> ImageList:
    check_siblings(place)
    rows = [row for row in read_rows(place) if row]
    if not rows:
        raise InputError(place, "the file is empty", "Give a list of images, an id per line")
    header = [name.strip().lower() for name in rows[0]]
    sizes: list[list[int]] = []
    if "imageid" in header:
        column, rows = header.index("imageid"), rows[1:]
        if "imagewidth" in header and "imageheight" in header:
            sides = header.index("imagewidth"), header.index("imageheight")
            try:
                sizes = [[int(row[side]) for side in sides] for row in rows]
            except (ValueError, IndexError) as error:
                raise InputError(
                    place, f"expected whole numbers in ImageWidth and ImageHeight ({error!s:.80})"
                ) from error
    elif len(rows[0]) == 1:
        column = 0
    else:
        raise InputError(
            place,
            f"expected a column ImageID, or one id per line, got columns {', '.join(rows[0][:8]):.200}",
            "Give the split's list of images",
        )
    try:
        ids: list[Any] = [row[column].strip() for row in rows]
    except IndexError:
        raise InputError(place, "its rows have different numbers of columns") from None
    if not text_ids and all(re.fullmatch("-?[0-9]{1,18}", name) for name in ids):
        ids = [int(name) for name in ids]
    return ImageList(_id_array(place, ids), *_sides(place, sizes or [[0, 0]] * len(ids)), source=str(place))


def _sides(place: Path, sizes: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
    """Return widths and heights, int32 [i] each."""
    for number, size in enumerate(sizes):
        if not all(-(2**31) <= side < 2**31 for side in size):
            got = " x ".join(f"{side:g}" for side in size)
            raise InputError(f"{place}, image {number}", f"expected a width and height in pixels, got {got}", "Mend it")
    width, height = np.array(sizes, dtype=np.int32).reshape(-1, 2).T
    return width, height


def _id_array(place: Path, ids: list[Any]) -> np.ndarray:
    texts = {isinstance(name, str) for name in ids}
    if len(texts) > 1:
        raise InputError(place, "some image ids are integers and some are texts", "Write all of them in one way")
    if not ids:
        raise InputError(place, "there are no images in it", "Give the split's list of images")
    twice = _first_twice(ids)
    if twice is not None:
        raise InputError(f"{place}, image {ids[twice]!r}", "occurs more than once", "List every image once")
    wide = next((name for name in ids if not isinstance(name, str) and not -(2**63) <= name < 2**63), None)
    if wide is not None:
        raise InputError(place, f"expected image ids of at most 64 bits, got {wide:g}", "Number the images anew")
    return np.array(ids, dtype=object if True in texts else np.int64)


def _first_twice(values: Sequence[Any]) -> int | None:
    """Return the place of the first value that was there before; None if there is none."""
    if len(set(values)) == len(values):
        return None
    seen: set[Any] = set()
    for row, value in enumerate(values):
        if value in seen:
            return row
        seen.add(value)
    return None
