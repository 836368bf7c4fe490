"""Average precision of data sets in which each image counts as often as it was drawn."""

import numpy as np

from evaluation.columns import Truth
from evaluation.kernels.resampling import LANES, average_precision, count_positives
from evaluation.matches import Block, Matches
from fusion.errors import InputError
from fusion.kernels.jit import run

__all__ = ["resample"]

_SINGLE = {"AP50": 0.5, "AP75": 0.75}
_AREAS = ("AP", "APs", "APm", "APl")


def resample(
    matches: Matches,
    truth: Truth,
    image: np.ndarray,
    iou_thresholds: np.ndarray,
    weights: np.ndarray,
    *,
    sizes: bool = True,
) -> dict[str, np.ndarray]:
    """Return the average precision of every category in every replicate, images counted with multiplicity.

    A replicate equals, to the last digits, the evaluation of a data set in which image i is copied
    `weights[b, i]` times, the copies next to each other in image order.

    Args:
        matches: Of all detections.
        truth: What they were matched with.
        image: int32 [n], image of each row of the detections (`Found.image`).
        iou_thresholds: float64 [t], thresholds of the matches.
        weights: int [b, images], how often each image occurs; the largest cap of `matches` applies to each copy.
        sizes: Whether APs, APm and APl are wanted; without them it takes half the time.

    Returns:
        float64 [b, k] for "AP", "AP50", "AP75" and, with `sizes`, "APs", "APm" and "APl"; NaN where a replicate has no
        ground truth that counts, or a threshold was not asked for.

    Raises:
        InputError: If the weights do not fit the images.
    """
    images = len(truth.start) - 1
    if weights.ndim != 2 or weights.shape[1] != images or weights.dtype.kind not in "iu":
        problem = f"expected whole numbers [replicates, {images} images], got {weights.dtype} {list(weights.shape)}"
        raise InputError("weights", problem)
    if weights.size and weights.min() < 0:
        raise InputError("weights", "an image cannot occur a negative number of times")
    areas = len(_AREAS) if sizes else 1
    categories = len(matches.positives)
    blocks = [_Ready(block, image) for block in matches.blocks]
    truth_image = np.repeat(np.arange(images, dtype=np.int32), np.diff(truth.start))
    lows = np.cumsum((0, *matches.thresholds[:-1]))
    wanted = [np.flatnonzero(iou_thresholds == value) for value in _SINGLE.values()]
    single = np.array([places[0] if len(places) else -1 for places in wanted], dtype=np.int64)

    def task(low: int, high: int) -> np.ndarray:
        lanes = np.zeros((images, LANES), np.int32)
        lanes[:, : high - low] = weights[low:high].T
        positives = np.zeros((areas, categories, LANES), np.int32)
        count_positives(truth_image, truth.category, truth.outside, lanes, positives)
        sums = np.zeros((areas + len(single), categories, LANES))
        for block, count, first in zip(blocks, matches.thresholds, lows, strict=True):
            block.add(count, single - first, lanes, np.maximum(positives, 1), matches.recalls, sums)
        counted = np.concatenate((positives, positives[:1].repeat(len(single), axis=0)))
        points = np.full(len(sums), len(matches.recalls))
        points[:areas] *= len(iou_thresholds)
        value = np.where(counted > 0, sums / points[:, None, None], np.nan)
        return np.ascontiguousarray(value[:, :, : high - low].transpose(0, 2, 1))

    batches = [(low, min(low + LANES, len(weights))) for low in range(0, len(weights), LANES)]
    parts = run(task, batches)
    shape = (areas + len(single), 0, categories)
    figures = dict(zip((*_AREAS[:areas], *_SINGLE), np.concatenate([np.zeros(shape), *parts], axis=1), strict=True))
    for name, place in zip(_SINGLE, single, strict=True):
        if place < 0:
            figures[name][:] = np.nan
    order = ("AP", "AP50", "AP75", *_AREAS[1:areas])
    return {name: figures[name] for name in order}


class _Ready:
    """A block with what is the same in every batch: the image of each detection, and where scores tie."""

    def __init__(self, block: Block, image: np.ndarray) -> None:
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
            columns, self.image, self.run, self.useful, thresholds, single, weights, positives, recalls, scratch, sums
        )


def _runs(block: Block, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
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
