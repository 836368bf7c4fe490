"""One record of a COCO results file, read with care: what the fast scanner refuses comes here."""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from pycocotools import mask as mask_codec

from fusion.errors import InputError
from fusion.kernels.json_batch import CATEGORY, COUNTS, IMAGE, INTEGER, RECORDS, ROWS, TEXT, Batch
from fusion.kernels.json_scan import read_runs
from fusion.vocabulary import printable

__all__ = ["Problems", "RecordReader", "decode", "show"]

_KNOWN = {"image_id", "category_id", "bbox", "score", "segmentation"}
_COORDINATE = 1e6  # pycocotools walks along polygon edges pixel by pixel


def show(value: object) -> str:
    """Return a value as JSON, cut to a length that fits in a message."""
    try:
        text = json.dumps(value)
    except (TypeError, ValueError, RecursionError):
        text = str(type(value).__name__)
    return text if len(text) <= 60 else text[:57] + "..."


def decode(text: bytes, where: str, offset: int) -> Any:
    """Decode one JSON value of a file.

    Args:
        text: The bytes of the value.
        where: The file, or the file and the record.
        offset: Place of the first byte in the file.

    Raises:
        InputError: If it is not JSON; the byte is named.
    """
    try:
        return json.loads(text.decode())
    except UnicodeDecodeError as error:
        byte = offset + error.start
        raise InputError(
            f"{where}, byte {byte}", "expected UTF-8 text, got other bytes", "Write the file as UTF-8"
        ) from error
    except json.JSONDecodeError as error:
        byte = offset + len(error.doc[: error.pos].encode("utf-8", "surrogatepass"))
        problem = error.msg[0].lower() + error.msg[1:]
        raise InputError(f"{where}, byte {byte}", f"is not JSON: {problem}", "Write the file again") from error
    except RecursionError as error:
        raise InputError(f"{where}, byte {offset}", "is nested too deep to be results") from error
    except ValueError as error:  # an integer of more digits than Python converts
        raise InputError(f"{where}, byte {offset}", "holds a number of thousands of digits") from error


class _Fault(Exception):  # noqa: N818 - never leaves this module
    def __init__(self, field_name: str, expected: str, got: str, remedy: str) -> None:
        super().__init__(field_name)
        self.field, self.expected, self.got, self.remedy = field_name, expected, got, remedy


@dataclass
class _Kind:
    remedy: str
    first: list[tuple[int, str, str]] = field(default_factory=list)
    count: int = 0


class Problems:
    """Faults of records, gathered so that one message names the first ones and how many there are."""

    def __init__(self, where: str) -> None:
        self._where = where
        self._kinds: dict[str, _Kind] = {}

    def add(self, record: int, field_name: str, expected: str, got: str, remedy: str) -> None:
        """Keep one fault; of those that expected the same, the first four are kept and all are counted."""
        kind = self._kinds.setdefault(expected, _Kind(remedy))
        kind.count += 1
        if len(kind.first) < 4:
            kind.first.append((record, field_name, got))

    def finish(self) -> None:
        """Raise if there was a fault.

        Raises:
            InputError: Naming the first records and fields, what was expected, and how many there are.
        """
        if not self._kinds:
            return
        expected, kind = min(self._kinds.items(), key=lambda item: item[1].first[0][0])
        record, name, got = kind.first[0]
        place = f"{self._where}, record {record}" + (f", field {name!r}" if name else "")
        text = f"expected {expected}, got {got}"
        if kind.count > 1:
            more = ", ".join(f"record {r} ({n}: {g})" if n else f"record {r}" for r, n, g in kind.first[1:])
            rest = kind.count - len(kind.first)
            text += f"; the same {kind.count - 1} more times: {more}" + (f" and {rest} others" if rest else "")
        others = sum(other.count for other in self._kinds.values()) - kind.count
        if others:
            text += f"; and {others} other faults"
        raise InputError(place, text, kind.remedy)


class RecordReader:
    """Puts decoded records into a batch.

    Args:
        where: Name of the results file.
        problems: Where faults go.
        size_of: Height and width of an image by its id in the file; None where they are not known.
    """

    def __init__(self, where: str, problems: Problems, size_of: Callable[[int | str], tuple[int, int] | None]) -> None:
        self._where, self._problems, self._size_of = where, problems, size_of
        self.whole_floats = 0
        self.polygons = 0
        self.ignored: set[str] = set()

    def add(self, record: object, batch: Batch) -> int:
        """Put one record into the next row of a batch, or its fault among the problems.

        Returns:
            0, or the room that an emptied batch needs for the record's mask, if this one has too little;
            nothing was done then.

        Raises:
            InputError: If this is the first record and the file is of another kind altogether.
        """
        number = int(batch.used[RECORDS])
        if number == 0:
            self._refuse_other_kinds(record)
        try:
            room = self._put(record, number, batch)
            if room:
                return room
        except _Fault as fault:
            self._problems.add(number, fault.field, fault.expected, fault.got, fault.remedy)
        batch.used[RECORDS] += 1
        return 0

    def _put(self, record: object, number: int, batch: Batch) -> int:
        if not isinstance(record, dict):
            raise _Fault("", "an object with image_id, category_id, bbox and score", show(record), "")
        image = self._id(record, "image_id")
        category = self._id(record, "category_id")
        score = _number("score", _required(record, "score"), "a finite number")
        mask = self._mask(record.get("segmentation"), image)
        box = _box(record.get("bbox"), mask is not None)
        row = int(batch.used[ROWS])
        # a record's own text has room for all it says, but a polygon's mask may be longer than the polygon
        if mask is not None and int(batch.used[COUNTS]) + len(mask[1]) > len(batch.counts):
            return len(mask[1])
        batch.record[row] = number
        _put_id(image, row, batch.image, batch.image_kind, batch.image_text, batch.image_end, batch.used, IMAGE)
        _put_id(
            category,
            row,
            batch.category,
            batch.category_kind,
            batch.category_text,
            batch.category_end,
            batch.used,
            CATEGORY,
        )
        batch.value[row, 0] = score
        batch.boxed[row] = box is not None
        if box is not None:
            batch.value[row, 1:] = box
        batch.masked[row] = mask is not None
        if mask is not None:
            batch.size[row] = mask[0]
            batch.pixels[row] = _pixels(mask[1])
            used = int(batch.used[COUNTS])
            batch.counts[used : used + len(mask[1])] = np.frombuffer(mask[1], np.uint8)
            batch.used[COUNTS] = used + len(mask[1])
        batch.counts_end[row + 1] = batch.used[COUNTS]
        batch.used[ROWS] = row + 1
        self.ignored.update(record.keys() - _KNOWN)
        return 0

    def _id(self, record: dict[str, Any], name: str) -> int | str:
        value = _required(record, name)
        expected = "an integer or a text"
        if isinstance(value, float) and value.is_integer():
            self.whole_floats += 1
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int | str):
            raise _Fault(name, expected, show(value), "Mend these records")
        if isinstance(value, int) and not -(2**63) <= value < 2**63:
            raise _Fault(name, "an id that fits in 64 bits", show(value), "Write such ids as texts")
        if isinstance(value, str):
            if not value:
                raise _Fault(name, expected, "an empty text", "Mend these records")
            try:
                value.encode()
            except UnicodeEncodeError:
                raise _Fault(name, "Unicode text", show(value), "Mend these records") from None
        return value

    def _mask(self, value: object, image: int | str) -> tuple[tuple[int, int], bytes] | None:
        if value is None or value == []:
            return None
        if isinstance(value, list):
            return self._polygons(value, image)
        if not isinstance(value, dict) or "size" not in value or "counts" not in value:
            raise _Fault("segmentation", "RLE with size and counts, or polygons", show(value), "")
        size, counts = value["size"], value["counts"]
        if not (isinstance(size, list) and len(size) == 2 and all(_whole(n) and 0 <= n < 2**31 for n in size)):
            raise _Fault("segmentation.size", "[height, width]", show(size), "")
        if isinstance(counts, str):
            try:
                return (size[0], size[1]), counts.encode("ascii")
            except UnicodeEncodeError:
                raise _Fault("segmentation.counts", "compressed runs", show(counts), "") from None
        if not isinstance(counts, list) or not all(_whole(n) and 0 <= n < 2**32 for n in counts):
            raise _Fault("segmentation.counts", "a text of compressed runs or a list of run lengths", show(counts), "")
        if not counts or sum(counts) != size[0] * size[1] or not 0 < sum(counts) < 2**32:
            got = f"a sum of {sum(counts)} for size {size}"
            raise _Fault("segmentation.counts", "run lengths that fill the image", got, "Encode the masks again")
        compressed: Any = mask_codec.frPyObjects(value, size[0], size[1])  # type: ignore[call-overload]
        return (size[0], size[1]), compressed["counts"]

    def _polygons(self, polygons: list[Any], image: int | str) -> tuple[tuple[int, int], bytes]:
        for polygon in polygons:
            if (
                not isinstance(polygon, list)
                or len(polygon) < 6
                or len(polygon) % 2
                or not all(
                    isinstance(x, int | float) and not isinstance(x, bool) and abs(x) <= _COORDINATE for x in polygon
                )
            ):
                expected = "polygons [x1, y1, x2, y2, ...] of at least three points"
                raise _Fault("segmentation", expected, show(polygon), "")
        size = self._size_of(image)
        if size is None:
            raise InputError(
                f"{self._where}, image {image}",
                "its masks are polygons, and the size of the image is not known",
                "Give the ground truth, whose images have a height and a width, or write the masks as RLE",
            )
        self.polygons += 1
        merged: Any = mask_codec.merge(mask_codec.frPyObjects(polygons, size[0], size[1]))
        return size, merged["counts"]

    def _refuse_other_kinds(self, record: object) -> None:
        where = f"{self._where}, record 0"
        if not isinstance(record, dict):
            return
        if "keypoints" in record and "bbox" not in record and "segmentation" not in record:
            raise InputError(where, "these are keypoint results, without boxes or masks", "Import detection results")
        if "segments_info" in record:
            raise InputError(where, "these are panoptic results, without scores", "Import detection results")
        if "score" not in record and "image_id" in record and ("iscrowd" in record or "area" in record):
            raise InputError(
                where,
                "its annotations have no score, so it is a ground truth, not results",
                "Give it as the ground truth and import the detections of a model",
            )


def _required(record: dict[str, Any], name: str) -> Any:
    if name not in record:
        keys = ", ".join(printable(key, 20) for key in list(record)[:12]) or "no keys"
        raise _Fault(name, f"a field {name!r} in every record", f"only {keys}", "Mend these records")
    return record[name]


def _number(name: str, value: object, expected: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        remedy = "Write numbers without quotes" if isinstance(value, str) else "Mend these records"
        raise _Fault(name, expected, show(value), remedy)
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise _Fault(name, "a finite number", show(number), "Drop or mend these records")
    return number


def _box(value: object, masked: bool) -> tuple[float, ...] | None:
    if value is None:
        if not masked:
            raise _Fault("bbox", "a bbox or a segmentation in every record", "neither", "Mend these records")
        return None
    if not isinstance(value, list) or len(value) != 4:
        raise _Fault("bbox", "a list of 4 numbers", show(value), "Mend these records")
    return tuple(_number("bbox", number, "a list of 4 numbers") for number in value)


def _pixels(runs: bytes) -> int:
    """Return the sum of compressed runs, -1 where they are not in order."""
    text = runs.replace(b"\\", b"\\\\")
    data = np.frombuffer(text + b'"', np.uint8)
    end, _, pixels = read_runs(data, 0, np.empty(len(data), np.uint8), 0)
    return int(pixels) if end == len(text) else -1


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _put_id(
    value: int | str,
    row: int,
    numbers: np.ndarray,
    kinds: np.ndarray,
    texts: np.ndarray,
    ends: np.ndarray,
    used: np.ndarray,
    place: int,
) -> None:
    if isinstance(value, str):
        kinds[row] = TEXT
        text = value.encode()
        low = int(used[place])
        texts[low : low + len(text)] = np.frombuffer(text, np.uint8)
        used[place] = low + len(text)
    else:
        kinds[row] = INTEGER
        numbers[row] = value
    ends[row + 1] = used[place]
