"""Reading COCO results: JSON files of millions of detections, in blocks, into one detection table."""

import os
from collections.abc import Callable
from typing import Any

from fusion.coco_results.blocks import JsonFile, decode
from fusion.coco_results.raw_results import RawResults
from fusion.coco_results.reading import AS_FOUND, Reading
from fusion.coco_results.records import show
from fusion.coco_results.vocabulary import OwnLists, Vocabulary, printable
from fusion.errors import InputError
from fusion.table import DetectionTable, Metadata

__all__ = ["gather_coco_results", "read_coco_results"]

# 2.1 M detections per CPU second with blocks of 256 KiB, 1.5 M with 4 MiB: records stay in the cache.
_BLOCK = 256 << 10
_SHAPE = "a list of results, or a dictionary whose 'annotations' have scores"


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
    pieces = raw.pieces(
        vocabulary,
        reading,
        unknown_images=unknown_images,
        unknown_categories=unknown_categories,
        scores=scores,
        metadata=metadata,
    )
    return pieces.whole()


def gather_coco_results(
    path: str | os.PathLike[str],
    *,
    vocabulary: Vocabulary | None = None,
    reading: Reading = AS_FOUND,
    progress: Callable[[int, int], None] | None = None,
    block: int = _BLOCK,
) -> RawResults:
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
