"""Some images of what was evaluated: rows by image gathered, and everything numbered anew."""

import numpy as np

from evaluation.columns import Found, Paired, Pairs
from evaluation.matches import MatchBlock, Matches

__all__ = ["gathered", "matches_on", "numbered", "paired_on"]


def gathered(start: np.ndarray, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows of some of the groups that follow each other, and the offsets of these groups among them.

    Args:
        start: int64 [groups + 1], offsets.
        chosen: int64 [c], numbers of groups.

    Returns:
        int64 [n] and int64 [c + 1].
    """
    sizes = start[chosen + 1] - start[chosen]
    offsets = np.concatenate(([0], np.cumsum(sizes))).astype(np.int64)
    return np.arange(offsets[-1]) + np.repeat(start[chosen] - offsets[:-1], sizes), offsets


def numbered(chosen: np.ndarray, count: int, before: np.ndarray | None = None) -> np.ndarray:
    """Return the new number of each of `count` things, int32; -1 for those that are not chosen.

    Args:
        chosen: int [c], of the things.
        count: How many there are.
        before: int32 [n], the number of each of others among the things, -1 for none: return the new ones of these.
    """
    number = np.full(count, -1, np.int32)
    number[chosen] = np.arange(len(chosen), dtype=np.int32)
    return number if before is None else np.where(before >= 0, number[before], np.int32(-1))


def paired_on(
    paired: Paired, images: np.ndarray, number: np.ndarray, number_of_truth: np.ndarray
) -> tuple[Paired, np.ndarray]:
    """Return the detections of some images with their pairs, and their rows, int64.

    Args:
        paired: Of all images.
        images: int64 [c], places of the images, ascending.
        number: int32 [images], new number of each image.
        number_of_truth: int32 [g], new row of each annotation.
    """
    found, pairs = paired.found, paired.pairs
    rows, start = gathered(found.start, images)
    own, pair_start = gathered(pairs.start, rows)
    kept = Pairs(pair_start, number_of_truth[pairs.truth[own]], pairs.iou[own])
    columns = (column[rows] for column in found[2:])
    return Paired(Found(start, number[found.image[rows]], *columns), paired.named[rows], kept, paired.noticed), rows


def matches_on(matches: Matches, number: np.ndarray, positives: np.ndarray) -> Matches:
    """Return the matches of some detections.

    Args:
        matches: Of all detections.
        number: int32 [n], new row of each detection; -1 for those that are not chosen.
        positives: int64 [k, a], ground truth that counts for them.
    """
    blocks = []
    for block in matches.blocks:
        kept = number[block.row] >= 0
        start = np.concatenate(([0], np.cumsum(kept)))[block.start]
        _, row, *columns = block
        blocks.append(MatchBlock(start, number[row[kept]], *(column[kept] for column in columns)))
    return Matches(tuple(blocks), matches.thresholds, positives, matches.caps, matches.recalls)
