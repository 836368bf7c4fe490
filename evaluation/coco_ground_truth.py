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

from evaluation.ground_truth import GroundTruth, Labels
from fusion.errors import InputError
from fusion.source import Source, kind_of

__all__ = ["ID_ZERO", "beyond", "coco_columns", "coco_truth", "read_coco"]


class _Image(msgspec.Struct):
    id: int | str
    width: int | None = None
    height: int | None = None
    file_name: str | None = None
    coco_url: str | None = None
    neg_category_ids: list[int] | None = None
    not_exhaustive_category_ids: list[int] | None = None


class _Category(msgspec.Struct):
    id: int | str
    name: str = ""
    frequency: str | None = None


class _Annotation(msgspec.Struct):
    id: int
    image_id: int | str
    category_id: int | str
    bbox: tuple[float, float, float, float]
    area: float | None = None
    iscrowd: int | bool | None = None
    ignore: int | bool | None = None
    segmentation: msgspec.Raw = msgspec.Raw(b"")


class _File(msgspec.Struct):
    images: list[_Image]
    annotations: list[_Annotation]
    categories: list[_Category]


_READ = (
    ("image", "images", _Image.__struct_fields__),
    ("annotation", "annotations", _Annotation.__struct_fields__),
    ("category", "categories", _Category.__struct_fields__),
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


def coco_truth(columns: dict[str, Any], images: Sequence[_Image]) -> GroundTruth:
    """Make ground truth of what `coco_columns` returns.

    Raises:
        InputError: If an entry cannot be used.
    """
    truth = GroundTruth.from_arrays(**columns)
    return replace(_with_labels(truth, images), notes=(*truth.notes, *_many_beyond(truth)))


def coco_columns(path: str | os.PathLike[str]) -> tuple[dict[str, Any], Sequence[_Image]]:
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
    file = _decode(data, place)
    notes: list[str] = []
    images, annotations = file.images, file.annotations
    categories = _category_ids([category.id for category in file.categories], place, "category", "id", notes)
    used = _category_ids([a.category_id for a in annotations], place, "annotation", "category_id", notes)
    boxes = np.array([a.bbox for a in annotations], dtype=np.float64).reshape(-1, 4)
    areas = np.array([math.nan if a.area is None else a.area for a in annotations], dtype=np.float64)
    no_area = np.array([a.area is None for a in annotations], dtype=bool)
    areas[no_area] = boxes[no_area, 2] * boxes[no_area, 3]
    notes += _notes(annotations, int(no_area.sum()))
    columns = {
        "image_id": _array([image.id for image in images]),
        "width": [image.width or 0 for image in images],
        "height": [image.height or 0 for image in images],
        # LVIS v1 names no files, but their addresses end with the name
        "file_name": [image.file_name or (image.coco_url or "").rpartition("/")[2] for image in images],
        "category_id": categories,
        "category_name": [category.name for category in file.categories],
        "frequency": _frequency(file.categories, place),
        "annotation_id": _array([a.id for a in annotations]),
        "annotation_image_id": _array([a.image_id for a in annotations]),
        "annotation_category_id": used,
        "xywh": boxes,
        "area": areas,
        "crowd": [bool(a.iscrowd) for a in annotations],
        "ignore": [bool(a.ignore) for a in annotations] if any(a.ignore for a in annotations) else None,
        "segmentation": [a.segmentation for a in annotations] if any(map(_has_mask, annotations)) else None,
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


def _decode(data: bytes, place: Path) -> _File:
    try:
        return msgspec.json.decode(data, type=_File)
    except (msgspec.DecodeError, RecursionError, ValueError):
        # all that is wrong is found out by the standard library, slowly
        document = _document(data, place)
        try:
            return msgspec.json.decode(msgspec.json.encode(document, enc_hook=str), type=_File)
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


def _category_ids(ids: Sequence[int | str], place: Path, noun: str, field: str, notes: list[str]) -> np.ndarray:
    numbers: list[int] = []
    for index, value in enumerate(ids):
        if isinstance(value, str):
            if re.fullmatch(r"-?\d{1,18}", value.strip()) is None:
                problem = f"expected a whole number, got {value!r:.60}"
                raise InputError(f"{place}, {noun} {index}, field '{field}'", problem, "Number the categories")
            notes.append("category ids are text; they were read as whole numbers")
        numbers.append(int(value))
    return np.array(numbers)


def _array(ids: Sequence[int | str]) -> np.ndarray:
    """Ids as int64 or objects; a mixture stays as it is, to be refused with a message."""
    return np.array(ids, dtype=object if any(isinstance(i, str) for i in ids) else None)


def _has_mask(annotation: _Annotation) -> bool:
    return bytes(annotation.segmentation) not in (b"", b"[]", b"null")


def _notes(annotations: Sequence[_Annotation], no_area: int) -> list[str]:
    no_crowd = sum(a.iscrowd is None for a in annotations)
    no_mask = sum(not _has_mask(a) for a in annotations)
    notes = [
        (no_area, "area is missing in {} annotations; w * h was used"),
        (no_crowd, "iscrowd is missing in {} annotations; 0 was used"),
        (no_mask, "segmentation is missing in {} annotations; they have no mask"),
        (any(a.id == 0 for a in annotations), ID_ZERO),
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


def _frequency(categories: Sequence[_Category], place: Path) -> list[str] | None:
    given = [category.frequency for category in categories]
    if all(value is None for value in given):
        return None
    for index, value in enumerate(given):
        if value not in ("r", "c", "f"):
            where = f"{place}, category {index}, field 'frequency'"
            raise InputError(where, f"expected 'r', 'c' or 'f', got {value!r}", "Give all categories one, or none")
    return [str(value) for value in given]


def _with_labels(truth: GroundTruth, images: Sequence[_Image]) -> GroundTruth:
    by_id = {image.id: image for image in images}
    ordered = [by_id[i] for i in truth.image_id.tolist()]
    negative = _labels(truth, [image.neg_category_ids for image in ordered], "neg_category_ids")
    partial = _labels(truth, [image.not_exhaustive_category_ids for image in ordered], "not_exhaustive_category_ids")
    return replace(truth, negative=negative, not_exhaustive=partial)


def _labels(truth: GroundTruth, lists: Sequence[list[int] | None], field: str) -> Labels | None:
    if all(listed is None for listed in lists):
        return None
    known = dict(zip(truth.category_id.tolist(), range(len(truth.category_id)), strict=True))
    rows = []
    for image_id, listed in zip(truth.image_id.tolist(), lists, strict=True):
        unknown = [category for category in listed or () if category not in known]
        if unknown:
            where = f"{truth.source}, image with id {image_id!r}, field '{field}'"
            raise InputError(where, f"there is no category {unknown[0]!r}", "Add the category or drop the label")
        rows.append(sorted({known[category] for category in listed or ()}))
    start = np.concatenate(([0], np.cumsum([len(row) for row in rows]))).astype(np.int64)
    return Labels(start, np.array([category for row in rows for category in row], dtype=np.int32))
