"""Detections of a table as the Open Images protocol sees them."""

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from evaluation.ground_truth import GroundTruth
from evaluation.pairs import decode_masks
from evaluation.protocol import OpenImages
from evaluation.truth_columns import places_of
from evaluation.units import sides_of
from fusion.errors import InputError, option
from fusion.masks import MaskText, mask_text, taken
from fusion.table import DetectionTable

__all__ = ["OpenImagesBoxes", "OpenImagesDetections", "Quirks", "detections_of"]


class OpenImagesBoxes(NamedTuple):
    """Detections sorted by image, rows of an image in the order of the table; n detections.

    Attributes:
        start: int64 [images + 1], offsets of the images of the ground truth.
        category: int32 [n], dense index; -1 for one that is left out.
        score: float64 [n].
        x1: float64 [n], left, in the unit of the ground truth, as are the others. Not used with masks.
        y1: float64 [n], top.
        x2: float64 [n], right.
        y2: float64 [n], bottom.
    """

    start: np.ndarray
    category: np.ndarray
    score: np.ndarray
    x1: np.ndarray
    y1: np.ndarray
    x2: np.ndarray
    y2: np.ndarray


class OpenImagesDetections(NamedTuple):
    """Detections of the images that the ground truth has.

    Attributes:
        found: Their columns.
        image: int32 [n], dense index.
        text: Their masks; None for boxes.
        row: int64 [n], their rows in the table; None for all of them.
    """

    found: OpenImagesBoxes
    image: np.ndarray
    text: MaskText | None
    row: np.ndarray | None

    def unreadable(self, row: int) -> InputError:
        """Return the error for a mask that cannot be read."""
        counts, size = b"", ""
        if self.text is not None:
            counts = bytes(self.text.data[self.text.offset[row] : self.text.offset[row + 1]][:40])
            size = f" of {self.text.height[row]} x {self.text.width[row]} pixels"
        return InputError(
            f"detections, row {row}, field 'mask'",
            f"expected compressed COCO RLE{size}, got {counts!r}",
            "Write the mask again with its own size",
        )


@dataclass
class Quirks:
    """What was unusual about the detections, over all parts of a table.

    Attributes:
        rows: Rows read.
        known: Rows of images that the ground truth has.
        examples: Some images it does not have.
        categories: Rows of categories it does not have.
        no_mask: Rows without a mask.
        capped: Rows beyond the cap of their cell.
        other_size: Rows with a mask of another size than ground truth of their cell.
        tied: Whether the figure depends on the order of equal scores.
    """

    rows: int = 0
    known: int = 0
    examples: list[object] = field(default_factory=list)
    categories: int = 0
    no_mask: int = 0
    capped: int = 0
    other_size: int = 0
    tied: bool = False

    def numbers(self) -> dict[str, int]:
        """Return what can be added up."""
        names = ("rows", "known", "categories", "no_mask", "capped", "other_size")
        return {name: getattr(self, name) for name in names}

    def notes(self, protocol: OpenImages) -> tuple[str, ...]:
        """Return what the reader of the figures has to know."""
        lines = (
            (
                self.rows - self.known,
                "{} detections are of images without any annotation; they were left out, as officially",
            ),
            (self.categories, "{} detections are of categories that the ground truth does not have; they were dropped"),
            (self.no_mask, "{} detections have no mask; they were dropped"),
            (self.capped, f"{{}} detections are beyond the best {protocol.max_dets} of their image and category"),
            (
                self.other_size,
                "{} detections have a mask of another size than the ground truth's; they do not match it",
            ),
        )
        tie = (
            "true and false positives of equal score: they are ranked by image and row here, while the official "
            "code sorts them in an order that depends on the machine, so that its figure may differ",
        )
        return tuple(text.format(count) for count, text in lines if count) + (tie if self.tied else ())

    def alien(self, ground_truth: GroundTruth) -> InputError:
        """Return the error for detections of another data set."""
        theirs, mine = (", ".join(map(repr, ids)) for ids in (self.examples[:3], ground_truth.image_id[:3].tolist()))
        return InputError(
            "detections",
            f"they are of images such as {theirs} where the ground truth ({ground_truth.source}) has {mine}: no image "
            "in common, it looks like another data set",
            "Choose the ground truth of this data set and split",
        )


def detections_of(
    table: DetectionTable, ground_truth: GroundTruth, protocol: OpenImages, quirks: Quirks
) -> OpenImagesDetections:
    """Bring a table to the images, categories and unit of the ground truth.

    Args:
        table: Detections.
        ground_truth: Of Open Images.
        protocol: Its options.
        quirks: Takes up what is unusual.

    Raises:
        InputError: If boxes cannot be brought to the unit, or there are no masks where masks are evaluated.
    """
    place = _located(ground_truth.image_id, table.image_ids)
    sizes = np.diff(table.image_start)
    quirks.rows += len(table)
    quirks.known += int(sizes[place >= 0].sum())
    quirks.examples += table.image_ids[place < 0][:3].tolist() if len(quirks.examples) < 3 else []
    keep = _kept(table, place, sizes, protocol, quirks)
    image = np.repeat(place, sizes)
    category, score = table.category_id, table.score.astype(np.float64, copy=False)
    x1, y1 = (table.column(name).astype(np.float64, copy=False) for name in "xy")
    x2, y2 = (table.far(name) for name in "xy")
    masks = table.mask if protocol.iou_type == "segm" else None
    if keep is not None:
        image, category, score, x1, y1, x2, y2 = (c[keep] for c in (image, category, score, x1, y1, x2, y2))
        masks = None if masks is None else taken(masks, keep)
    if masks is None:
        x1, y1, x2, y2 = _in_unit(table, ground_truth, image, (x1, y1, x2, y2))
    dense = places_of(ground_truth.category_id, category).astype(np.int32)
    quirks.categories += int(np.count_nonzero(dense < 0))
    start = np.zeros(len(ground_truth.image_id) + 1, np.int64)
    np.cumsum(np.bincount(image, minlength=len(ground_truth.image_id)), out=start[1:])
    found = OpenImagesBoxes(start, dense, score, x1, y1, x2, y2)
    _cap(found, image, masks, protocol.max_dets, quirks)
    return OpenImagesDetections(found, image, None if masks is None else mask_text(masks), keep)


def _located(known: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Return the dense index of each image, int32; -1 where the ground truth does not have it."""
    if known.dtype == object and wanted.dtype == object and len(known):
        # the search does not make an index of all images for every part
        place = np.minimum(np.searchsorted(known, wanted), len(known) - 1)
        return np.where(known[place] == wanted, place, -1).astype(np.int32)
    return places_of(known, wanted).astype(np.int32)


def _kept(
    table: DetectionTable, place: np.ndarray, sizes: np.ndarray, protocol: OpenImages, quirks: Quirks
) -> np.ndarray | None:
    """Return the rows to evaluate, None for all."""
    keep = None if np.all(place >= 0) else np.repeat(place >= 0, sizes)
    if protocol.iou_type == "segm":
        if table.mask is None:
            raise InputError(
                table.metadata.member or "detections",
                f"they have no masks, which {option('iou_type', 'segm')} needs",
                f"Evaluate boxes with {option('iou_type', 'bbox')}",
            )
        given = table.mask.is_valid().to_numpy(zero_copy_only=False)
        quirks.no_mask += int(np.count_nonzero(~given if keep is None else ~given & keep))
        if not given.all():
            keep = given if keep is None else given & keep
    return None if keep is None else np.flatnonzero(keep)


def _in_unit(
    table: DetectionTable, ground_truth: GroundTruth, image: np.ndarray, corners: tuple[np.ndarray, ...]
) -> tuple[np.ndarray, ...]:
    if table.metadata.unit == ground_truth.unit:
        return corners
    problem = (
        f"its boxes are {table.metadata.unit} where those of the ground truth ({ground_truth.source}) are "
        f"{ground_truth.unit}"
    )
    sides = sides_of(ground_truth, image, table.metadata.member or "detections", problem).T
    if ground_truth.unit == "normalized":
        return tuple(corner / side for corner, side in zip(corners, sides, strict=True))
    return tuple(corner * side for corner, side in zip(corners, sides, strict=True))


def _cap(found: OpenImagesBoxes, image: np.ndarray, masks: pa.StructArray | None, most: int, quirks: Quirks) -> None:
    """Leave out what is beyond the best of its cell; of equal scores the first rows stay."""
    full = np.flatnonzero(np.diff(found.start) > most)
    if not len(full):
        return
    rows = np.concatenate([np.arange(found.start[i], found.start[i + 1]) for i in full])
    rows = rows[found.category[rows] >= 0]
    if masks is None:
        x1, y1, x2, y2 = (column[rows] for column in (found.x1, found.y1, found.x2, found.y2))
        rows = rows[(x1 < x2) & (y1 < y2)]
    else:
        rows = rows[decode_masks(mask_text(taken(masks, rows)), "detections, row", rows).area > 0]
    order = rows[np.lexsort((-found.score[rows], found.category[rows], image[rows]))]
    cell = image[order].astype(np.int64) << 32 | found.category[order]
    first = np.concatenate(([True], cell[1:] != cell[:-1]))
    rank = np.arange(len(order)) - np.maximum.accumulate(np.where(first, np.arange(len(order)), 0))
    beyond = order[rank >= most]
    quirks.capped += len(beyond)
    found.category[beyond] = -1
