"""Reading COCO results: JSON files of millions of detections, in blocks, into one detection table."""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from fusion.checks import one_of
from fusion.coco_json.blocks import JsonFile, TruncatedError, decode, decode_list
from fusion.coco_json.category_join import CategoryJoin
from fusion.coco_json.columns import ColumnGatherer
from fusion.coco_json.image_join import ImageJoin
from fusion.coco_json.records import Problems, RecordReader, Result, show
from fusion.coco_json.vocabulary import Listed, Vocabulary, printable
from fusion.errors import InputError, option
from fusion.table import DetectionTable, Metadata

__all__ = ["read_coco_results"]

# 2.1 M detections per CPU second with blocks of 256 KiB, 1.5 M with 4 MiB: records stay in the cache.
_BLOCK = 256 << 10
_SHAPE = "a list of results, or a dictionary whose 'annotations' have scores"
_KEYS = set(Result.__struct_fields__)
_PLAIN = msgspec.json.Decoder(list[Result])


def read_coco_results(
    path: str | os.PathLike[str],
    *,
    vocabulary: Vocabulary | None = None,
    images: str = "id",
    categories: str = "id",
    label_map: Mapping[int | str, int | str] | None = None,
    image_offset: int = 0,
    category_offset: int = 0,
    unknown_images: str = "error",
    unknown_categories: str = "error",
    box_format: str = "xywh",
    scores: str = "any",
    metadata: Metadata | None = None,
    progress: Callable[[int, int], None] | None = None,
    block: int = _BLOCK,
) -> DetectionTable:
    """Read a COCO results file into a detection table; every float keeps its 64 bits.

    The file is a list of {image_id, category_id, bbox, score, segmentation}, which is read in blocks:
    memory beyond the table is a few times `block`, whatever the size of the file. Or it is a dictionary
    with such records, with scores, under "annotations" and with "images" and "categories" of its
    own, which is read as a whole.

    Records without bbox get the bounds of their mask; if that is all of them, the metadata say
    boxes="from_masks". Masks may be RLE, compressed or not, or polygons (the image size then comes
    from the vocabulary or the file's own images). An empty or absent segmentation is no mask; a mask
    without pixels is one. Other keys are ignored. Nothing is mended silently: what was done is told
    in `metadata.made_by["notes"]`, and what is not allowed is an error that names the record,
    counted from 0.

    Args:
        path: The file.
        vocabulary: What the ground truth knows. Without it any ids are accepted, unless an option needs it.
        images: "id": `image_id` is an id of the vocabulary (an integer written as a text, or the other
            way round, is read as the vocabulary has it). "file_name": it is a file name, or the id of
            an image of the file's own list, joined by file name; where the name as a whole is not
            found, without folder, then without suffix; it has to be unambiguous.
        categories: "id": `category_id` is an id of the vocabulary (texts such as "1" are read as
            integers). "name": it is a name, or the id of a category of the file's own list.
        label_map: Source category, by id or name, to target category, by id or name; then every
            source category has to be in it, and `categories` is not used.
        image_offset: Added to integer image ids.
        category_offset: Added to category ids; not with a label map or names.
        unknown_images: "error", or "drop" detections on images that the vocabulary does not have.
        unknown_categories: "error", or "drop" detections of categories that are not found.
        box_format: "xywh", or "xyxy" for corners, which are turned into xywh.
        scores: "any": all finite scores are accepted and a range beyond [0, 1] is noted.
            "unit": a score outside [0, 1] is an error.
        metadata: Data set, split, member for the table; `boxes` and `made_by` are filled in.
        progress: Called with the bytes read so far and in all.
        block: Bytes that are read at a time.

    Returns:
        The table, sorted by image; within an image in the order of the file.

    Raises:
        InputError: If an option, the file, or a record cannot be used.
    """
    for name, value, choices in (
        ("images", images, ("id", "file_name")),
        ("categories", categories, ("id", "name")),
        ("unknown_images", unknown_images, ("error", "drop")),
        ("unknown_categories", unknown_categories, ("error", "drop")),
        ("box_format", box_format, ("xywh", "xyxy")),
        ("scores", scores, ("any", "unit")),
    ):
        one_of(name, value, choices)
    for name, given in (("images", images == "file_name"), ("categories", categories == "name" and label_map is None)):
        if given and vocabulary is None:
            raise InputError(f"option {option(name)}", "joining by name needs a ground truth to join to", "Give one")
    if image_offset and images == "file_name":
        raise InputError(f"option {option('image_offset')}", "has no meaning where images are joined by file name")
    if category_offset and (label_map is not None or categories == "name"):
        raise InputError(f"option {option('category_offset')}", "has no meaning with a label map or names")
    where = str(path)

    def results(listed: Listed) -> _Results:
        image_join = None
        if vocabulary is not None:
            image_join = ImageJoin(where, vocabulary, images, image_offset, unknown_images == "drop", listed)
        drop = unknown_categories == "drop"
        category_join = CategoryJoin(where, vocabulary, categories, label_map, category_offset, drop, listed)
        return _Results(where, vocabulary, image_join, category_join, listed, (image_offset, box_format, scores))

    file = JsonFile(Path(path), block, progress)
    try:
        start = file.offset
        if file.first == b"[":
            found = results(Listed({}, {}, {}))
            file.blocks(found.take_text)
        elif file.first == b"{":
            document = decode(file.whole(), where, start)
            listed, records = _dictionary(document, where)
            found = results(listed)
            found.take_records(records)
        else:
            got = show(decode(file.whole(), where, start)) if file.first else "white space only"
            raise InputError(where, f"expected {_SHAPE}, got {got}", "Give a COCO results file")
    finally:
        file.close()
    return found.table(metadata or Metadata(), file.notes)


class _Results:
    """One file under way."""

    def __init__(
        self,
        where: str,
        vocabulary: Vocabulary | None,
        image_join: ImageJoin | None,
        category_join: CategoryJoin,
        listed: Listed,
        options: tuple[int, str, str],
    ) -> None:
        self._where, self._vocabulary, self._image_join, self._listed = where, vocabulary, image_join, listed
        self._problems = Problems(where)
        self._reader = RecordReader(where, self._problems, self._size_of)
        self._gatherer = ColumnGatherer(where, vocabulary, image_join, category_join, self._problems, *options)
        self._count = 0
        self._other_keys: set[str] = set()

    def take_text(self, text: bytes, offset: int, last: bool) -> bool:
        """Take the records in a piece of the file; see `JsonFile.blocks`."""
        try:
            text.decode()  # msgspec does not look into what it passes over
            results = _PLAIN.decode(b"[" + text + b"]")
            number = np.arange(self._count, self._count + len(results))
            if self._count == 0 and results:
                # the plain form passes over other keys; the first record tells which there are
                first = msgspec.json.decode(b"[" + text + b"]", type=list[dict[str, msgspec.Raw]])[0]
                self._reader.refuse_other_kinds(first)
                self._note_keys(first)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            try:
                self.take_records(decode_list(text, self._where, offset, self._count))
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

    def table(self, metadata: Metadata, notes: Sequence[str]) -> DetectionTable:
        """Return the detections that were read.

        Raises:
            InputError: If a record had a fault, or ids were not found.
        """
        self._problems.finish()
        notes = [*notes, *(self._image_join.finish() if self._image_join else ()), *self._gatherer.finish()]
        if self._reader.whole_floats:
            notes.append(f"{self._reader.whole_floats} ids are written as floats such as 5.0, read as integers")
        if self._reader.polygons:
            notes.append(f"{self._reader.polygons} masks are polygons, turned into RLE")
        if self._other_keys:
            shown = sorted(self._other_keys)[:20]
            more = f" and {len(self._other_keys) - 20} more" if len(self._other_keys) > 20 else ""
            notes.append(f"ignored keys: {', '.join(printable(name, 40) for name in shown)}{more}")
        made_by = {**metadata.made_by, "source": Path(self._where).name, "notes": notes}
        boxes = "from_masks" if self._gatherer.only_masks else "given"
        return DetectionTable.from_arrays(
            **self._gatherer.columns(),
            metadata=msgspec.structs.replace(metadata, boxes=boxes, made_by=made_by),
            where=self._where,
        )

    def _note_keys(self, record: Mapping[str, Any]) -> None:
        self._other_keys.update(record.keys() - _KEYS)

    def _size_of(self, image: int | str) -> tuple[int, int] | None:
        if image in self._listed.sizes:
            return self._listed.sizes[image]
        if self._image_join is None or self._vocabulary is None or self._vocabulary.sizes is None:
            return None
        place = self._image_join.place(image)
        if place < 0:
            return (1, 1)  # the detection is dropped, or refused with all others on such images
        height, width = self._vocabulary.sizes[place].tolist()
        return (height, width) if height > 0 and width > 0 else None


def _dictionary(document: dict[str, Any], where: str) -> tuple[Listed, list[Any]]:
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
    listed = Listed(
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
