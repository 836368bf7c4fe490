"""LabelMe: a JSON file per image with shapes; results have a score in each."""

from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec
import numpy as np

from evaluation.files.file_bytes import file_bytes
from evaluation.files.look import Look, stem_of
from evaluation.files.raw_columns import raw_columns
from evaluation.files.truths import NamedObjects
from evaluation.formats.base import Format, Progress
from evaluation.ground_truth import GroundTruth
from fusion.coco_results import RawResults, Reading, Vocabulary
from fusion.coco_results.raw import RecordKey
from fusion.errors import InputError

__all__ = ["LabelmeFormat"]


_ENOUGH = {"rectangle": 2, "circle": 2, "polygon": 3}


class _Shape(msgspec.Struct, gc=False):
    label: str
    points: list[tuple[float, float]]
    shape_type: str | None = "polygon"
    score: float | None = None


class _File(msgspec.Struct):
    shapes: list[_Shape]
    imagePath: str | None = None  # noqa: N815 - LabelMe's word
    imageWidth: int | None = None  # noqa: N815
    imageHeight: int | None = None  # noqa: N815


_DECODER = msgspec.json.Decoder(_File)


class LabelmeFormat(Format):
    """JSON files of LabelMe, and of tools that write a score into each shape."""

    title = "LabelMe JSON, a file per image"

    def recognises(self, look: Look) -> int:
        """Take JSON with shapes."""
        if look.folder:
            names = look.ending(".json")
            return int(bool(names) and all(self.recognises(look.into(name)) for name in names[:3]))
        text = look.text.lstrip("\ufeff \t\r\n")
        return int(text.startswith("{") and '"shapes"' in text and '"annotations"' not in text)

    def results(
        self, path: Path, vocabulary: Vocabulary | None, reading: Reading, progress: Progress | None
    ) -> RawResults:
        """Read shapes with a score; of an outline its bounds."""
        folder, names = _files(path)
        keys: dict[str, int] = {}
        image, category, score, box = [], [], [], []
        place: list[int] = []
        notes: list[str] = []
        for number, name in enumerate(names):
            for nth, shape in _shapes(_read(folder / name), notes):
                if shape.score is None:
                    remedy = "Write a score into each shape; shapes without are given as ground truth"
                    raise InputError(f"{folder / name}, shape {nth}", "it has no score", remedy)
                image.append(number)
                category.append(keys.setdefault(shape.label, len(keys)))
                score.append(shape.score)
                box.append(_bounds(shape))
                place.append(nth)
        columns = raw_columns(
            images=[RecordKey(stem_of(name), None) for name in names],
            image=np.array(image, np.int32),
            categories=[RecordKey(None, name) for name in keys],
            category=np.array(category, np.int32),
            score=np.array(score),
            box=np.array(box),
        )
        return RawResults.of(
            str(path),
            columns,
            native="xyxy",
            notes=_counted(notes),
            place=lambda row: f"{names[image[row]]}, shape {place[row]}",
        )

    def truth(self, path: Path, files: Mapping[str, Path]) -> GroundTruth:
        """Read annotations; outlines become masks."""
        folder, names = _files(path)
        found = NamedObjects(path)
        notes: list[str] = []
        for name in names:
            file = _read(folder / name)
            suffix = PurePosixPath((file.imagePath or "").replace("\\", "/")).suffix or ".jpg"
            size = (file.imageWidth or 0, file.imageHeight or 0)
            image = found.add_image(stem_of(name) + suffix, size)
            for _, shape in _shapes(file, notes):
                polygons = None
                if shape.shape_type in (None, "polygon") and all(size):
                    polygons = [[side for point in shape.points for side in point]]
                found.add(image, shape.label, _bounds(shape), polygons=polygons)
        found.notes += _counted(notes)
        return found.truth()


def _files(path: Path) -> tuple[Path, list[str]]:
    look = Look.at(path)
    return (path, look.ending(".json")) if look.folder else (path.parent, [path.name])


def _read(file: Path) -> _File:
    try:
        return _DECODER.decode(file_bytes(file, "a LabelMe file").removeprefix(b"\xef\xbb\xbf"))
    except (msgspec.DecodeError, UnicodeError) as error:
        raise InputError(file, f"expected a LabelMe file in JSON ({error})", "Write it again") from error


def _shapes(file: _File, notes: list[str]) -> Any:
    """Yield number and shape of what has an extent, noting the others."""
    for nth, shape in enumerate(file.shapes):
        kind = shape.shape_type or "polygon"
        enough = _ENOUGH.get(kind)
        if enough is None or len(shape.points) < enough:
            notes.append(kind)
        else:
            yield nth, shape


def _counted(kinds: list[str]) -> list[str]:
    return [f"{kinds.count(kind)} shapes of type {kind} have no box and are left out" for kind in sorted(set(kinds))]


def _bounds(shape: _Shape) -> tuple[float, float, float, float]:
    if len(shape.points) == 2 and shape.shape_type != "circle":  # nearly all: opposite corners, whichever
        (x1, y1), (x2, y2) = shape.points
        left, right = (x1, x2) if x1 <= x2 else (x2, x1)
        return (left, y1, right, y2) if y1 <= y2 else (left, y2, right, y1)
    x, y = [point[0] for point in shape.points], [point[1] for point in shape.points]
    if shape.shape_type == "circle":  # its centre and a point on it
        radius = float(np.hypot(x[1] - x[0], y[1] - y[0]))
        return x[0] - radius, y[0] - radius, x[0] + radius, y[0] + radius
    return min(x), min(y), max(x), max(y)
