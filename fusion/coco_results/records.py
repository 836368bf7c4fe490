"""One record of a COCO results file: the plain form, and the careful reading of every other form."""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Any

import msgspec
from pycocotools import mask as mask_codec

from fusion.coco_results.vocabulary import printable
from fusion.errors import InputError

__all__ = ["NAMES", "NamedResult", "Problems", "RecordReader", "Result", "Rle", "show"]

NAMES = ("file_name", "image_name", "category_name")

_COORDINATE = 1e6  # pycocotools walks along polygon edges pixel by pixel


_Id = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)] | Annotated[str, msgspec.Meta(min_length=1)]


class Rle(msgspec.Struct, gc=False):
    """A mask as compressed run lengths; `size` is (height, width)."""

    size: tuple[int, int]
    counts: str


class Result(msgspec.Struct, gc=False):
    """A detection in the plain form that practically every file has."""

    image_id: _Id
    category_id: _Id
    score: float
    bbox: tuple[float, float, float, float] | None = None
    segmentation: Rle | None = None


class NamedResult(msgspec.Struct, gc=False):
    """A detection with names beside its ids, or in their place."""

    score: float
    image_id: _Id | None = None
    category_id: _Id | None = None
    bbox: tuple[float, float, float, float] | None = None
    segmentation: Rle | None = None
    file_name: str | None = None
    image_name: str | None = None
    category_name: str | None = None

    @property
    def image(self) -> str | None:
        """The name of the image's file."""
        return self.file_name or self.image_name


def show(value: object) -> str:
    """Return a value as JSON, cut to a length that fits in a message."""
    try:
        text = json.dumps(value)
    except (TypeError, ValueError, RecursionError):
        text = str(type(value).__name__)
    return text if len(text) <= 60 else text[:57] + "..."


class _Fault(Exception):  # noqa: N818 - never leaves this module
    def __init__(self, field_name: str, expected: str, got: str, remedy: str = "Mend these records") -> None:
        super().__init__(field_name)
        self.field, self.expected, self.got, self.remedy = field_name, expected, got, remedy


@dataclass
class _Kind:
    remedy: str
    first: list[tuple[int, str, str]] = field(default_factory=list)
    count: int = 0


class Problems:
    """Faults of records, gathered so that one message names the first ones and how many there are.

    Args:
        where: Name of the results file.
        place: Says where a record stands, by its number.
    """

    def __init__(self, where: str, place: Callable[[int], str] = "record {}".format) -> None:
        self._where, self.place = where, place
        self._kinds: dict[str, _Kind] = {}

    def add(self, record: int, field_name: str, expected: str, got: str, remedy: str) -> None:
        """Keep one fault; of those that expected the same, the first four are kept and all are counted."""
        kind = self._kinds.setdefault(expected, _Kind(remedy))
        kind.count += 1
        if len(kind.first) < 4:
            kind.first.append((record, field_name, got))

    def errors(self) -> list[InputError]:
        """Return an error for each kind of fault: the first records and fields, what was expected, how many."""
        kinds = sorted(self._kinds.items(), key=lambda item: item[1].first[0][0])
        return [self._error(expected, kind) for expected, kind in kinds]

    def _error(self, expected: str, kind: _Kind) -> InputError:
        record, name, got = kind.first[0]
        place = f"{self._where}, {self.place(record)}" + (f", field {name!r}" if name else "")
        text = f"expected {expected}, got {got}"
        if kind.count > 1:
            more = ", ".join(f"{self.place(r)} ({n}: {g})" if n else self.place(r) for r, n, g in kind.first[1:])
            rest = kind.count - len(kind.first)
            text += f"; the same {kind.count - 1} more times: {more}" + (f" and {rest} others" if rest else "")
        return InputError(place, text, kind.remedy)


class RecordReader:
    """Turns decoded records of any form into plain ones.

    Args:
        where: Name of the results file.
        problems: Where faults go.
        size_of: Height and width of an image by what a record has, its id and its name; None where they are not known.
        names: Whether a record may have names in place of ids.

    Attributes:
        whole_floats: Number of ids written as floats.
        polygons: Number of masks that were polygons.
    """

    def __init__(
        self,
        where: str,
        problems: Problems,
        size_of: Callable[[int | str | None, str | None], tuple[int, int] | None],
        *,
        names: bool = True,
    ) -> None:
        self._where, self._problems, self._size_of, self._names = where, problems, size_of, names
        self.whole_floats = 0
        self.polygons = 0

    def read(self, record: object, number: int) -> NamedResult | None:
        """Return a record in the plain form; None if it has a fault, which is then among the problems.

        Raises:
            InputError: If this is the first record and the file is of another kind altogether.
        """
        if number == 0:
            self.refuse_other_kinds(record)
        try:
            return self._result(record)
        except _Fault as fault:
            self._problems.add(number, fault.field, fault.expected, fault.got, fault.remedy)
            return None

    def _result(self, record: object) -> NamedResult:
        if not isinstance(record, dict):
            raise _Fault("", "an object with image_id, category_id, bbox and score", show(record), "")
        names = {name: record[name] for name in NAMES if isinstance(record.get(name), str) and record[name]}
        names = names if self._names else {}
        file_name = names.get("file_name", names.get("image_name"))
        image = self._id(record, "image_id", file_name)
        category = self._id(record, "category_id", names.get("category_name"))
        score = _number("score", _required(record, "score"), "a finite number")
        mask = self._mask(record.get("segmentation"), image, file_name)
        return NamedResult(score, image, category, _box(record.get("bbox"), mask is not None), mask, **names)

    def _id(self, record: dict[str, Any], name: str, instead: str | None) -> Any:
        if record.get(name) is None and instead is not None:
            return None
        value = _required(record, name)
        if isinstance(value, float) and value.is_integer():
            self.whole_floats += 1
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int | str) or value == "":
            raise _Fault(name, "an integer or a text", "an empty text" if value == "" else show(value))
        if isinstance(value, int) and not -(2**63) <= value < 2**63:
            raise _Fault(name, "an id that fits in 64 bits", show(value), "Write such ids as texts")
        if isinstance(value, str) and not value.isprintable() and value != value.encode(errors="replace").decode():
            raise _Fault(name, "Unicode text", show(value))
        return value

    def _mask(self, value: object, image: Any, name: str | None) -> Rle | None:
        if value is None or value == []:
            return None
        if isinstance(value, list):
            return self._polygons(value, image, name)
        if not isinstance(value, dict) or "size" not in value or "counts" not in value:
            raise _Fault("segmentation", "RLE with size and counts, or polygons", show(value))
        size, counts = value["size"], value["counts"]
        if not (isinstance(size, list) and len(size) == 2 and all(_whole(n) and 0 <= n < 2**31 for n in size)):
            raise _Fault("segmentation.size", "[height, width]", show(size))
        if isinstance(counts, str) and counts.isascii():
            return Rle((size[0], size[1]), counts)
        if not isinstance(counts, list) or not all(_whole(n) and 0 <= n < 2**32 for n in counts):
            raise _Fault("segmentation.counts", "a text of compressed runs or a list of run lengths", show(counts))
        if not counts or sum(counts) != size[0] * size[1] or not 0 < sum(counts) < 2**32:
            got = f"a sum of {sum(counts)} for size {size}"
            raise _Fault("segmentation.counts", "run lengths that fill the image", got, "Encode the masks again")
        return Rle((size[0], size[1]), mask_codec.frPyObjects(value, size[0], size[1])["counts"].decode())

    def _polygons(self, polygons: list[Any], image: int | str | None, name: str | None) -> Rle:
        for polygon in polygons:
            points = isinstance(polygon, list) and len(polygon) >= 6 and len(polygon) % 2 == 0
            if not points or not all(_real(x) and abs(x) <= _COORDINATE for x in polygon):
                raise _Fault("segmentation", "polygons [x1, y1, x2, y2, ...] of at least three points", show(polygon))
        size = self._size_of(image, name)
        if size is None:
            raise InputError(
                f"{self._where}, image {name if image is None else image}",
                "its masks are polygons, and the size of the image is not known",
                "Give the ground truth, whose images have a height and a width, or write the masks as RLE",
            )
        self.polygons += 1
        return Rle(size, mask_codec.merge(mask_codec.frPyObjects(polygons, *size))["counts"].decode())

    def refuse_other_kinds(self, record: object) -> None:
        """Raise if a file with this first record is of another kind altogether."""
        where = f"{self._where}, record 0"
        if not isinstance(record, dict):
            return
        if "keypoints" in record and "bbox" not in record and "segmentation" not in record:
            raise InputError(where, "these are keypoint results, without boxes or masks", "Import detection results")
        if "segments_info" in record:
            raise InputError(where, "these are panoptic results, without scores", "Import detection results")
        if "score" not in record and {"image_id", "category_id", "id"} <= record.keys():
            raise InputError(
                where,
                "its annotations have no score, so it is a ground truth, not results",
                "Give it as the ground truth and import the detections of a model",
            )


def _required(record: dict[str, Any], name: str) -> Any:
    if name not in record:
        keys = ", ".join(printable(key, 40) for key in list(record)[:12]) or "no keys"
        raise _Fault(name, f"a field {name!r} in every record", f"only {keys[:100]}")
    return record[name]


def _number(name: str, value: object, expected: str) -> float:
    if not _real(value):
        raise _Fault(
            name,
            expected,
            show(value),
            "Write numbers without quotes" if isinstance(value, str) else "Mend these records",
        )
    try:
        number = float(value)  # type: ignore[arg-type]
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise _Fault(name, "a finite number", show(number), "Drop or mend these records")
    return number


def _box(value: object, masked: bool) -> tuple[float, float, float, float] | None:
    if value is None:
        if not masked:
            raise _Fault("bbox", "a bbox or a segmentation in every record", "neither")
        return None
    if not isinstance(value, list) or len(value) != 4:
        raise _Fault("bbox", "a list of 4 numbers", show(value))
    x, y, w, h = (_number("bbox", number, "a list of 4 numbers") for number in value)
    return x, y, w, h


def _real(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
