"""Parts of the images in turn held back, so that what is learned is tried on others; groups of images stay together."""

import re
from collections.abc import Sequence

import numpy as np

from evaluation.ground_truth import GroundTruth
from fusion.errors import InputError

__all__ = ["FOLDS", "folds_of", "groups_in_names"]

FOLDS = 5
_MOST = 12  # groups that are each held back alone; more are dealt into `FOLDS` folds
_LEAST = 2


def folds_of(ground_truth: GroundTruth, groups: Sequence[object] | np.ndarray | None = None) -> np.ndarray:
    """Deal images into folds.

    Few groups are a fold each; of more, and of images without groups, `FOLDS` folds are made: blocks of images in the
    order of their ids, so that neighbouring frames are not on both sides of many cuts.

    Args:
        ground_truth: The images.
        groups: [images] label of each, in the order of `ground_truth.image_id`; images of one stay together.

    Returns:
        int64 [images], the fold of each image, from 0.

    Raises:
        InputError: If groups are of another number than the images, or there is only one.
    """
    images = len(ground_truth.image_id)
    if groups is None:
        return np.arange(images) * min(FOLDS, max(images, 1)) // max(images, 1)
    if len(groups) != images:
        raise InputError("groups", f"expected one for each of {images} images, got {len(groups)}")
    names, number, size = np.unique(np.asarray(groups).astype(str), return_inverse=True, return_counts=True)
    if images and len(names) < _LEAST:
        raise InputError("groups", f"all images are of one, {str(names[0])!r}", "Give two groups at least, or none")
    if len(names) <= _MOST:
        return number.astype(np.int64)
    # the largest first, each into the smallest fold
    fold, held = np.zeros(len(names), np.int64), np.zeros(FOLDS, np.int64)
    for group in np.argsort(-size, kind="stable"):
        fold[group] = np.argmin(held)
        held[fold[group]] += size[group]
    return fold[number]


def groups_in_names(ground_truth: GroundTruth) -> tuple[np.ndarray, str] | None:
    """Suggest groups of images from their file names: first folders, else what stands before the number of a frame.

    Returns:
        Object [images], the group of each, and what was taken in words; None where names do not tell: a group of
        nearly every image or one for all.
    """
    names = [str(name).replace("\\", "/") for name in ground_truth.file_name]
    if not names or not all(names):
        return None
    for told, rule in (("first folders", _first_folder), ("folders", _folder), ("names before the frame", _stem)):
        groups = np.array([rule(name) for name in names], dtype=object)
        count = len(set(groups.tolist()))
        if _LEAST <= count <= len(names) // 4:
            return groups, f"{count} groups by {told} of file names, such as {groups[0]!r}"
    return None


def _first_folder(name: str) -> str:
    head, found, _ = name.lstrip("/").partition("/")
    return head if found else ""


def _folder(name: str) -> str:
    return name.rpartition("/")[0]


def _stem(name: str) -> str:
    """`clip7_000123.png` -> `clip7`."""
    base = name.rpartition("/")[2].rpartition(".")[0]
    found = re.fullmatch(r"(.*?\D)[_\-. ]?(?:frame|img|image|f)?[_\-. ]?\d+", base)
    return "" if found is None else found[1]
