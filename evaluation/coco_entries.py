"""Entries of a COCO ground truth file as columns, parsed a block at a time: no object per entry is kept."""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np

__all__ = [
    "Annotation",
    "AnnotationColumns",
    "Category",
    "File",
    "Image",
    "ImageColumns",
    "ListedCategories",
    "read_entries",
]

_BLOCK = 1 << 14  # entries that are objects at a time

Ids = np.ndarray | list[int | str]


class Image(msgspec.Struct):
    """An image, as far as it is read."""

    id: int | str
    width: int | None = None
    height: int | None = None
    file_name: str | None = None
    coco_url: str | None = None
    neg_category_ids: list[int] | None = None
    not_exhaustive_category_ids: list[int] | None = None


class Category(msgspec.Struct):
    """A category, as far as it is read."""

    id: int | str
    name: str = ""
    frequency: str | None = None


class Annotation(msgspec.Struct):
    """An annotation, as far as it is read."""

    id: int
    image_id: int | str
    category_id: int | str
    bbox: tuple[float, float, float, float]
    area: float | None = None
    iscrowd: int | bool | None = None
    ignore: int | bool | None = None
    segmentation: msgspec.Raw = msgspec.Raw(b"")


class File(msgspec.Struct):
    """The whole file, every entry an object: what is wrong with it is told from here."""

    images: list[Image]
    annotations: list[Annotation]
    categories: list[Category]


class _Unread(msgspec.Struct):
    images: list[msgspec.Raw]
    annotations: list[msgspec.Raw]
    categories: list[Category]


class ListedCategories(NamedTuple):
    """Categories that entries list.

    Attributes:
        sizes: int64 [n], how many each lists; -1 where it has no list.
        category: Their ids: int64, or an object array where one is beyond 64 bits.
    """

    sizes: np.ndarray
    category: np.ndarray


class ImageColumns(NamedTuple):
    """Columns of n images.

    Attributes:
        id: int64 [n], or a list where they are not all such.
        width: [n] pixels; 0 where unknown.
        height: [n] pixels; 0 where unknown.
        file_name: n names.
        negative: `neg_category_ids`.
        not_exhaustive: `not_exhaustive_category_ids`.
    """

    id: Ids
    width: np.ndarray
    height: np.ndarray
    file_name: list[str]
    negative: ListedCategories
    not_exhaustive: ListedCategories


class AnnotationColumns(NamedTuple):
    """Columns of n annotations.

    Attributes:
        id: int64 [n], or a list where they are not all such.
        image_id: As `id`.
        category_id: As `id`.
        xywh: float64 [n, 4].
        area: float64 [n]; NaN where it is missing.
        no_area: bool [n], whether it is.
        crowd: bool [n].
        no_crowd: bool [n], whether `iscrowd` is missing.
        ignore: bool [n].
        segmentation: n texts.
        no_mask: bool [n], whether there is none.
    """

    id: Ids
    image_id: Ids
    category_id: Ids
    xywh: np.ndarray
    area: np.ndarray
    no_area: np.ndarray
    crowd: np.ndarray
    no_crowd: np.ndarray
    ignore: np.ndarray
    segmentation: list[msgspec.Raw]
    no_mask: np.ndarray


def read_entries(data: bytes) -> tuple[ImageColumns, AnnotationColumns, list[Category]]:
    """Read the entries of a file.

    Raises:
        msgspec.DecodeError: If it is no JSON, or an entry has not the form of one.
    """
    file = msgspec.json.decode(data, type=_Unread)
    images = [_images(block) for block in _blocks(file.images, Image)]
    annotations = [_annotations(block) for block in _blocks(file.annotations, Annotation)]
    return ImageColumns._make(_columns(images)), AnnotationColumns._make(_columns(annotations)), file.categories


def _blocks(entries: list[msgspec.Raw], kind: Any) -> Iterator[list[Any]]:
    decoder = msgspec.json.Decoder(list[kind])
    for low in range(0, max(len(entries), 1), _BLOCK):
        yield decoder.decode(b"[%s]" % b",".join(entries[low : low + _BLOCK]))


def _images(block: list[Image]) -> ImageColumns:
    return ImageColumns(
        _ids([image.id for image in block]),
        np.array([image.width or 0 for image in block], dtype=None if block else np.int64),
        np.array([image.height or 0 for image in block], dtype=None if block else np.int64),
        # LVIS v1 names no files, but their addresses end with the name
        [image.file_name or (image.coco_url or "").rpartition("/")[2] for image in block],
        _listed([image.neg_category_ids for image in block]),
        _listed([image.not_exhaustive_category_ids for image in block]),
    )


def _annotations(block: list[Annotation]) -> AnnotationColumns:
    segmentation = [a.segmentation for a in block]
    return AnnotationColumns(
        _ids([a.id for a in block]),
        _ids([a.image_id for a in block]),
        _ids([a.category_id for a in block]),
        np.array([a.bbox for a in block], dtype=np.float64).reshape(-1, 4),
        np.array([np.nan if a.area is None else a.area for a in block], dtype=np.float64),
        np.array([a.area is None for a in block], dtype=bool),
        np.array([bool(a.iscrowd) for a in block], dtype=bool),
        np.array([a.iscrowd is None for a in block], dtype=bool),
        np.array([bool(a.ignore) for a in block], dtype=bool),
        segmentation,
        np.array([bytes(text) in (b"", b"[]", b"null") for text in segmentation], dtype=bool),
    )


def _ids(values: list[Any]) -> Ids:
    array = np.array(values, dtype=object if any(isinstance(value, str) for value in values) else None)
    return array if array.dtype == np.int64 else values


def _listed(lists: list[list[int] | None]) -> ListedCategories:
    sizes = np.array([-1 if listed is None else len(listed) for listed in lists], dtype=np.int64)
    flat = list(itertools.chain.from_iterable(listed or () for listed in lists))
    try:
        return ListedCategories(sizes, np.array(flat, dtype=np.int64))
    except OverflowError:
        return ListedCategories(sizes, np.array(flat, dtype=object))


def _columns(blocks: Sequence[tuple[Any, ...]]) -> Iterator[Any]:
    """Put the columns of blocks one behind the other."""
    return (_column(pieces) for pieces in zip(*blocks, strict=True))


def _column(pieces: Sequence[Any]) -> Any:
    if isinstance(pieces[0], ListedCategories):
        return ListedCategories._make(_columns(pieces))
    if all(isinstance(piece, np.ndarray) for piece in pieces):
        return np.concatenate(pieces)
    return [value for piece in pieces for value in (piece.tolist() if isinstance(piece, np.ndarray) else piece)]
