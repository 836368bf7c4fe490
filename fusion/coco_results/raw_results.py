"""Results of any format as they stand, before it is settled what their ids and boxes mean."""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from fusion.checks import one_of
from fusion.coco_results.blocks import TruncatedError, decode_list
from fusion.coco_results.category_join import CategoryJoin
from fusion.coco_results.image_join import ImageJoin
from fusion.coco_results.interpret import Interpreter
from fusion.coco_results.raw import RawColumns, RawGatherer, RecordKey, counted
from fusion.coco_results.reading import AS_FOUND, Reading
from fusion.coco_results.records import NAMES, NamedResult, Problems, RecordReader, Result
from fusion.coco_results.vocabulary import OwnLists, Vocabulary, printable
from fusion.errors import InputError, option
from fusion.table import DetectionTable, Metadata

__all__ = ["Pieces", "RawResults"]

_KEYS = {*Result.__struct_fields__, *NAMES}
_PLAIN = msgspec.json.Decoder(list[Result])
_NAMED = msgspec.json.Decoder(list[NamedResult])
_NAME = b'_name"'  # how the keys of all names end


class RawResults:
    """A results file that was read, before it is settled what its ids and boxes mean.

    Args:
        where: Its name.
        vocabulary: Gives the sizes of images whose masks are polygons.
        reading: How those images are found.
        listed: What the file says about images and categories itself.
        place: Says where a record stands in it, by its number.

    Attributes:
        where: Its name.
        notes: What was odd about it.
        native: How its boxes stand in it, one of `fusion.box_formats.BOX_FORMATS`.
    """

    def __init__(
        self,
        where: str,
        vocabulary: Vocabulary | None,
        reading: Reading,
        listed: OwnLists,
        place: Callable[[int], str] = "record {}".format,
    ) -> None:
        self.where, self._vocabulary, self._listed = where, vocabulary, listed
        self.notes: list[str] = []
        self.native = "xywh"
        self._join = None if vocabulary is None else ImageJoin(where, vocabulary, reading, True, listed)
        self._problems = Problems(where, place)
        self._reader = RecordReader(where, self._problems, self._size_of)
        self._gatherer = RawGatherer(self._problems)
        self._count = 0
        self._other_keys: set[str] = set()

    @classmethod
    def of(
        cls,
        where: str,
        columns: RawColumns,
        *,
        native: str,
        listed: OwnLists | None = None,
        notes: Sequence[str] = (),
        place: Callable[[int], str] = "record {}".format,
    ) -> "RawResults":
        """Return results of any format, whose records are in columns already.

        Args:
            where: Name of the file or folder.
            columns: The records.
            native: How their boxes stand there.
            listed: What the file says about images and categories itself.
            notes: What was odd about it.
            place: Says where a record stands, by its number.
        """
        found = cls(where, None, AS_FOUND, listed or OwnLists({}, {}, {}), place)
        found.columns, found.native, found.notes = columns, native, list(notes)
        return found

    def name_categories(self, names: Mapping[int | str, str]) -> None:
        """Name the categories of a file that does not do so itself, if all of them are among the names."""
        keys = self.columns.categories
        if not self._listed.categories and all(key.name is None and key.id in names for key in keys):
            self._listed = replace(self._listed, categories=dict(names))

    def take_text(self, text: bytes, offset: int, last: bool) -> bool:
        """Take the records in a piece of the file; see `JsonFile.blocks`."""
        try:
            text.decode()  # msgspec does not look into what it passes over
            results: list[Result] | list[NamedResult]
            if _NAME in text:
                results = _NAMED.decode(b"[" + text + b"]")
                if not all(map(_whole, results)):
                    raise msgspec.DecodeError  # the careful way says what is missing
            else:
                results = _PLAIN.decode(b"[" + text + b"]")
            number = np.arange(self._count, self._count + len(results))
            if self._count == 0 and results:
                # the plain form passes over other keys; the first record tells which there are
                first = msgspec.json.decode(b"[" + text + b"]", type=list[dict[str, msgspec.Raw]])[0]
                self._reader.refuse_other_kinds(first)
                self._note_keys(first)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            try:
                self.take_records(decode_list(text, self.where, offset, self._count))
            except TruncatedError:
                if last:
                    raise
                return False
            return True
        self._gatherer.take(results, number)
        self._count += len(results)
        return True

    def take_records(self, records: Sequence[Any]) -> None:
        """Take decoded records of any form."""
        read = [(self._reader.read(record, number), number) for number, record in enumerate(records, self._count)]
        if self._count == 0 and records and isinstance(records[0], dict):
            self._note_keys(records[0])
        good = [(result, number) for result, number in read if result is not None]
        self._gatherer.take([result for result, _ in good], np.array([number for _, number in good], np.int64))
        self._count += len(records)

    @property
    def faulty(self) -> bool:
        """Whether a record has a fault, which `pieces` raise."""
        return bool(self._problems.errors())

    @cached_property
    def columns(self) -> RawColumns:
        """The records, in columns."""
        return self._gatherer.columns()

    @cached_property
    def _weights(self) -> tuple[np.ndarray, np.ndarray]:
        """Number of records of each image and of each category; readings are tried a few hundred times."""
        raw = self.columns
        return counted(raw.image, len(raw.images)), counted(raw.category, len(raw.categories))

    def images(self, vocabulary: Vocabulary, reading: Reading) -> np.ndarray:
        """Return where a reading finds each of `columns.images` in a vocabulary, int64; -1 where it does not."""
        join = ImageJoin(self.where, vocabulary, reading, True, self._listed)
        return join.places(self.columns.images, self._weights[0])[0]

    def categories(self, vocabulary: Vocabulary, reading: Reading) -> list[int | None]:
        """Return the category id that a reading gives to each of `columns.categories`; None where there is none."""
        join = CategoryJoin(self.where, vocabulary, reading, True, self._listed)
        return join.numbers(self.columns.categories, self._weights[1])[0]

    def pieces(
        self,
        vocabulary: Vocabulary | None,
        reading: Reading = AS_FOUND,
        *,
        unknown_images: str = "error",
        unknown_categories: str = "error",
        scores: str = "any",
        metadata: Metadata | None = None,
        categories: Vocabulary | None = None,
        rows: int | None = None,
    ) -> "Pieces":
        """Return the detections as a reading has them, some records at a time; see `read_coco_results`.

        Args:
            vocabulary: What the ground truth knows.
            reading: What ids, names and boxes mean.
            unknown_images: "error" or "drop".
            unknown_categories: "error" or "drop".
            scores: "any" or "unit".
            metadata: Data set, split, member for the table.
            categories: Without a vocabulary, that of the same data set's other images.
            rows: Number of records at a time; all by default.

        Raises:
            InputError: If options do not go together.
        """
        for name, value, choices in (
            ("unknown_images", unknown_images, ("error", "drop")),
            ("unknown_categories", unknown_categories, ("error", "drop")),
            ("scores", scores, ("any", "unit")),
        ):
            one_of(name, value, choices)
        for name, given in (
            ("images", vocabulary is None and reading.images not in (None, "id")),
            (
                "categories",
                vocabulary is None
                and categories is None
                and reading.categories not in (None, "id", "coco80")
                and reading.label_map is None,
            ),
        ):
            if given:
                raise InputError(
                    f"option {option(name)}", "joining by name or order needs a ground truth to join to", "Give one"
                )
        reading = replace(reading, native=self.native)
        metadata, dropping = metadata or Metadata(), unknown_images == "drop"
        image_join = None
        if vocabulary is not None:
            image_join = ImageJoin(self.where, vocabulary, reading, dropping, self._listed)
        known = vocabulary or categories
        category_join = CategoryJoin(self.where, known, reading, unknown_categories == "drop", self._listed)
        problems = copy.deepcopy(self._problems)
        interpreter = Interpreter(self.where, self.columns, vocabulary, reading, problems)
        made_by = {**metadata.made_by, "source": Path(self.where).name}
        metadata = msgspec.structs.replace(metadata, made_by=made_by)
        found = interpreter.pieces(image_join, category_join, scores, rows)
        return Pieces(self.where, found, interpreter, metadata, self._notes())

    def _notes(self) -> list[str]:
        notes = list(self.notes)
        if self._reader.whole_floats:
            notes.append(f"{self._reader.whole_floats} ids are written as floats such as 5.0, read as integers")
        if self._reader.polygons:
            notes.append(f"{self._reader.polygons} masks are polygons, turned into RLE")
        if self._other_keys:
            shown = sorted(self._other_keys)[:20]
            more = f" and {len(self._other_keys) - 20} more" if len(self._other_keys) > 20 else ""
            notes.append(f"ignored keys: {', '.join(printable(name, 40) for name in shown)}{more}")
        return notes

    def _note_keys(self, record: Mapping[str, Any]) -> None:
        self._other_keys.update(record.keys() - _KEYS)

    def _size_of(self, image: int | str | None, name: str | None) -> tuple[int, int] | None:
        if image is not None and image in self._listed.sizes:
            return self._listed.sizes[image]
        if self._join is None or self._vocabulary is None or self._vocabulary.sizes is None:
            return None
        place = self._join.place(RecordKey(image, name))
        if place < 0:
            return (1, 1)  # the detection is dropped, or refused with all others on such images
        height, width = self._vocabulary.sizes[place].tolist()
        return (height, width) if height > 0 and width > 0 else None


class Pieces:
    """Tables of consecutive records, made as they are asked for.

    Raises:
        InputError: With all faults of the records, after the last of those without.
    """

    def __init__(
        self,
        where: str,
        columns: Iterator[dict[str, Any]],
        interpreter: Interpreter,
        metadata: Metadata,
        notes: Sequence[str],
    ) -> None:
        self._where, self._columns, self._interpreter = where, columns, interpreter
        self._metadata, self._notes = metadata, notes

    def __iter__(self) -> Iterator[DetectionTable]:
        for columns in self._columns:
            yield DetectionTable.from_arrays(
                **columns,
                metadata=msgspec.structs.replace(self._metadata, unit=self._interpreter.unit),
                where=self._where,
            )

    def whole(self) -> DetectionTable:
        """Return the one table of all records, where they are not cut."""
        (table,) = self
        return replace(table, metadata=self.metadata)

    @property
    def metadata(self) -> Metadata:
        """What the table says about itself; known after the last piece."""
        made_by = {**self._metadata.made_by, "notes": [*self._notes, *self._interpreter.notes]}
        boxes = "from_masks" if self._interpreter.only_masks else "given"
        return msgspec.structs.replace(self._metadata, boxes=boxes, made_by=made_by, unit=self._interpreter.unit)


def _whole(result: NamedResult) -> bool:
    """Tell whether a record says which image and category it is of."""
    return (result.image_id is not None or bool(result.image)) and (
        result.category_id is not None or bool(result.category_name)
    )
