"""What the evaluation's kernels see: flat arrays of ground truth, detections and the pairs between them."""

from typing import NamedTuple

import numpy as np

from evaluation.noticed import Noticed

__all__ = ["Found", "Judged", "MaskRuns", "Paired", "Pairs", "Rules", "Truth"]


class Truth(NamedTuple):
    """Ground truth sorted by (image, category, order of the source); g annotations.

    Attributes:
        start: int64 [images + 1], offsets of the images.
        category: int32 [g], dense index, ascending within an image.
        x1: float64 [g], left.
        y1: float64 [g], top.
        x2: float64 [g], x + w.
        y2: float64 [g], y + h.
        box_area: float64 [g], w * h; 0 for a crowd, which is compared with the detection's area alone.
        crowd: bool [g].
        unmatchable: bool [g], a match with it is lost (annotation id 0 in pycocotools).
        outside: uint8 [g], bit a is set where area range a ignores it.
    """

    start: np.ndarray
    category: np.ndarray
    x1: np.ndarray
    y1: np.ndarray
    x2: np.ndarray
    y2: np.ndarray
    box_area: np.ndarray
    crowd: np.ndarray
    unmatchable: np.ndarray
    outside: np.ndarray


class MaskRuns(NamedTuple):
    """Decoded masks of the ground truth, in the order of `Truth`.

    Attributes:
        runs: int32 [m], ascending boundaries [start, end, ...] of each mask, down the columns.
        start: int64 [g, 2], first boundary of each mask and one past its last.
        area: int64 [g], pixels.
        box: int64 [g, 4], x1, y1, x2, y2 in pixels.
        height: int32 [g].
        width: int32 [g].
    """

    runs: np.ndarray
    start: np.ndarray
    area: np.ndarray
    box: np.ndarray
    height: np.ndarray
    width: np.ndarray


class Found(NamedTuple):
    """Detections sorted by image, rows of an image in the order of their source; n detections.

    Attributes:
        start: int64 [images + 1], offsets of the images.
        image: int32 [n], dense index.
        category: int32 [n], dense index; -1 for one the ground truth does not have.
        score: float64 [n].
        x: float64 [n], pixels, as are y, w, h.
        y: float64 [n].
        w: float64 [n].
        h: float64 [n].
        outside: uint8 [n], bit a is set where the area is outside area range a.
    """

    start: np.ndarray
    image: np.ndarray
    category: np.ndarray
    score: np.ndarray
    x: np.ndarray
    y: np.ndarray
    w: np.ndarray
    h: np.ndarray
    outside: np.ndarray


class Pairs(NamedTuple):
    """Detections and the ground truth they can match, by IoU descending; of equals, the later ground truth first.

    Attributes:
        start: int64 [n + 1], offsets of the detections.
        truth: int32 [m], row of `Truth`.
        iou: float64 [m], of a crowd the share of the detection that lies in it.
    """

    start: np.ndarray
    truth: np.ndarray
    iou: np.ndarray


class Paired(NamedTuple):
    """Detections of a table and their pairs.

    Attributes:
        found: Detections, before the cuts that depend on scores.
        named: int32 [n], their categories; those that do not count in their image (LVIS) included.
        pairs: What can match.
        noticed: What is out of the ordinary about them.
    """

    found: Found
    named: np.ndarray
    pairs: Pairs
    noticed: Noticed


class Rules(NamedTuple):
    """Thresholds and area ranges as bits: bit `area range * thresholds + threshold`.

    Attributes:
        thresholds: float64 [t], ascending.
        passed: uint64 [t + 1], bits of the first 0 ... t thresholds in every area range.
        spread: uint64 [2 ** areas], bits of all thresholds in a set of area ranges.
        cap: Detections of a cell that count, the best by score.
    """

    thresholds: np.ndarray
    passed: np.ndarray
    spread: np.ndarray
    cap: int


class Judged(NamedTuple):
    """Detections that count, right or wrong, at one IoU threshold, and the objects; n detections, g objects or cells.

    Attributes:
        image: int32 [n], dense index; detections are in order of score, highest first.
        category: int32 [n], dense index.
        score: float64 [n], descending.
        right: float64 [n], what each adds to the true positives.
        wrong: float64 [n], what it adds to the false positives.
        object_image: int32 [g].
        object_category: int32 [g].
        objects: float64 [g], how many there are.
    """

    image: np.ndarray
    category: np.ndarray
    score: np.ndarray
    right: np.ndarray
    wrong: np.ndarray
    object_image: np.ndarray
    object_category: np.ndarray
    objects: np.ndarray
