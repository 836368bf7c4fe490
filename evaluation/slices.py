"""Named subsets of the images of a ground truth (slices), from a file or by a field of its images."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from evaluation.ground_truth import GroundTruth
from evaluation.truth_columns import places_of
from fusion.errors import InputError, option
from fusion.source import Source

__all__ = ["Slices", "image_field", "read_slices"]

_MOST = 200  # values of a field that are slices
_COLUMNS = ("image", "name")


@dataclass(frozen=True, eq=False)
class Slices:
    """Named subsets of the images of a ground truth; an image may be in several.

    Attributes:
        images: int64 [n] by name, places of the images in the ground truth, ascending; never none.
        notes: What was noticed.
    """

    images: Mapping[str, np.ndarray]
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return "Slices(" + ", ".join(f"{name}: {len(images):,} images" for name, images in self.images.items()) + ")"

    @classmethod
    def of(cls, image_ids: Mapping[str, npt.ArrayLike], truth: GroundTruth) -> "Slices":
        """Make slices of images by id.

        Raises:
            InputError: If a slice has no image, or one that the ground truth does not have.
        """
        pairs = [(image, name) for name, ids in image_ids.items() for image in np.asarray(ids).tolist()]
        empty = [name for name, ids in image_ids.items() if not np.size(ids)]
        if empty:
            raise InputError("slices", f"slice {empty[0]!r} has no image", "Leave it out")
        return _dealt("slices", pairs, truth, partial=False)


def read_slices(given: str | Path, truth: GroundTruth, *, partial: bool = False) -> Slices:
    """Read slices from a CSV file, or make one of each value that a field of the images has.

    Args:
        given: A CSV file with the columns image (an id, or a file name as the ground truth has it) and name; or the
            name of a field of the images in the COCO file that the ground truth was read from, such as camera.
        truth: The images.
        partial: The ground truth is of some images only: others may be listed, and are left out with a note.

    Raises:
        InputError: If it cannot be read, an image is unknown, or there is no slice.
    """
    path = Path(given)
    if path.suffix in (".csv", ".txt", ".tsv") or path.is_file():
        return _dealt(str(path), _listed(path), truth, partial=partial)
    return _by_field(str(given), truth)


def _listed(path: Path) -> list[tuple[str, str]]:
    """Read pairs of image and name.

    Raises:
        InputError: If the file is no such file, or a line lacks one of the two.
    """
    import csv

    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            missing = [column for column in _COLUMNS if column not in (reader.fieldnames or ())]
            if missing:
                got = ", ".join(reader.fieldnames or ()) or "an empty file"
                problem = f"expected a CSV file with the columns image and name, got {got}"
                raise InputError(path, problem, "Write a line for each image and slice")
            pairs = []
            for row in reader:
                image, name = (row[column] for column in _COLUMNS)
                if not image or not name:
                    lacking = "image" if not image else "name"
                    raise InputError(f"{path}, line {reader.line_num}, field '{lacking}'", "is empty", "Fill it in")
                pairs.append((image, name))
    except (OSError, UnicodeError, csv.Error) as error:
        raise InputError(path, f"expected a CSV file with the columns image and name ({error})") from error
    if not pairs:
        raise InputError(path, "there is no line below the head, so no slice", "Write a line for each image and slice")
    return pairs


def _dealt(where: str, pairs: Iterable[tuple[object, str]], truth: GroundTruth, *, partial: bool) -> Slices:
    """Put images into slices, which keep the order of their first images."""
    by_name: dict[str, list[object]] = {}
    for image, name in pairs:
        by_name.setdefault(name, []).append(image)
    listed = list(dict.fromkeys(image for images in by_name.values() for image in images))
    place = dict(zip(listed, _places(listed, truth).tolist(), strict=True))
    unknown = [image for image, at in place.items() if at < 0]
    notes = []
    if unknown and (not partial or len(unknown) == len(listed)):
        mine = ", ".join(repr(image) for image in truth.image_id[:3].tolist())
        problem = f"{len(unknown)} of {len(listed)} images are not in the ground truth ({truth.source}), such as "
        problem += f"{unknown[0]!r}; it has {mine}"
        raise InputError(where, problem, "Name images by their ids or file names, and drop those of other sets")
    if unknown:
        notes.append(f"{len(unknown):,} images of the slices are not among those measured, and are left out")
    slices = {
        name: np.unique([place[image] for image in images if place[image] >= 0]).astype(np.int64)
        for name, images in by_name.items()
    }
    empty = [name for name, images in slices.items() if not len(images)]
    if empty:
        notes.append(f"no image of {_some(empty)} is among those measured; left out")
    kept = {name: images for name, images in slices.items() if len(images)}
    return Slices(kept, (*notes, *_remarks(kept, truth)))


def _remarks(slices: Mapping[str, np.ndarray], truth: GroundTruth) -> list[str]:
    """Return notes on images in no slice, and on slices that say nothing."""
    count = len(truth.image_id)
    nowhere = count - len(np.unique(np.concatenate(list(slices.values()))))
    objects = np.bincount(truth.image, minlength=count)
    bare = [name for name, images in slices.items() if not objects[images].any()]
    single = [name for name, images in slices.items() if len(images) == 1]
    notes = []
    if nowhere:
        notes.append(f"{nowhere:,} of {count:,} images are in no slice")
    if bare:
        notes.append(f"there are no annotations in {_some(bare)}, so no figures")
    if single:
        notes.append(f"{_some(single)} of a single image: no intervals")
    return notes


def _places(images: Sequence[object], truth: GroundTruth) -> np.ndarray:
    """Return the place of each image, by id or by file name; -1 where there is none."""
    known = truth.image_id
    if known.dtype == object:
        found = places_of(known, np.array([str(image) for image in images], dtype=object))
    else:
        texts = [str(image).strip() for image in images]
        whole = [int(text) if re.fullmatch("-?[0-9]{1,18}", text) else None for text in texts]
        found = np.full(len(texts), -1, np.int64)
        rows = [row for row, number in enumerate(whole) if number is not None]
        found[rows] = places_of(known, np.array([whole[row] for row in rows], dtype=np.int64))
    names = {name: at for at, name in reversed(list(enumerate(truth.file_name.tolist()))) if name}
    if names and (found < 0).any():
        bases: dict[str, list[int]] = {}
        for name, at in names.items():
            bases.setdefault(PurePosixPath(name).name, []).append(at)
        for row in np.flatnonzero(found < 0).tolist():
            text = str(images[row])
            own = bases.get(text, [])
            found[row] = names.get(text, own[0] if len(own) == 1 else -1)
    return found


def _by_field(field: str, truth: GroundTruth) -> Slices:
    values = image_field(Path(truth.source), field)
    where = f"option {option('slices', field)}"
    own = [(image, values.get(image)) for image in truth.image_id.tolist()]
    pairs = [(image, _named(field, value)) for image, value in own if value is not None]
    if not pairs:
        raise InputError(where, f"no image of {truth.source} has a value in that field", "Name another field")
    names = {name for _, name in pairs}
    if len(names) > _MOST:
        problem = f"has {len(names):,} values in {len(pairs):,} images, such as {pairs[0][1]!r}: too many slices"
        raise InputError(where, problem, "Name another field, or write a CSV file with the columns image and name")
    return _dealt(where, sorted(pairs, key=lambda pair: _numbers_first(pair[1])), truth, partial=False)


def image_field(path: Path, field: str) -> dict[int | str, Any]:
    """Return what a field of the images of a COCO file says, by id; images without it are left out.

    Raises:
        InputError: If the file is no COCO file, or no image has the field.
    """
    where = f"option {option('slices', field)}"
    try:
        source = Source(path, "a COCO ground truth file")
        try:
            data = source.read()
        finally:
            source.close()
        images = msgspec.json.decode(data, type=_Images).images
        fields = [msgspec.json.decode(image) for image in images]
    except (InputError, msgspec.DecodeError, OSError, UnicodeError) as error:
        problem = f"there is no such file, and fields of images are known of COCO files alone, which {path} is not"
        raise InputError(where, problem, "Write a CSV file with the columns image and name") from error
    found = {entry["id"]: entry[field] for entry in fields if field in entry}
    if not found:
        names = list(dict.fromkeys(name for entry in fields for name in entry if name != "id"))
        problem = f"there is no such file, and no image of {path} has such a field; they have {', '.join(names)}"
        raise InputError(where, problem, "Name a CSV file with the columns image and name, or one of these fields")
    return found


class _Images(msgspec.Struct):
    images: list[msgspec.Raw]


def _named(field: str, value: object) -> str:
    """Name a slice: a text stands for itself, a number needs the field's name beside it."""
    return value if isinstance(value, str) else f"{field} {json.dumps(value, ensure_ascii=False, sort_keys=True)}"


def _numbers_first(name: str) -> tuple[bool, float, str]:
    number = re.search(r"-?[0-9]+(\.[0-9]+)?$", name)
    return number is None, float(number[0]) if number else 0.0, name


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:3])
    return f"slice {shown}" if len(names) == 1 else f"slices {shown}" + (", ..." if len(names) > 3 else "")
