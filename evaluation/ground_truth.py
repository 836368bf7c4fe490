"""Ground truth of a data set, in columns."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from evaluation.masks import encode_segmentations
from evaluation.truth_columns import check_boxes, check_unique, ids_of, indices, places_of, sizes_of, some_of
from fusion.arrow_arrays import arrow_array
from fusion.belonging import Sketch
from fusion.checks import one_of
from fusion.coco_results import Vocabulary
from fusion.corners import far_side, from_corners
from fusion.errors import InputError
from fusion.printed_table import PrintedTable, notebook_html

__all__ = ["GroundTruth", "Labels"]

_SHOWN = 10  # categories in a notebook


class Labels(NamedTuple):
    """Categories listed for each image (CSR).

    Attributes:
        start: int64 [images + 1].
        category: int32 [m], index into the categories, ascending within an image.
    """

    start: np.ndarray
    category: np.ndarray


@dataclass(frozen=True, eq=False)
class GroundTruth:
    """Images, categories and annotations of a data set.

    Images and categories are in ascending order of their ids; annotations are in the order of their
    source, which decides between equally good matches. Build one with `read_coco` or `from_arrays`;
    both validate, so that code behind them needs no checks of its own.

    Attributes:
        image_id: [i] int64, or an object array of str.
        width: int32 [i], pixels; 0 where unknown.
        height: int32 [i], pixels; 0 where unknown.
        file_name: [i] object array of str; "" where unknown.
        category_id: int32 [c].
        category_name: Names of the c categories.
        annotation_id: int64 [a].
        image: int32 [a], index into the images.
        category: int32 [a], index into the categories.
        xywh: float64 [a, 4], COCO boxes in pixels, or as shares of the image's sides (see `unit`).
        far: float64 [a, 2], the far sides that the source gave where x + w and y + h are not them, NaN elsewhere;
            None where they always are. Use `corners`.
        area: float64 [a], square pixels; the mask's area in COCO, for boxes as well. Of normalized boxes w * h.
        crowd: bool [a], a region of several objects; in Open Images a group-of box.
        segmentation: [a] polygons or run lengths as the source gave them, or encoded masks; None when
            there are none at all. Use `masks`.
        frequency: LVIS groups "r", "c", "f" of the c categories; None where the data set has none.
        negative: Categories known to be absent from an image; None where the data set has none.
        not_exhaustive: Categories not fully annotated in an image; None where the data set has none.
        positive: Categories verified as present in an image; None where the data set has none.
        ignore: bool [a], an annotation that LVIS leaves out of the count; None where the source has none.
        unit: "pixel", or "normalized" boxes.
        category_label: Names of the c categories for machines, such as "/m/011k07"; None where the data
            set has none.
        order: int64 [i], the images in the order in which the source lists them; None where that is not known.
        notes: What was unusual in the source and how it was read.
        source: Name of the source for messages.
        whole: Sketch of the images of the ground truth that this is a subset of; None for one that is no subset.
    """

    image_id: np.ndarray
    width: np.ndarray
    height: np.ndarray
    file_name: np.ndarray
    category_id: np.ndarray
    category_name: tuple[str, ...]
    annotation_id: np.ndarray
    image: np.ndarray
    category: np.ndarray
    xywh: np.ndarray
    area: np.ndarray
    crowd: np.ndarray
    segmentation: Sequence[Any] | pa.StructArray | None = None
    frequency: tuple[str, ...] | None = None
    negative: Labels | None = None
    not_exhaustive: Labels | None = None
    positive: Labels | None = None
    ignore: np.ndarray | None = None
    unit: str = "pixel"
    category_label: tuple[str, ...] | None = None
    order: np.ndarray | None = None
    notes: tuple[str, ...] = ()
    source: str = "ground truth"
    whole: Sketch | None = None
    far: np.ndarray | None = None

    @classmethod
    def from_arrays(
        cls,
        *,
        image_id: npt.ArrayLike,
        category_id: npt.ArrayLike,
        annotation_image_id: npt.ArrayLike,
        annotation_category_id: npt.ArrayLike,
        xywh: npt.ArrayLike | None = None,
        xyxy: npt.ArrayLike | None = None,
        area: npt.ArrayLike | None = None,
        crowd: npt.ArrayLike | None = None,
        annotation_id: npt.ArrayLike | None = None,
        segmentation: Sequence[Any] | pa.StructArray | None = None,
        width: npt.ArrayLike | None = None,
        height: npt.ArrayLike | None = None,
        file_name: Sequence[str] | None = None,
        category_name: Sequence[str] | None = None,
        frequency: Sequence[str] | None = None,
        ignore: npt.ArrayLike | None = None,
        unit: str = "pixel",
        category_label: Sequence[str] | None = None,
        notes: Sequence[str] = (),
        source: object = "ground truth",
    ) -> "GroundTruth":
        """Make ground truth from arrays; images and categories may come in any order.

        Args:
            image_id: [i] integers or strings, no two equal.
            category_id: [c] integers, no two equal.
            annotation_image_id: [a] ids of images.
            annotation_category_id: [a] ids of categories.
            xywh: [a, 4] boxes in `unit`.
            xyxy: [a, 4] corners instead, kept to the last bit.
            area: [a] square pixels; w * h by default.
            crowd: [a] whether an annotation is a crowd region; none by default.
            annotation_id: [a] integers, no two equal; 1 to a by default.
            segmentation: [a] COCO polygons or RLE (None where absent), or Arrow structs (height, width, counts).
            width: [i] pixels.
            height: [i] pixels.
            file_name: [i] names.
            category_name: [c] names; the ids as text by default.
            frequency: [c] LVIS groups.
            ignore: [a] whether LVIS leaves an annotation out of the count; None where the source does not say.
            unit: "pixel" or "normalized".
            category_label: [c] names for machines, no two equal.
            notes: What was unusual in the source.
            source: Name of the source for error messages.

        Raises:
            InputError: If lengths differ, an id is unknown or occurs twice, or a box is not usable.
        """
        images = ids_of(image_id, source, "image")
        categories = ids_of(category_id, source, "category").astype(np.int32)
        if (xywh is None) == (xyxy is None):
            raise InputError(source, "expected boxes as either xywh or xyxy", "Give one of them")
        boxes, far = (np.asarray(xywh, np.float64).reshape(-1, 4), None) if xyxy is None else from_corners(xyxy)
        count = len(boxes)
        areas = boxes[:, 2] * boxes[:, 3] if area is None else np.asarray(area, dtype=np.float64)
        ids = np.arange(1, count + 1) if annotation_id is None else ids_of(annotation_id, source, "annotation")
        check_boxes(boxes, areas, source)
        image_order, image = indices(images, np.asarray(annotation_image_id), source, "image")
        category_order, category = indices(categories, np.asarray(annotation_category_id), source, "category")
        check_unique(ids, source, "annotation")
        one_of("unit", unit, ("pixel", "normalized"))
        names = category_name if category_name is not None else [str(i) for i in categories.tolist()]
        truth = cls(
            image_id=images[image_order],
            width=sizes_of(width, len(images), source, "width")[image_order],
            height=sizes_of(height, len(images), source, "height")[image_order],
            file_name=np.array([""] * len(images) if file_name is None else list(file_name), dtype=object)[image_order],
            category_id=categories[category_order],
            category_name=tuple(names[k] for k in category_order),
            annotation_id=ids,
            image=image,
            category=category,
            xywh=boxes,
            area=areas,
            crowd=np.zeros(count, dtype=bool) if crowd is None else np.asarray(crowd, dtype=bool),
            segmentation=segmentation,
            frequency=None if frequency is None else tuple(frequency[k] for k in category_order),
            ignore=None if ignore is None else np.asarray(ignore, dtype=bool),
            unit=unit,
            category_label=None if category_label is None else tuple(category_label[k] for k in category_order),
            order=np.argsort(image_order),
            notes=tuple(notes),
            source=str(source),
            far=far,
        )
        optional = {"segmentation": segmentation, "ignore": truth.ignore}
        columns = {"area": areas, "crowd": truth.crowd, "annotation_id": ids, "image": image, **optional}
        for name, column in columns.items():
            if column is not None and len(column) != count:
                raise InputError(source, f"column {name} has {len(column)} rows where xywh has {count}")
        return truth

    def __len__(self) -> int:
        return len(self.image)

    def __repr__(self) -> str:
        k = len(self.category_id)
        categories = f"{k:,} categor{'y' if k == 1 else 'ies'}"
        counts = f"{len(self.image_id):,} images, {categories}, {len(self):,} annotations"
        return f"GroundTruth({counts}; {self.source})"

    def _repr_html_(self) -> str:
        counts = np.bincount(self.category, minlength=len(self.category_id))
        shown = np.argsort(-counts, kind="stable")[:_SHOWN]
        rows = ((int(self.category_id[k]), self.category_name[k], int(counts[k])) for k in shown)
        table = PrintedTable.of(("category_id", "name", "annotations"), rows)
        table.title = f"the {len(shown)} most frequent categories"
        return notebook_html(self, table)

    @property
    def corners(self) -> np.ndarray:
        """float64 [a, 4] x1, y1, x2, y2: as the source gave them where it gave corners."""
        far = [
            far_side(self.xywh[:, i], self.xywh[:, 2 + i], None if self.far is None else self.far[:, i])
            for i in range(2)
        ]
        return np.stack([self.xywh[:, 0], self.xywh[:, 1], *far], axis=1)

    def rows_of(self, image: int) -> np.ndarray:
        """Return the annotations of an image, counted from 0, as rows in the order of their source, int64 [n]."""
        rows, start = self._by_image
        own: np.ndarray = rows[start[image] : start[image + 1]]
        return own

    @cached_property
    def _by_image(self) -> tuple[np.ndarray, np.ndarray]:
        rows = np.argsort(self.image, kind="stable")
        return rows, np.searchsorted(self.image[rows], np.arange(len(self.image_id) + 1))

    @cached_property
    def masks(self) -> pa.StructArray | None:
        """[a] COCO compressed RLE (height, width, counts), null where an annotation has none.

        None when no annotation has one. Polygons and uncompressed run lengths are encoded at the
        first use.

        Raises:
            InputError: If a segmentation cannot be read; its annotation is named.
        """
        if self.segmentation is None or isinstance(self.segmentation, pa.StructArray):
            return self.segmentation
        return encode_segmentations(self.segmentation, self.height[self.image], self.width[self.image], self.source)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over ids, categories and boxes, and verified labels where there are; the same on every platform."""
        digest = hashlib.sha256()
        ids = self.image_id.tolist()
        digest.update(repr(ids).encode())
        digest.update(repr(list(zip(self.category_id.tolist(), self.category_name, strict=True))).encode())
        for column, kind in (
            (self.annotation_id, "<i8"),
            (self.image, "<i4"),
            (self.category, "<i4"),
            (self.xywh, "<f8"),
        ):
            digest.update(np.ascontiguousarray(column, dtype=kind).tobytes())
        if self.positive is not None:  # what Open Images has beyond COCO
            digest.update(self.unit.encode() + np.packbits(self.crowd).tobytes())
            for labels in (self.positive, self.negative):
                if labels is not None:
                    digest.update(labels.start.astype("<i8").tobytes() + labels.category.astype("<i4").tobytes())
        return digest.hexdigest()

    @cached_property
    def categories_fingerprint(self) -> str:
        """SHA-256 over the categories' ids and names; tables of different category sets are not fused."""
        names = list(zip(self.category_id.tolist(), self.category_name, strict=True))
        return hashlib.sha256(repr(names).encode()).hexdigest()

    @cached_property
    def category_sketch(self) -> Sketch:
        """Some of the categories' ids and names, to say what differs from others."""
        return self._categories_of(range(len(self.category_id)))

    def category_sketch_beside(self, other: Sketch) -> Sketch:
        """Return what this ground truth says of the categories that are in another's sample."""
        wanted = {entry[0] for entry in other.sample}
        return self._categories_of([row for row, key in enumerate(self.category_id.tolist()) if key in wanted])

    def _categories_of(self, rows: Sequence[int]) -> Sketch:
        # where there are no names, the ids stand for them
        names = [self.category_name[row] for row in rows]
        ids = self.category_id[np.array(rows, np.int64)]
        return Sketch.of(ids, ["" if name == str(key) else name for key, name in zip(ids.tolist(), names, strict=True)])

    @cached_property
    def image_sketch(self) -> Sketch:
        """Ids, file names and sizes of the images; a subset has that of the whole, which it belongs to."""
        return self.whole or self._sketch_of(np.arange(len(self.image_id)))

    def image_sketch_beside(self, other: Sketch) -> Sketch:
        """Return what this ground truth says of the images in another's sample, whatever its own sample has."""
        wanted = [entry[0] for entry in other.sample]
        kind = object if any(isinstance(key, str) for key in wanted) else np.int64
        places = places_of(self.image_id, np.array(wanted, dtype=kind))
        return self._sketch_of(places[places >= 0])

    def _sketch_of(self, images: np.ndarray) -> Sketch:
        sizes = np.stack([self.width[images], self.height[images]], axis=1)
        return Sketch.of(self.image_id[images], self.file_name[images].tolist(), sizes)

    @property
    def vocabulary(self) -> Vocabulary:
        """What an importer of results has to know of the data set."""
        return Vocabulary(
            image_ids=self.image_id,
            category_ids=self.category_id,
            category_names=self.category_name,
            file_names=self._names_of_files(),
            sizes=np.stack([self.height, self.width], axis=1),
            order=self.order,
            where=self.source,
            category_labels=self.category_label,
            unit=self.unit,
            partial=self.category_label is not None,
        )

    def _names_of_files(self) -> tuple[str, ...] | None:
        """Return the names by which others may know the images; ids that are texts are such."""
        if any(self.file_name):
            return tuple(self.file_name)
        return tuple(self.image_id) if len(self.image_id) and self.image_id.dtype == object else None

    def subset(self, image_ids: npt.ArrayLike) -> "GroundTruth":
        """Return the ground truth of some of the images; categories stay as they are.

        Raises:
            InputError: If an id is unknown.
        """
        wanted = np.unique(ids_of(image_ids, self.source, "image"))
        unknown = wanted[~np.isin(wanted, self.image_id)]
        if len(unknown):
            raise InputError(self.source, f"it has no image {some_of(unknown)}", "Choose among its own images")
        images = np.flatnonzero(np.isin(self.image_id, wanted))
        place = np.full(len(self.image_id), -1, dtype=np.int32)
        place[images] = np.arange(len(images), dtype=np.int32)
        rows = np.flatnonzero(place[self.image] >= 0)
        return replace(
            self.only(rows),
            whole=self.image_sketch,
            image_id=self.image_id[images],
            width=self.width[images],
            height=self.height[images],
            file_name=self.file_name[images],
            image=place[self.image[rows]],
            negative=_labels_of(self.negative, images),
            not_exhaustive=_labels_of(self.not_exhaustive, images),
            positive=_labels_of(self.positive, images),
            order=None,
        )

    def only(self, rows: np.ndarray) -> "GroundTruth":
        """Return it with some of the annotations, int64 [n] in the order wanted; images stay as they are."""
        return replace(
            self,
            annotation_id=self.annotation_id[rows],
            image=self.image[rows],
            category=self.category[rows],
            xywh=self.xywh[rows],
            far=None if self.far is None else self.far[rows],
            area=self.area[rows],
            crowd=self.crowd[rows],
            ignore=None if self.ignore is None else self.ignore[rows],
            segmentation=self._segmentation_of(rows),
        )

    def _segmentation_of(self, rows: np.ndarray) -> Sequence[Any] | pa.StructArray | None:
        masks = self.__dict__.get("masks", self.segmentation)  # already encoded, or as given
        if masks is None or isinstance(masks, pa.StructArray):
            return None if masks is None else masks.take(arrow_array(rows))
        return [masks[row] for row in rows.tolist()]


def _labels_of(labels: Labels | None, images: np.ndarray) -> Labels | None:
    if labels is None:
        return None
    parts = [labels.category[labels.start[i] : labels.start[i + 1]] for i in images]
    start = np.concatenate(([0], np.cumsum([len(part) for part in parts]))).astype(np.int64)
    return Labels(start, np.concatenate([labels.category[:0], *parts]))
