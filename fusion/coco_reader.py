"""Reading COCO results: JSON files of millions of detections, in blocks, into one detection table."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from fusion.category_join import CategoryJoin
from fusion.checks import one_of
from fusion.coco_stream import ResultsStream
from fusion.errors import InputError
from fusion.image_join import ImageJoin
from fusion.json_source import JsonSource
from fusion.table import DetectionTable, Metadata
from fusion.vocabulary import Listed, Vocabulary

__all__ = ["read_coco_results"]

_BLOCK = 8 << 20


def read_coco_results(
    path: str | os.PathLike[str],
    *,
    vocabulary: Vocabulary | None = None,
    images: str = "id",
    categories: str = "id",
    label_map: Mapping[Any, int | str] | None = None,
    image_offset: int = 0,
    category_offset: int = 0,
    unknown_images: str = "error",
    unknown_categories: str = "error",
    box_format: str = "xywh",
    scores: str = "any",
    metadata: Metadata | None = None,
    progress: Callable[[int, int], None] | None = None,
    block: int = _BLOCK,
    plain: bool = True,
) -> DetectionTable:
    """Read a COCO results file into a detection table; every float keeps its 64 bits.

    The file is a list of {image_id, category_id, bbox, score, segmentation}, or a dictionary with
    such records, with scores, under "annotations" and with "images" and "categories" of its own.
    Memory beyond the columns is a few times `block`, whatever the size of the file; while the columns
    are put together at the end, there are two copies of them.

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
        plain: Read plain records with compiled code; otherwise all of them with the standard library
            (the result is the same, many times slower: for tests).

    Returns:
        The table, sorted by image; within an image in the order of the file.

    Raises:
        InputError: If an option, the file, or a record cannot be used.
    """
    one_of("images", images, ("id", "file_name"))
    one_of("categories", categories, ("id", "name"))
    one_of("unknown_images", unknown_images, ("error", "drop"))
    one_of("unknown_categories", unknown_categories, ("error", "drop"))
    one_of("box_format", box_format, ("xywh", "xyxy"))
    one_of("scores", scores, ("any", "unit"))
    for name, given in (("images", images == "file_name"), ("categories", categories == "name" and label_map is None)):
        if given and vocabulary is None:
            raise InputError(f"option {name}", "joining by name needs a ground truth to join to", "Give one")
    if image_offset and images == "file_name":
        raise InputError("option image_offset", "has no meaning where images are joined by file name")
    if category_offset and (label_map is not None or categories == "name"):
        raise InputError("option category_offset", "has no meaning with a label map or names")
    where = str(path)

    def joins(listed: Listed) -> tuple[ImageJoin | None, CategoryJoin]:
        image_join = None
        if vocabulary is not None:
            image_join = ImageJoin(where, vocabulary, images, image_offset, unknown_images == "drop", listed)
        drop = unknown_categories == "drop"
        return image_join, CategoryJoin(where, vocabulary, categories, label_map, category_offset, drop, listed)

    source = JsonSource(Path(path), block, progress)
    try:
        results = ResultsStream(where, source, plain, vocabulary, joins, image_offset, box_format, scores)
        results.read()
    finally:
        source.close()
    return results.table(metadata or Metadata())
