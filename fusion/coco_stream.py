"""Walking through a COCO results file: the list or dictionary around the records, and block after block of them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from fusion.category_join import CategoryJoin
from fusion.coco_batches import BatchSettler
from fusion.coco_records import Problems, RecordReader, decode, show
from fusion.errors import InputError
from fusion.image_join import ImageJoin
from fusion.json_source import JsonSource
from fusion.kernels.json_batch import COUNTS, NAMES, RECORDS, ROWS, new_batch
from fusion.kernels.json_scan import BROKEN, COMMA, END, FIRST, FULL, REFUSED, VALUE, scan
from fusion.table import DetectionTable, Metadata
from fusion.vocabulary import Listed, Vocabulary, printable

__all__ = ["ResultsStream"]

_SHAPE = "a list of results, or a dictionary whose 'annotations' have scores"


class ResultsStream:
    """One results file under way.

    Args:
        where: Name of the file for messages.
        source: The file.
        plain: Read plain records with compiled code.
        vocabulary: What the ground truth knows.
        joins: Makes the joins once it is known what the file lists itself.
        image_offset: Added to integer image ids.
        box_format: "xywh" or "xyxy".
        scores: "any" or "unit".
    """

    def __init__(
        self,
        where: str,
        source: JsonSource,
        plain: bool,
        vocabulary: Vocabulary | None,
        joins: Callable[[Listed], tuple[ImageJoin | None, CategoryJoin]],
        image_offset: int,
        box_format: str,
        scores: str,
    ) -> None:
        self._where, self._source, self._plain = where, source, plain
        self._vocabulary, self._joins = vocabulary, joins
        self._options = (image_offset, box_format, scores)
        self._listed = Listed({}, {}, {})
        self._problems = Problems(where)
        self._records = RecordReader(where, self._problems, self._size_of)
        self._batch = new_batch(len(source.data))
        self._image_join: ImageJoin | None = None
        self._settler: BatchSettler
        self._fault: InputError | None = None

    def read(self) -> None:
        """Read the whole file."""
        first = self._source.peek()
        if first == ord("["):
            self._read_records()
        elif first == ord("{"):
            self._read_dictionary()
        else:
            value = show(self._source.decoded("a list")) if first >= 0 else "white space only"
            raise InputError(self._where, f"expected {_SHAPE}, got {value}", "Give a COCO results file")
        if self._source.peek() >= 0:
            raise InputError(
                f"{self._where}, byte {self._source.offset}",
                "is not JSON: something follows the end of the results",
                "Write one list; one record on each line is not a COCO results file",
            )

    def table(self, metadata: Metadata) -> DetectionTable:
        """Return the detections that were read."""
        self._problems.finish()
        notes = list(self._source.notes)
        if self._image_join is not None:
            notes += self._image_join.finish()
        notes += self._settler.finish()
        if self._records.whole_floats:
            notes.append(f"{self._records.whole_floats} ids are written as floats such as 5.0, read as integers")
        if self._records.polygons:
            notes.append(f"{self._records.polygons} masks are polygons, turned into RLE")
        ignored = sorted(self._records.ignored | self._names())
        if ignored:
            more = f" and {len(ignored) - 20} more" if len(ignored) > 20 else ""
            notes.append(f"ignored keys: {', '.join(printable(name, 40) for name in ignored[:20])}{more}")
        made_by: dict[str, Any] = {**metadata.made_by, "source": Path(self._where).name, "notes": notes}
        boxes = "from_masks" if self._settler.only_masks else "given"
        columns = self._settler.columns()
        return DetectionTable.from_arrays(
            **columns, metadata=msgspec.structs.replace(metadata, boxes=boxes, made_by=made_by), where=self._where
        )

    def _names(self) -> set[str]:
        ends = self._batch.names_end
        texts = [self._batch.names[ends[i] : ends[i + 1]].tobytes() for i in range(int(self._batch.used[NAMES]))]
        return {text.decode() for text in texts}

    def _read_dictionary(self) -> None:
        source = self._source
        source.expect(b"{", "a dictionary")
        listed: dict[str, dict[int | str, Any]] = {"names": {}, "sizes": {}, "categories": {}}
        keys: list[str] = []
        later: int | None = None
        closing = source.peek() == ord("}")
        source.at += closing
        while not closing:
            if source.peek() != ord('"'):
                source.expect(b'"', "a key")
            key = source.decoded("a key")
            if key in keys and key in ("annotations", "images", "categories"):
                raise InputError(self._where, f"the key {key!r} occurs twice", "Write the file again")
            keys.append(key)
            source.expect(b":", "a colon")
            if source.peek() != ord("["):
                value = source.decoded(f"the value of {key!r}")
                if key in ("annotations", "images", "categories"):
                    raise InputError(f"{self._where}, key {key!r}", f"expected a list, got {show(value)}")
            elif key == "annotations":
                # ids are joined as they are read, so the file's own lists have to be known
                later = source.offset
                if "images" in keys and "categories" in keys:
                    self._listed = Listed(listed["names"], listed["sizes"], listed["categories"])
                    self._read_records()
                    later = -1
                else:
                    self._each(key, lambda *_: None)
            elif key == "images":
                self._each(key, lambda text, place: self._image(text, place, listed["names"], listed["sizes"]))
            elif key == "categories":
                self._each(key, lambda text, place: self._category(text, place, listed["categories"]))
            else:
                self._each(key, lambda text, place: decode(text, self._where, place))
            closing = source.expect(b",}", "a comma or the end of the dictionary") == ord("}")
        if later is None:
            self._refuse_dictionary(keys)
        if self._fault is not None:
            raise self._fault
        if later is not None and later >= 0:
            end = source.offset
            source.seek(later)
            self._listed = Listed(listed["names"], listed["sizes"], listed["categories"])
            self._read_records()
            source.seek(end)

    def _each(self, key: str, use: Callable[[bytes, int], object]) -> None:
        """Pass over a list, value by value."""
        source = self._source
        source.expect(b"[", "a list")
        closing = source.peek() == ord("]")
        source.at += closing
        while not closing:
            use(*source.value(f"list {key!r}"))
            closing = source.expect(b",]", f"a comma or the end of list {key!r}") == ord("]")

    def _image(self, text: bytes, place: int, names: dict[Any, Any], sizes: dict[Any, Any]) -> None:
        image = decode(text, self._where, place)
        number = self._own_id(image, place)
        if number is None:
            return
        if isinstance(image.get("file_name"), str):
            names[number] = image["file_name"]
        size = (image.get("height"), image.get("width"))
        if all(isinstance(length, int) and not isinstance(length, bool) and 0 < length < 2**31 for length in size):
            sizes[number] = size

    def _category(self, text: bytes, place: int, names: dict[Any, Any]) -> None:
        category = decode(text, self._where, place)
        number = self._own_id(category, place)
        if number is None:
            return
        if isinstance(category.get("name"), str):
            names[number] = category["name"]

    def _own_id(self, value: Any, place: int) -> int | str | None:
        number = value.get("id") if isinstance(value, dict) else None
        if isinstance(number, int | str) and not isinstance(number, bool):
            return number
        # raised only where there are annotations: a file without them is of another kind, which is the better message
        if self._fault is None:
            problem = f"expected an object with an 'id', got {show(value)}"
            self._fault = InputError(f"{self._where}, byte {place}", problem, "Mend the lists of images and categories")
        return None

    def _refuse_dictionary(self, keys: list[str]) -> None:
        got = (
            f"a dictionary with {', '.join(printable(key, 20) for key in keys[:12])}" if keys else "an empty dictionary"
        )
        remedy = "Give a COCO results file"
        if "images" in keys:
            remedy = "If this is a ground truth, give it as such; if results in another form, convert them"
        elif "image_id" in keys:
            remedy = "This looks like single records; put them into one list"
        raise InputError(self._where, f"expected {_SHAPE}, got {got}", remedy)

    def _read_records(self) -> None:
        self._image_join, category_join = self._joins(self._listed)
        self._settler = BatchSettler(
            self._where, self._vocabulary, self._image_join, category_join, self._problems, *self._options
        )
        source, state = self._source, FIRST
        source.expect(b"[", "a list")
        while True:
            source.at, state, status = scan(source.data, source.at, source.size, state, self._batch, self._plain)
            if status == END:
                break
            if status == FULL:
                self._settle()
            elif status == BROKEN:
                source.expect(b",]", f"a comma or the end of the list after record {self._number - 1}")
            elif status == REFUSED or not self._more():
                if source.at >= source.size:
                    raise source.truncated(f"record {self._number}" if state != COMMA else "the list")
                if state == VALUE and source.peek() == ord("]"):
                    source.expect(b"", f"record {self._number} after the comma")
                self._read_one()
                state = COMMA
        self._settle()

    @property
    def _number(self) -> int:
        return int(self._batch.used[RECORDS])

    def _more(self) -> bool:
        self._settle()
        grown = self._source.more()
        self._fit()
        return grown

    def _fit(self) -> None:
        """Give the batch as much room as the source, where that has grown."""
        self._widen(len(self._source.data))

    def _widen(self, room: int) -> None:
        if room > len(self._batch.counts):
            bigger = new_batch(room)
            for name in ("names", "names_end", "used"):
                getattr(bigger, name)[:] = getattr(self._batch, name)
            self._batch = bigger

    def _read_one(self) -> None:
        """Read the record at hand with the standard library."""
        number, reads = self._number, self._source.reads
        text, place = self._source.value(f"record {number}")
        if self._source.reads != reads:
            self._settle()
            self._fit()
        record = decode(text, f"{self._where}, record {number}", place)
        while room := self._records.add(record, self._batch):
            self._settle()
            self._widen(room)
        # a mask made of polygons may be longer than their text: keep room for the rest of the block
        if self._batch.used[COUNTS] > self._source.at:
            self._settle()

    def _settle(self) -> None:
        if self._batch.used[ROWS]:
            self._settler.settle(self._batch)

    def _size_of(self, image: int | str) -> tuple[int, int] | None:
        if image in self._listed.sizes:
            return self._listed.sizes[image]
        if self._image_join is None or self._vocabulary is None or self._vocabulary.sizes is None:
            return None
        place = self._image_join.place(image)
        if place < 0:
            return (1, 1)  # the detection is dropped, or refused with all others on such images
        height, width = self._vocabulary.sizes[place].tolist()
        return height, width
