"""COCO ground truth files."""

import json
import math
import os
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from evaluation.coco_entries import (
    Annotation,
    AnnotationColumns,
    Category,
    File,
    Image,
    ImageColumns,
    ListedCategories,
    read_entries,
)
from evaluation.gathering import gathered
from evaluation.ground_truth import GroundTruth, Labels
from evaluation.truth_columns import places_of
from fusion.errors import InputError
from fusion.source import Source, kind_of

__all__ = ["ID_ZERO", "beyond", "coco_columns", "coco_truth", "read_coco"]


_READ = (
    ("image", "images", Image.__struct_fields__),
    ("annotation", "annotations", Annotation.__struct_fields__),
    ("category", "categories", Category.__struct_fields__),
)
ID_ZERO = "an annotation has id 0, which pycocotools never counts as matched"
_BEYOND = 0.1  # share of objects that is too many
# What no field of ours has.
_DIGITS = 1000


def read_coco(path: str | os.PathLike[str]) -> GroundTruth:
    """Read a COCO ground truth file (`instances_*.json`); LVIS's extra fields are read where present.

    Unknown keys are ignored. What is unusual but usable is read and listed in `GroundTruth.notes`:
    category ids given as text, missing `area` (w * h), missing `iscrowd` (0), missing
    `segmentation`, an annotation id 0.

    Args:
        path: The file, which may be compressed by gzip, zstd, bzip2 or xz; "-" is standard input.

    Returns:
        The ground truth.

    Raises:
        InputError: If the file is not there, is no such file, or an entry cannot be used; the entry,
            its field, what was expected and what came are named.
    """
    return coco_truth(*coco_columns(path))


def coco_truth(columns: dict[str, Any], images: ImageColumns) -> GroundTruth:
    """Make ground truth of what `coco_columns` returns.

    Raises:
        InputError: If an entry cannot be used.
    """
    truth = GroundTruth.from_arrays(**columns)
    return replace(_with_labels(truth, images), notes=(*truth.notes, *_many_beyond(truth)))


def coco_columns(path: str | os.PathLike[str]) -> tuple[dict[str, Any], ImageColumns]:
    """Read the columns of a COCO ground truth file for `GroundTruth.from_arrays`, and its images; see `read_coco`.

    Raises:
        InputError: If the file is no such file, or an entry has not the form of one.
    """
    source = Source(path, "a COCO ground truth file")
    try:
        data = source.read()
    finally:
        source.close()
    place = Path(source.name)
    if not data.strip():
        raise InputError(place, "the file is empty", "Fetch or write it again")
    kind = kind_of(data[:4096], "ground truth")
    if kind is not None:
        raise InputError(place, f"expected a COCO ground truth in a JSON file, but it is {kind[0]}", kind[1])
    images, found, named = _decode(data, place)
    del data
    notes: list[str] = []
    categories = _category_ids([category.id for category in named], place, "category", "id", notes)
    used = _category_ids(found.category_id, place, "annotation", "category_id", notes)
    areas = np.where(found.no_area, found.xywh[:, 2] * found.xywh[:, 3], found.area)
    ids = _array(found.id)
    notes += _notes(found, ids)
    columns = {
        "image_id": _array(images.id),
        "width": images.width,
        "height": images.height,
        "file_name": images.file_name,
        "category_id": categories,
        "category_name": [category.name for category in named],
        "frequency": _frequency(named, place),
        "annotation_id": ids,
        "annotation_image_id": _array(found.image_id),
        "annotation_category_id": used,
        "xywh": found.xywh,
        "area": areas,
        "crowd": found.crowd,
        "ignore": found.ignore if found.ignore.any() else None,
        "segmentation": None if found.no_mask.all() else found.segmentation,
        "notes": tuple(dict.fromkeys(notes)),
        "source": place,
    }
    return columns, images


class _Huge(str):
    """Stands for a number that Python does not read as what it is."""


def _whole(digits: str) -> int | _Huge:
    return int(digits) if len(digits) <= _DIGITS else _Huge(f"one of {len(digits):,} digits")


def _real(digits: str) -> float | _Huge:
    return float(digits) if math.isfinite(float(digits)) else _Huge(f"{digits:.60}")


def _decode(data: bytes, place: Path) -> tuple[ImageColumns, AnnotationColumns, list[Category]]:
    try:
        return read_entries(data)
    except (msgspec.DecodeError, RecursionError, ValueError):
        # all that is wrong is found out by the standard library, slowly
        document = _document(data, place)
        try:
            data = msgspec.json.encode(document, enc_hook=str)
            msgspec.json.decode(data, type=File)  # names the entry that is wrong
            return read_entries(data)
        except msgspec.ValidationError as inner:
            raise _named(inner, document, place) from inner
        except UnicodeEncodeError as inner:
            problem = f"has text that is no Unicode, {inner.object[max(inner.start - 20, 0) : inner.end + 20]!a}"
            raise InputError(place, problem, "Write it again, without halves of surrogate pairs") from inner


def _document(data: bytes, place: Path) -> Any:
    """Return what a file says whose first reading failed.

    Python's own writer allows NaN and Infinity, which are no JSON; in fields we do not read they do no harm. Neither do
    numbers of any length.
    """
    try:
        document = json.loads(data, parse_constant=str, parse_int=_whole, parse_float=_real)
    except UnicodeDecodeError as error:
        got = data[max(error.start - 20, 0) : error.start + 20]
        raise InputError(place, f"is not UTF-8 text: byte {error.start:,}, in {got!r}", "Write it as UTF-8") from error
    except RecursionError as error:
        remedy = "Is it a COCO ground truth? Its values are nested a few deep"
        raise InputError(place, "is nested hundreds of lists or objects deep", remedy) from error
    except ValueError as error:
        remedy = "Fetch or write the file again; it may have been cut off"
        raise InputError(place, f"is not complete JSON ({error})", remedy) from error
    if isinstance(document, dict):
        for noun, key, fields in _READ:
            entries = document.get(key)
            for index, entry in enumerate(entries if isinstance(entries, list) else ()):
                for field in fields:
                    if isinstance(entry, dict) and isinstance(entry.get(field), _Huge):
                        where = f"{place}, {noun} {index}, field '{field}'"
                        raise InputError(where, f"expected a number of 64 bits, got {entry[field]}", "Mend it")
    return document


def _named(error: msgspec.ValidationError, document: Any, place: Path) -> InputError:
    """Turn msgspec's message with a path like `$.annotations[17].bbox[2]` into ours."""
    problem, _, path = str(error).partition(" - at `")
    entry = re.match(r"\$\.(\w+)\[(\d+)\](?:\.(\w+))?", path)
    problem = problem.replace("`", "")
    missing = re.search(r"missing required field (\w+)", problem)
    if entry is None and missing:
        raise InputError(
            place, f"'{missing[1]}' is missing", "A COCO ground truth file has images, annotations and categories"
        )
    if entry is None:
        got, remedy = (
            {list: "list", str: "text", type(None): "null"}.get(type(document), "number"),
            "Is it another file?",
        )
        if isinstance(document, list):
            remedy = "Is it a results file? The ground truth has images, annotations and categories"
        if isinstance(document, dict):
            got, remedy = f"object: {problem[:1].lower()}{problem[1:]}", "Is it another file?"
        return InputError(place, f"expected a COCO ground truth object, got JSON {got}", remedy)
    noun = {"images": "image", "annotations": "annotation", "categories": "category"}[entry[1]]
    where = f"{place}, {noun} {entry[2]}"
    if missing:
        return InputError(f"{where}, field '{missing[1]}'", "is missing", "Add it")
    value = document[entry[1]][int(entry[2])]
    if entry[3] is None:
        return InputError(where, f"{problem[0].lower()}{problem[1:]}, got {value!r:.60}", "Mend it")
    if entry[3] == "bbox":
        problem = "expected [x, y, width, height] of four finite numbers"
    return InputError(
        f"{where}, field '{entry[3]}'",
        f"{problem[0].lower()}{problem[1:]}, got {value[entry[3]]!r:.60}",
        "Mend or drop it",
    )


def _category_ids(
    ids: np.ndarray | Sequence[int | str], place: Path, noun: str, field: str, notes: list[str]
) -> np.ndarray:
    if isinstance(ids, np.ndarray):
        return ids
    numbers: list[int] = []
    for index, value in enumerate(ids):
        if isinstance(value, str):
            if re.fullmatch(r"-?\d{1,18}", value.strip()) is None:
                problem = f"expected a whole number, got {value!r:.60}"
                raise InputError(f"{place}, {noun} {index}, field '{field}'", problem, "Number the categories")
            notes.append("category ids are text; they were read as whole numbers")
        numbers.append(int(value))
    return np.array(numbers)


def _array(ids: np.ndarray | Sequence[int | str]) -> np.ndarray:
    """Ids as int64 or objects; a mixture stays as it is, to be refused with a message."""
    return (
        ids if isinstance(ids, np.ndarray) else np.array(ids, object if any(isinstance(i, str) for i in ids) else None)
    )


def _notes(found: AnnotationColumns, ids: np.ndarray) -> list[str]:
    notes = [
        (int(found.no_area.sum()), "area is missing in {} annotations; w * h was used"),
        (int(found.no_crowd.sum()), "iscrowd is missing in {} annotations; 0 was used"),
        (int(found.no_mask.sum()), "segmentation is missing in {} annotations; they have no mask"),
        (bool((ids == 0).any()), ID_ZERO),
    ]
    return [text.format(count) for count, text in notes if count]


def beyond(truth: GroundTruth, slack: float) -> np.ndarray:
    """Return which boxes reach out of their image by more than a share of its side, bool [a]; none of unknown sides."""
    normalized = truth.unit == "normalized"
    height, width = (np.ones(len(truth)) if normalized else side[truth.image] for side in (truth.height, truth.width))
    x, y, w, h = truth.xywh.T
    above = (x < -slack * width) | (y < -slack * height)
    out: np.ndarray = above | (x + w > (1 + slack) * width) | (y + h > (1 + slack) * height)
    out &= (width > 0) & (height > 0)
    return out


def _many_beyond(truth: GroundTruth) -> list[str]:
    """Say so if many objects end beyond their image, as they do where corners stand in place of sizes."""
    count = int(beyond(truth, 0.02).sum())
    if count <= _BEYOND * len(truth):
        return []
    return [
        f"{count} of {len(truth)} objects end beyond their image; bbox is taken as [x, y, width, height], not as"
        " corners"
    ]


def _frequency(categories: Sequence[Category], place: Path) -> list[str] | None:
    given = [category.frequency for category in categories]
    if all(value is None for value in given):
        return None
    for index, value in enumerate(given):
        if value not in ("r", "c", "f"):
            where = f"{place}, category {index}, field 'frequency'"
            raise InputError(where, f"expected 'r', 'c' or 'f', got {value!r}", "Give all categories one, or none")
    return [str(value) for value in given]


def _with_labels(truth: GroundTruth, images: ImageColumns) -> GroundTruth:
    ids = _array(images.id)
    order = np.argsort(ids, kind="stable")
    rows = order[np.searchsorted(ids[order], truth.image_id, side="right") - 1]  # the last of an id
    negative = _labels(truth, images.negative, rows, "neg_category_ids")
    partial = _labels(truth, images.not_exhaustive, rows, "not_exhaustive_category_ids")
    return replace(truth, negative=negative, not_exhaustive=partial)


def _labels(truth: GroundTruth, listed: ListedCategories, rows: np.ndarray, field: str) -> Labels | None:
    """Return the categories that the images list, whose entries are `rows`; None where none has a list."""
    if (listed.sizes[rows] < 0).all():
        return None
    count = np.maximum(listed.sizes, 0)
    entry, start = gathered(np.concatenate(([0], np.cumsum(count))), rows)
    category = places_of(truth.category_id, listed.category[entry])
    unknown = np.flatnonzero(category < 0)
    if len(unknown):
        image_id = truth.image_id.tolist()[int(np.searchsorted(start, unknown[0], side="right")) - 1]
        where = f"{truth.source}, image with id {image_id!r}, field '{field}'"
        problem = f"there is no category {listed.category[entry].tolist()[unknown[0]]!r}"
        raise InputError(where, problem, "Add the category or drop the label")
    categories = len(truth.category_id)
    key = np.unique(np.repeat(np.arange(len(rows)), count[rows]) * categories + category)
    bounds = np.searchsorted(key, np.arange(len(rows) + 1) * categories).astype(np.int64)
    return Labels(bounds, (key % max(categories, 1)).astype(np.int32))
