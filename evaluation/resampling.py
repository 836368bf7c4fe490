"""Figures of data sets in which each image counts as often as it was drawn."""

import numpy as np

from evaluation.columns import Judged, Truth
from evaluation.kernels.resampling import LANES, average_precision, best_f1, count_positives
from evaluation.matches import MatchBlock, Matches
from fusion.errors import InputError
from fusion.kernels.jit import run

__all__ = ["check_weights", "resample_best_f1", "resample_precision"]

_FEW = 16  # replicates a thread takes at once


def check_weights(weights: np.ndarray, images: int) -> None:
    """Check that there is a whole number of at least 0 for each image of each replicate.

    Raises:
        InputError: If there is not.
    """
    if weights.ndim == 2 and weights.shape[1] == images and weights.dtype.kind in "iu" and not np.any(weights < 0):
        return
    raise InputError(
        "weights",
        f"expected whole numbers, none of them negative, [replicates, {images} images], got {weights.dtype} "
        f"{list(weights.shape)}",
    )


def resample_precision(
    matches: Matches,
    truth: Truth,
    image: np.ndarray,
    iou_thresholds: np.ndarray,
    weights: np.ndarray,
    wanted: tuple[tuple[int, float | None], ...],
) -> list[np.ndarray]:
    """Return average precisions of every category in every replicate, images counted with multiplicity.

    A replicate equals, to the last digits, the evaluation of a data set in which image i is copied
    `weights[b, i]` times, the copies next to each other in image order.

    Args:
        matches: Of all detections.
        truth: What they were matched with.
        image: int32 [n], image of each row of the detections (`Found.image`).
        iou_thresholds: float64 [t], thresholds of the matches.
        weights: int [b, images], how often each image occurs; the largest cap of `matches` applies to each copy.
        wanted: Range of objects, and one threshold or None for the mean over all; the more ranges the longer.

    Returns:
        float64 [b, k] for each; NaN where a replicate has no ground truth that counts, or the threshold is none of the
        matches'.
    """
    images = len(truth.start) - 1
    places = np.array(sorted({place for place, _ in wanted}), dtype=np.int64)
    order = places.tolist()
    areas = len(places)
    categories = len(matches.positives)
    blocks = [_Ready(block, image) for block in matches.blocks]
    truth_image = np.repeat(np.arange(images, dtype=np.int32), np.diff(truth.start))
    lows = np.cumsum((0, *matches.thresholds[:-1]))
    of_one = [(order.index(place), np.flatnonzero(iou_thresholds == iou)) for place, iou in wanted if iou is not None]
    # place and threshold of what is wanted at one threshold; -1 where there is no such threshold
    single = np.array([(a, found[0] if len(found) else -1) for a, found in of_one], np.int64).reshape(-1, 2)

    def task(low: int, high: int) -> np.ndarray:
        lanes = np.zeros((images, LANES), np.int32)
        lanes[:, : high - low] = weights[low:high].T
        positives = np.zeros((areas, categories, LANES), np.int32)
        count_positives(truth_image, truth.category, truth.outside, places, lanes, positives)
        sums = np.zeros((areas + len(single), categories, LANES))
        for block, count, first in zip(blocks, matches.thresholds, lows, strict=True):
            own = single - np.array([0, first])
            block.add(count, own, places, lanes, np.maximum(positives, 1), matches.recalls, sums)
        counted = np.concatenate((positives, positives[single[:, 0]]))
        points = np.full(len(sums), len(matches.recalls))
        points[:areas] *= len(iou_thresholds)
        value = np.where(counted > 0, sums / points[:, None, None], np.nan)
        return np.ascontiguousarray(value[:, :, : high - low].transpose(0, 2, 1))

    batches = [(low, min(low + LANES, len(weights))) for low in range(0, len(weights), LANES)]
    parts = run(task, batches)
    found = np.concatenate([np.zeros((areas + len(single), 0, categories)), *parts], axis=1)
    found[areas + np.flatnonzero(single[:, 1] < 0)] = np.nan
    row = iter(range(areas, len(found)))
    return [found[order.index(place) if iou is None else next(row)] for place, iou in wanted]


def resample_best_f1(
    judged: Judged, useful: np.ndarray, weights: np.ndarray, objects: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return true and false positives of at least the score of highest F1 of each replicate.

    Args:
        judged: Detections by score.
        useful: bool [n], where F1 may be highest.
        weights: int [b, images].
        objects: float64 [b], objects of each replicate.

    Returns:
        float64 [b] twice. Where nothing right was drawn, no true positive and all that is wrong.
    """
    right, wrong = np.zeros(len(weights)), np.zeros(len(weights))
    rows = np.ascontiguousarray(weights, dtype=np.int32)

    def task(low: int, high: int) -> None:
        best_f1(
            judged.image,
            judged.right,
            judged.wrong,
            useful,
            rows[low:high],
            objects[low:high],
            right[low:high],
            wrong[low:high],
        )

    run(task, [(low, min(low + _FEW, len(rows))) for low in range(0, len(rows), _FEW)])
    return right, wrong


class _Ready:
    """A block with what is the same in every batch: the image of each detection, and where scores tie."""

    def __init__(self, block: MatchBlock, image: np.ndarray) -> None:
        self.block = block
        self.image = image[block.row]
        self.useful = (block.true | block.spared) != 0
        self.run, tied = _runs(block, self.image)
        self.single = _per_category(self.useful & ~tied, block.start)
        self.tied = _per_category(self.useful & tied, block.start)

    def add(
        self,
        thresholds: int,
        single: np.ndarray,
        places: np.ndarray,
        weights: np.ndarray,
        positives: np.ndarray,
        recalls: np.ndarray,
        sums: np.ndarray,
    ) -> None:
        """Add one batch's figures into `sums`, as `average_precision` says."""
        most = int(weights.max(initial=0))
        room = int((self.single + self.tied * most).max(initial=0))
        # of one category at a time, so that memory does not grow with detections times replicates
        scratch = (
            np.empty(room, np.int64),
            np.empty((room, LANES), np.int32),
            np.empty((room, LANES), np.int32),
            np.empty(room, np.int64),
            np.empty((room, LANES), np.float64),
            np.empty((6, LANES), np.int32),
            np.empty((2, LANES), np.float64),
        )
        block = self.block
        columns = (block.start, block.outside, block.true, block.spared)
        average_precision(
            columns, self.image, self.run, self.useful, thresholds, single, places, weights, positives, recalls,
            scratch, sums,
        )  # fmt: skip


def _runs(block: MatchBlock, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Find runs of tied detections of one image; one without a true positive needs no care and is none.

    Returns:
        int32 [n], the length of the run that starts at each detection, 1 where there is none; and bool [n],
        whether it is in a run.
    """
    n = len(image)
    new = np.ones(n, bool)
    new[1:] = (block.score[1:] != block.score[:-1]) | (image[1:] != image[:-1])
    new[block.start[:-1][block.start[:-1] < n]] = True
    head = np.flatnonzero(new)
    sizes = np.diff(head, append=n)
    true = np.add.reduceat(block.true != 0, head, dtype=np.int32) > 0 if n else np.zeros(0, bool)
    tied = true & (sizes > 1)
    length = np.ones(n, np.int32)
    length[head[tied]] = sizes[tied]
    return length, np.repeat(tied, sizes)


def _per_category(which: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Count the detections of each category that are in `which`, int64 [k]."""
    total = np.concatenate(([0], np.cumsum(which)))
    return np.diff(total[start])
