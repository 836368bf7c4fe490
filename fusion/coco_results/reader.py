"""Reading COCO results: JSON files of millions of detections, in blocks, into one detection table."""

import copy
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from fusion.checks import one_of
from fusion.coco_results.blocks import JsonFile, TruncatedError, decode, decode_list
from fusion.coco_results.category_join import CategoryJoin
from fusion.coco_results.image_join import ImageJoin
from fusion.coco_results.interpret import Interpreter
from fusion.coco_results.raw import RawColumns, RawGatherer, RecordKey
from fusion.coco_results.reading import AS_FOUND, Reading
from fusion.coco_results.records import NAMES, NamedResult, Problems, RecordReader, Result, show
from fusion.coco_results.vocabulary import OwnLists, Vocabulary, printable
from fusion.errors import InputError, option
from fusion.table import DetectionTable, Metadata

__all__ = ["RawResults", "gather_coco_results", "read_coco_results"]

# 2.1 M detections per CPU second with blocks of 256 KiB, 1.5 M with 4 MiB: records stay in the cache.
_BLOCK = 256 << 10
_SHAPE = "a list of results, or a dictionary whose 'annotations' have scores"
_KEYS = {*Result.__struct_fields__, *NAMES}
_PLAIN = msgspec.json.Decoder(list[Result])
_NAMED = msgspec.json.Decoder(list[NamedResult])
_NAME = b'_name"'  # how the keys of all names end


def read_coco_results(
    path: str | os.PathLike[str],
    *,
    vocabulary: Vocabulary | None = None,
    reading: Reading = AS_FOUND,
    unknown_images: str = "error",
    unknown_categories: str = "error",
    scores: str = "any",
    metadata: Metadata | None = None,
    progress: Callable[[int, int], None] | None = None,
    block: int = _BLOCK,
) -> DetectionTable:
    """Read a COCO results file into a detection table; every float keeps its 64 bits.

    The file is a list of {image_id, category_id, bbox, score, segmentation}, which is read in blocks:
    memory beyond the columns is a few times `block`, whatever the size of the file. Or it is a dictionary
    with such records, with scores, under "annotations" and with "images" and "categories" of its
    own, which is read as a whole. Either may be compressed by gzip, zstd, bzip2 or xz.

    A record may name its image (`file_name` or `image_name`) and its category (`category_name`) beside the ids or in
    their place. Where names and ids disagree, names win, with a note. Names of files are found whatever their folders,
    slashes, suffix, Unicode form and leading zeros, as far as they stay unambiguous; names of categories regardless
    of case, spaces, underscores and hyphens, with a note. Image ids that are no ids but stems of file names are joined
    as names.

    Records without bbox get the bounds of their mask; if that is all of them, the metadata say
    boxes="from_masks". Masks may be RLE, compressed or not, or polygons (the image size then comes
    from the vocabulary or the file's own images). An empty or absent segmentation is no mask; a mask
    without pixels is one. Other keys are ignored. Nothing is mended silently: what was done is told
    in `metadata.made_by["notes"]`, and what is not allowed is an error that names the record,
    counted from 0.

    Args:
        path: The file; "-" is standard input.
        vocabulary: What the ground truth knows. Without it any ids are accepted, unless a reading needs it.
        reading: What ids, names and boxes mean, where the file does not say it.
        unknown_images: "error", or "drop" detections on images that the vocabulary does not have.
        unknown_categories: "error", or "drop" detections of categories that are not found.
        scores: "any": all finite scores are accepted and a range beyond [0, 1] is noted.
            "unit": a score outside [0, 1] is an error.
        metadata: Data set, split, member for the table; `boxes` and `made_by` are filled in.
        progress: Called with the bytes read so far and in all.
        block: Bytes that are read at a time.

    Returns:
        The table, sorted by image; within an image in the order of the file.

    Raises:
        InputError: If an option, the file, or a record cannot be used; all kinds of fault are named.
    """
    raw = gather_coco_results(path, vocabulary=vocabulary, reading=reading, progress=progress, block=block)
    return raw.table(
        vocabulary,
        reading,
        unknown_images=unknown_images,
        unknown_categories=unknown_categories,
        scores=scores,
        metadata=metadata,
    )


def gather_coco_results(
    path: str | os.PathLike[str],
    *,
    vocabulary: Vocabulary | None = None,
    reading: Reading = AS_FOUND,
    progress: Callable[[int, int], None] | None = None,
    block: int = _BLOCK,
) -> "RawResults":
    """Read a COCO results file without settling yet what its ids and boxes mean; see `read_coco_results`.

    The vocabulary and the reading only give the sizes of images whose masks are polygons.
    """
    file = JsonFile(path, block, progress)
    try:
        start = file.offset
        if file.first == b"[":
            found = RawResults(file.name, vocabulary, reading, OwnLists({}, {}, {}))
            file.blocks(found.take_text)
        elif file.first == b"{":
            document = decode(file.whole(), file.name, start)
            listed, records = _dictionary(document, file.name)
            found = RawResults(file.name, vocabulary, reading, listed)
            found.take_records(records)
        else:
            got = show(decode(file.whole(), file.name, start)) if file.first else "white space only"
            raise InputError(file.name, f"expected {_SHAPE}, got {got}", "Give a COCO results file")
    finally:
        file.close()
    found.notes += file.notes
    return found


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
        """Whether a record has a fault, which `table` raises."""
        return bool(self._problems.errors())

    @cached_property
    def columns(self) -> RawColumns:
        """The records, in columns."""
        return self._gatherer.columns()

    @cached_property
    def _weights(self) -> tuple[np.ndarray, np.ndarray]:
        """Number of records of each image and of each category; readings are tried a few hundred times."""
        raw = self.columns
        return (
            np.bincount(raw.image, minlength=len(raw.images)),
            np.bincount(raw.category, minlength=len(raw.categories)),
        )

    def images(self, vocabulary: Vocabulary, reading: Reading) -> np.ndarray:
        """Return where a reading finds each of `columns.images` in a vocabulary, int64; -1 where it does not."""
        join = ImageJoin(self.where, vocabulary, reading, True, self._listed)
        return join.places(self.columns.images, self._weights[0])[0]

    def categories(self, vocabulary: Vocabulary, reading: Reading) -> list[int | None]:
        """Return the category id that a reading gives to each of `columns.categories`; None where there is none."""
        join = CategoryJoin(self.where, vocabulary, reading, True, self._listed)
        return join.numbers(self.columns.categories, self._weights[1])[0]

    def table(
        self,
        vocabulary: Vocabulary | None,
        reading: Reading = AS_FOUND,
        *,
        unknown_images: str = "error",
        unknown_categories: str = "error",
        scores: str = "any",
        metadata: Metadata | None = None,
        categories: Vocabulary | None = None,
    ) -> DetectionTable:
        """Return the detections as a reading has them; see `read_coco_results`.

        Without a vocabulary, that of `categories` tells the categories alone: of the same data set's other images.

        Raises:
            InputError: If a record had a fault, or ids were not found.
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
        columns = interpreter.columns(image_join, category_join, scores)
        made_by = {**metadata.made_by, "source": Path(self.where).name, "notes": [*self._notes(), *interpreter.notes]}
        boxes = "from_masks" if interpreter.only_masks else "given"
        return DetectionTable.from_arrays(
            **columns,
            metadata=msgspec.structs.replace(metadata, boxes=boxes, made_by=made_by, unit=interpreter.unit),
            where=self.where,
        )

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


def _whole(result: NamedResult) -> bool:
    """Tell whether a record says which image and category it is of."""
    return (result.image_id is not None or bool(result.image)) and (
        result.category_id is not None or bool(result.category_name)
    )


def _dictionary(document: dict[str, Any], where: str) -> tuple[OwnLists, list[Any]]:
    """Return what a results file that is a dictionary lists, and its records."""
    if "annotations" not in document:
        keys = ", ".join(map(printable, list(document)[:12]))
        got = f"a dictionary with {keys}" if keys else "an empty dictionary"
        remedy = "Give a COCO results file"
        if "images" in document:
            remedy = "If this is a ground truth, give it as such; if results in another form, convert them"
        elif "image_id" in document:
            remedy = "This looks like single records; put them into one list"
        raise InputError(where, f"expected {_SHAPE}, got {got}", remedy)
    lists = {key: document.get(key, []) for key in ("annotations", "images", "categories")}
    for key, value in lists.items():
        if not isinstance(value, list):
            raise InputError(f"{where}, key {key!r}", f"expected a list, got {show(value)}")
    images = {_own_id(image, where, "images"): image for image in lists["images"]}
    categories = {_own_id(category, where, "categories"): category for category in lists["categories"]}
    sizes = {number: (image.get("height"), image.get("width")) for number, image in images.items()}
    listed = OwnLists(
        {number: image["file_name"] for number, image in images.items() if isinstance(image.get("file_name"), str)},
        {number: size for number, size in sizes.items() if all(type(n) is int and 0 < n < 2**31 for n in size)},
        {number: entry["name"] for number, entry in categories.items() if isinstance(entry.get("name"), str)},
    )
    return listed, lists["annotations"]


def _own_id(value: Any, where: str, key: str) -> int | str:
    number = value.get("id") if isinstance(value, dict) else None
    if isinstance(number, bool) or not isinstance(number, int | str):
        raise InputError(f"{where}, key {key!r}", f"expected objects with an 'id', got {show(value)}")
    return number
