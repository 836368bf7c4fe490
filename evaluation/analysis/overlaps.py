"""A table's detections beside the ground truth, and which object each of them gets."""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from evaluation.columns import Found, Pairs, Truth
from evaluation.kernels.assign import assign
from evaluation.mask_text import with_boxes
from evaluation.pairs import find_box_pairs, find_mask_pairs
from evaluation.prepared import Prepared
from fusion.kernels.jit import chunks, run
from fusion.masks import mask_text
from fusion.table import DetectionTable

__all__ = ["IGNORED", "LEFT_OUT", "NOTHING", "Assigned", "Overlaps", "find_overlaps"]

NOTHING, IGNORED, LEFT_OUT = -1, -2, -3
_ALL_RANGES = 1  # bit of the area range "all"


class Assigned(NamedTuple):
    """Which object each detection gets at one IoU threshold; n detections in the table's order.

    Attributes:
        truth: int32 [n], row of `Truth`; NOTHING for a false positive, IGNORED for a detection that counts
            neither way, LEFT_OUT for one that takes no part (unknown category, below the score, beyond the cap).
        iou: float64 [n], with that object; 0 where there is none.
    """

    truth: np.ndarray
    iou: np.ndarray


@dataclass(frozen=True, eq=False)
class Overlaps:
    """Detections of one table and all objects that they overlap.

    Attributes:
        prepared: The ground truth.
        found: Detections in the table's order; category -1 where the ground truth does not have it.
        area: float64 [n], square pixels, of the mask where the table's boxes come from masks.
        pairs: Detections and objects of at least the IoU asked for, by IoU descending.
    """

    prepared: Prepared
    found: Found
    area: np.ndarray
    pairs: Pairs

    @property
    def truth(self) -> Truth:
        """Annotations sorted by (image, category, order of the source)."""
        return self.prepared.truth

    @property
    def counted(self) -> np.ndarray:
        """Annotations that count, bool [g]: no crowd regions."""
        counted: np.ndarray = (self.truth.outside & _ALL_RANGES) == 0
        return counted

    @property
    def source(self) -> np.ndarray:
        """int64 [g], place of each annotation of `truth` in the ground truth."""
        return self.prepared.source

    @cached_property
    def order(self) -> np.ndarray:
        """int64 [n], detections by (image, score descending, row)."""
        return np.lexsort((-self.found.score, self.found.image))

    def assign(self, iou: float, *, cap: int = 100, least_score: float = -np.inf, across: bool = False) -> Assigned:
        """Match greedily by score at one IoU threshold.

        Within a category this is COCO's matching (of free objects the one of highest IoU, of equals the
        later one; then crowd regions), so true positives are those of the official evaluation. Across
        categories the object of highest IoU may have any category; of equals the detection's own wins.

        Args:
            iou: Threshold, at least what the pairs were found with.
            cap: Detections of a cell that count, the best by score.
            least_score: Detections with a lower score are left out.
            across: Match across categories.
        """
        found, truth = self.found, self.truth
        match = np.full(len(found.score), LEFT_OUT, np.int32)
        overlap = np.zeros(len(found.score))
        options = min(iou, 1 - 1e-10), cap, least_score, across, len(self.prepared.category_ids)
        taken_objects = np.zeros(len(truth.category), np.bool_)

        def task(low: int, high: int) -> None:
            assign(low, high, self.order, found, self.pairs, truth, options, taken_objects, match, overlap)

        run(task, chunks(found.start))
        return Assigned(match, overlap)


def find_overlaps(table: DetectionTable, prepared: Prepared, least: float = 0.1, *, across: bool = True) -> Overlaps:
    """Find the pairs of detections and objects.

    For LVIS the detections are those that count: of categories known in their image, within its cap.

    Args:
        table: Detections in pixels.
        prepared: Ground truth, for boxes or masks.
        least: Smallest IoU of pairs across categories, above 0.
        across: Also pairs of different categories; otherwise only those that the evaluation matches, from
            the protocol's smallest threshold on.

    Raises:
        InputError: If the table names images the ground truth does not have, or a mask cannot be read.
    """
    paired = prepared.paired(table)
    found = paired.found
    if prepared.federated is not None:
        found = prepared.federated.cut(found, paired.named)
    area = found.w * found.h
    if not across:
        return Overlaps(prepared, found, area, paired.pairs)
    # all objects of an image are one cell to the search; rows stay the same
    cells = prepared.truth._replace(category=np.zeros_like(prepared.truth.category))
    dense = found._replace(category=np.minimum(found.category, 0))
    if prepared.masks is None:
        return Overlaps(prepared, found, area, find_box_pairs(cells, dense, 1, least))
    measured = table.metadata.boxes == "from_masks"
    text = mask_text(with_boxes(table.mask, found, prepared.ground_truth)[0])
    pairs, pixels, _ = find_mask_pairs(cells, prepared.masks, dense, text, 1, least, areas=measured)
    return Overlaps(prepared, found, pixels.astype(np.float64) if measured else area, pairs)
