"""Ground truth made ready for evaluation, and the evaluation of detections against it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import overload

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from evaluation.attached import Attached, attach
from evaluation.columns import Found, MaskRuns, Paired, Pairs, Truth
from evaluation.federated import Federated
from evaluation.gathering import gathered
from evaluation.ground_truth import GroundTruth
from evaluation.mask_text import truth_text, with_boxes
from evaluation.matches import find_matches
from evaluation.noticed import Noticed, protocol_notes
from evaluation.open_images import PreparedOpenImages, prepare_open_images
from evaluation.open_images_result import OpenImagesResult
from evaluation.pairs import decode_masks, find_box_pairs, find_mask_pairs
from evaluation.protocol import AREA_RANGES, RECALLS, Coco, Lvis, OpenImages
from evaluation.result import CocoResult
from evaluation.runs import key_of
from evaluation.truth_columns import places_of
from fusion.errors import InputError
from fusion.masks import mask_text, taken
from fusion.table import DetectionTable
from fusion.table_columns import MASK_TYPE

__all__ = ["Prepared", "evaluate", "prepare"]

_EVERY_RANGE = np.uint8(2 ** len(AREA_RANGES) - 1)


@dataclass(frozen=True, eq=False)
class Prepared:
    """Ground truth made ready for one protocol; used for any number of tables.

    Attributes:
        ground_truth: Where it comes from.
        protocol: Its options.
        truth: Annotations sorted by (image, category).
        source: int64 [g], place of each annotation of `truth` in the ground truth.
        masks: Their masks; None for boxes.
        federated: LVIS's labels; None where every category is annotated in every image.
        positives: int64 [k, a], annotations that count per category and area range.
        category_ids: int32 [k], the categories; -1 alone when they are pooled.
        category_names: Their names.
        notes: What is unusual.
    """

    ground_truth: GroundTruth
    protocol: Coco | Lvis
    truth: Truth
    source: np.ndarray
    masks: MaskRuns | None
    federated: Federated | None
    positives: np.ndarray
    category_ids: np.ndarray
    category_names: tuple[str, ...]
    notes: tuple[str, ...]

    def __repr__(self) -> str:
        return f"Prepared({self.protocol.name} {self.protocol.iou_type}, {self.ground_truth})"

    def evaluate(self, table: DetectionTable) -> CocoResult:
        """Evaluate one table.

        Args:
            table: Detections in pixels; order within an image is that of the source.

        Raises:
            InputError: If it names images the ground truth does not have, has normalized boxes, or a
                mask cannot be read.
        """
        return self.evaluate_paired(self.paired(table))

    def paired(self, table: DetectionTable) -> Paired:
        """Find what of a table can match what, whatever the scores.

        Args:
            table: Detections in pixels; order within an image is that of the source.

        Raises:
            InputError: If it names images the ground truth does not have, has normalized boxes, or a
                mask cannot be read.
        """
        if table.metadata.unit != "pixel":
            raise InputError(
                table.metadata.member or "detections",
                f"its boxes are {table.metadata.unit}, and COCO measures areas in pixels",
                "Multiply them by the sizes of the images first",
            )
        places = self._locate(table.image_ids)
        image = np.repeat(places, np.diff(table.image_start))
        x, y, w, h = (table.column(name).astype(np.float64, copy=False) for name in "xywh")
        from_masks = table.metadata.boxes == "from_masks"
        columns = (x, y, w, h)
        return self._paired_arrays(image, table.category_id, table.score, columns, table.mask, mask_areas=from_masks)

    def named(self, table: DetectionTable) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Return of the detections of a table the categories, scores, images, and the images' offsets; see `Found`.

        Raises:
            InputError: If it names images the ground truth does not have.
        """
        image = np.repeat(self._locate(table.image_ids), np.diff(table.image_start))
        start = np.searchsorted(image, np.arange(len(self.ground_truth.image_id) + 1)).astype(np.int64)
        return self._categories(table.category_id), table.score.astype(np.float64, copy=False), image, start

    @cached_property
    def identity(self) -> str:
        """What stands for all of the ground truth that figures depend on, and for the protocol."""
        truth, federated = self.ground_truth, self.federated
        labels = None if federated is None else (federated.negative, federated.partial)
        columns = truth.image_id, truth.height, truth.width, truth.xywh, truth.category_id, self.source
        return key_of(self.protocol.name, self.protocol, self.truth, self.masks, labels, *columns)

    def on(self, images: np.ndarray) -> "Prepared":
        """Return it for some of the images, int64 places in ascending order."""
        whole, (rows, start) = self.ground_truth, gathered(self.truth.start, images)
        truth = Truth(start, *(column[rows] for column in self.truth[1:]))
        masks = self.masks and MaskRuns(self.masks.runs, *(column[rows] for column in self.masks[1:]))
        ground_truth = whole.subset(whole.image_id[images])
        place = np.cumsum(np.isin(whole.image, images)) - 1
        return replace(
            self,
            ground_truth=ground_truth,
            truth=truth,
            source=place[self.source[rows]],
            masks=masks,
            federated=self.federated and Federated.of(ground_truth, truth, self.federated.protocol),
            positives=_positives(truth, len(self.category_ids)),
        )

    def evaluate_arrays(
        self,
        *,
        image_id: npt.ArrayLike,
        category_id: npt.ArrayLike,
        score: npt.ArrayLike,
        xywh: npt.ArrayLike,
        mask: pa.StructArray | None = None,
        mask_areas: bool = False,
    ) -> CocoResult:
        """Evaluate detections given as arrays, in any image order; equal scores are ranked in row order.

        Args:
            image_id: [n] ids of images.
            category_id: [n] ids of categories; those the ground truth does not have are dropped.
            score: [n] finite.
            xywh: [n, 4] finite, pixels.
            mask: [n] structs (height, width, counts), for "segm".
            mask_areas: Sort detections into area ranges by mask area, as pycocotools does for results
                without boxes; otherwise by w * h.

        Raises:
            InputError: If an image id is unknown or a mask cannot be read.
        """
        ids = np.asarray(image_id)
        sizes = {
            "image_id": len(ids),
            "category_id": np.size(category_id),
            "score": np.size(score),
            "xywh": np.size(xywh) // 4,
        }
        if len(set(sizes.values())) > 1 or (mask is not None and len(mask) != len(ids)):
            raise InputError("detections", f"columns are of different lengths: {sizes}")
        heads = np.flatnonzero(np.concatenate(([True], ids[1:] != ids[:-1]))) if len(ids) else np.zeros(0, np.int64)
        image = np.repeat(self._locate(ids[heads]), np.diff(heads, append=len(ids)))
        category = np.asarray(category_id)
        scores = np.asarray(score)
        boxes = np.asarray(xywh, dtype=np.float64).reshape(-1, 4)
        if np.any(image[1:] < image[:-1]):
            order = np.argsort(image, kind="stable")
            image, category, scores, boxes = image[order], category[order], scores[order], boxes[order]
            mask = None if mask is None else taken(mask, order)
        mask = None if mask is None else mask.cast(MASK_TYPE)
        columns = tuple(np.ascontiguousarray(boxes[:, i]) for i in range(4))
        return self.evaluate_paired(self._paired_arrays(image, category, scores, columns, mask, mask_areas=mask_areas))

    def _paired_arrays(
        self,
        image: np.ndarray,
        category_id: np.ndarray,
        score: np.ndarray,
        boxes: Sequence[np.ndarray],
        mask: pa.StructArray | None,
        *,
        mask_areas: bool,
    ) -> Paired:
        named = self._categories(category_id)
        unknown = int(np.count_nonzero(named < 0))
        if not self.protocol.use_cats and len(named):
            # pycocotools pools category by category, and ties are ranked in that order
            order = np.lexsort((category_id, image))
            image, named, score, boxes = image[order], named[order], score[order], [b[order] for b in boxes]
            mask = None if mask is None else taken(mask, order)
        start = np.searchsorted(image, np.arange(len(self.ground_truth.image_id) + 1)).astype(np.int64)
        score = score.astype(np.float64, copy=False)
        x, y, w, h = boxes
        category, incomplete = named, None
        if self.federated is not None:
            category, incomplete = self.federated.judged(start, named)
        area = w * h
        found = Found(start, image, category, score, x, y, w, h, np.zeros(0, np.uint8))
        pairs, mask_area, noticed = self._pairs(found, mask, mask_areas)
        if mask_areas and mask_area is not None:
            area = mask_area.astype(np.float64)
        outside = _outside(area)
        if incomplete is not None:
            # LVIS drops what has no area, and an unmatched detection is never wrong where annotation is not exhaustive
            category = np.where((area > 0) & (area < np.inf), category, np.int32(-1))
            outside[incomplete] = _EVERY_RANGE
        return Paired(
            found._replace(category=category, outside=outside), named, pairs, noticed._replace(unknown_category=unknown)
        )

    def attach(self, table: DetectionTable) -> Attached:
        """Keep what of a table does not depend on its scores, to evaluate it again with others."""
        return attach(self, table)

    def average_precision(self, table: DetectionTable) -> float:
        """Return the AP alone, for search loops that make new boxes; that of `evaluate` to the last bit."""
        return float(attach(self, table).average_precision(table.score))

    def average_precision_per_category(self, table: DetectionTable) -> np.ndarray:
        """Return the AP of each category alone, float64 [k]; NaN without ground truth that counts."""
        return attach(self, table).average_precision_per_category(table.score)

    def evaluate_paired(self, paired: Paired) -> CocoResult:
        """Evaluate detections whose pairs are known."""
        found = paired.found if self.federated is None else self.federated.cut(paired.found, paired.named)
        matches = find_matches(
            self.truth,
            found,
            paired.pairs,
            thresholds=self.protocol.thresholds,
            caps=self.protocol.caps,
            positives=self.positives,
            recalls=RECALLS,
        )
        return CocoResult(self, paired, found, matches)

    def _pairs(
        self, found: Found, mask: pa.StructArray | None, mask_areas: bool
    ) -> tuple[Pairs, np.ndarray | None, Noticed]:
        """Return the pairs, for masks the areas, if wanted, and what was noticed."""
        least = min(float(self.protocol.thresholds[0]), 1 - 1e-10)
        count = len(self.category_ids)
        if self.masks is None:
            return find_box_pairs(self.truth, found, count, least), None, Noticed()
        masks, without = with_boxes(mask, found, self.ground_truth)
        text = mask_text(masks)
        pairs, area, strange = find_mask_pairs(self.truth, self.masks, found, text, count, least, areas=mask_areas)
        return pairs, area, Noticed(without_mask=without, other_size=strange)

    def _locate(self, ids: np.ndarray) -> np.ndarray:
        """Return the dense index of each image id, int32."""
        place = places_of(self.ground_truth.image_id, ids).astype(np.int32)
        missing = np.unique(ids[place < 0])
        if len(missing):
            raise self._unknown_images(missing, alien=not np.any(place >= 0))
        return place

    def _unknown_images(self, missing: np.ndarray, *, alien: bool) -> InputError:
        problem = f"{len(missing)} of its images are not in the ground truth ({self.ground_truth.source}), "
        problem += "such as " + ", ".join(repr(i) for i in missing[:3].tolist())
        if not alien:
            return InputError("detections", problem, "Drop their detections, or add the images to the ground truth")
        mine = ", ".join(repr(i) for i in self.ground_truth.image_id[:3].tolist())
        problem += f" where it has {mine}: no image in common, it looks like another data set"
        return InputError("detections", problem, "Choose the ground truth of this data set and split")

    def _categories(self, category_id: np.ndarray) -> np.ndarray:
        """Return the dense category of each detection, int32; -1 where the ground truth does not have it."""
        place = places_of(self.ground_truth.category_id, category_id).astype(np.int32)
        return place if self.protocol.use_cats else np.minimum(place, 0)


@overload
def prepare(ground_truth: GroundTruth, protocol: Coco | Lvis | None = None) -> Prepared: ...
@overload
def prepare(ground_truth: GroundTruth, protocol: OpenImages) -> PreparedOpenImages: ...
def prepare(
    ground_truth: GroundTruth, protocol: Coco | Lvis | OpenImages | None = None
) -> Prepared | PreparedOpenImages:
    """Make ground truth ready for a protocol: sorted, and its masks decoded.

    Args:
        ground_truth: Of the images to evaluate.
        protocol: Options; the official ones of COCO for boxes by default.

    Raises:
        InputError: For masks, if an annotation has none or one that cannot be read; for LVIS, if the
            ground truth lacks what LVIS needs.
    """
    if isinstance(protocol, OpenImages):
        return prepare_open_images(ground_truth, protocol)
    protocol = protocol or Coco()
    order = np.lexsort((ground_truth.category, ground_truth.image))
    crowd = ground_truth.crowd
    ignored = crowd
    if isinstance(protocol, Lvis):
        order = order[(ground_truth.area[order] > 0) & (ground_truth.area[order] < np.inf)]
        crowd = np.zeros_like(crowd)
        ignored = crowd if ground_truth.ignore is None else ground_truth.ignore
    crowd = crowd[order]
    image, category = ground_truth.image[order], ground_truth.category[order]
    ids, names = ground_truth.category_id, ground_truth.category_name
    if not protocol.use_cats:
        category, ids, names = np.zeros_like(category), np.array([-1], dtype=np.int32), ("all",)
    x, y, w, h = ground_truth.xywh[order].T
    zero = ground_truth.annotation_id[order] == 0
    outside = np.where(ignored[order], _EVERY_RANGE, _outside(ground_truth.area[order]))
    truth = Truth(
        start=np.searchsorted(image, np.arange(len(ground_truth.image_id) + 1)).astype(np.int64),
        category=category,
        x1=x.copy(),
        y1=y.copy(),
        x2=w + x,
        y2=h + y,
        box_area=np.where(crowd, 0.0, w * h),
        crowd=crowd,
        unmatchable=zero & (not protocol.match_id_zero),
        outside=outside,
    )
    masks = None
    if protocol.iou_type == "segm":
        masks = decode_masks(truth_text(ground_truth, order), f"{ground_truth.source}, annotation", order)
    return Prepared(
        ground_truth=ground_truth,
        protocol=protocol,
        truth=truth,
        source=order,
        masks=masks,
        federated=Federated.of(ground_truth, truth, protocol) if isinstance(protocol, Lvis) else None,
        positives=_positives(truth, len(ids)),
        category_ids=ids,
        category_names=names,
        notes=protocol_notes(protocol, bool(zero.any())),
    )


@overload
def evaluate(
    table: DetectionTable, ground_truth: GroundTruth | Prepared, protocol: Coco | Lvis | None = None
) -> CocoResult: ...
@overload
def evaluate(
    table: DetectionTable, ground_truth: GroundTruth | PreparedOpenImages, protocol: OpenImages
) -> OpenImagesResult: ...
def evaluate(
    table: DetectionTable,
    ground_truth: GroundTruth | Prepared | PreparedOpenImages,
    protocol: Coco | Lvis | OpenImages | None = None,
) -> CocoResult | OpenImagesResult:
    """Evaluate a table by an official protocol; every number equals the official code's.

    COCO has two differences, both listed in the result's notes where they apply: stats with other
    `max_dets` than (1, 10, 100) use the largest one where pycocotools gives -1, and any number of them is fine.

    Args:
        table: Detections.
        ground_truth: Ground truth of the images. One made by `prepare` saves the preparation, and brings its protocol.
        protocol: What is measured: `Coco` (the default), `Lvis` or `OpenImages`, with its options.

    Raises:
        InputError: If table and ground truth do not belong together.
    """
    prepared = prepare(ground_truth, protocol) if isinstance(ground_truth, GroundTruth) else ground_truth
    return prepared.evaluate(table)


def _positives(truth: Truth, categories: int) -> np.ndarray:
    """Count the annotations that count, int64 [k, a]."""
    ranges = range(len(AREA_RANGES))
    counted = [np.bincount(truth.category[(truth.outside >> a) & 1 == 0], minlength=categories) for a in ranges]
    return np.stack(counted, axis=1).astype(np.int64)


def _outside(area: np.ndarray) -> np.ndarray:
    """Return the set of area ranges that an area is outside of, as bits, uint8."""
    bits = np.zeros(len(area), np.uint8)
    for a, (low, high) in enumerate(AREA_RANGES.values()):
        bits |= ((area < low) | (area > high)).astype(np.uint8) << np.uint8(a)
    return bits
