"""Hold-outs whose mixture of categories and sizes is that of the whole (mmfruit-openimages2019, sec. 4.2)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from evaluation.ground_truth import GroundTruth
from fusion.errors import InputError, option

__all__ = ["dealt", "matched_split", "split_in_turn", "strata_of"]

_SIZE_BOUNDS = (32.0**2, 96.0**2)
_ROOM = 0.002  # how much an even number of images counts beside even categories


def split_in_turn(images: int, parts: int) -> np.ndarray:
    """Deal images in turn.

    Args:
        images: Number of images, in the order of their ids.
        parts: Number of parts.

    Returns:
        int64 [images], the part of each.
    """
    return np.arange(images) % parts


def strata_of(truth: GroundTruth) -> tuple[np.ndarray, np.ndarray]:
    """List what each image should count for: its pairs of category and size (small, medium, large).

    Returns:
        int64 offsets [images + 1] and int64 numbers of the strata, each once per image.
    """
    area = truth.area
    if truth.unit == "normalized":
        # without pixels, sizes are thirds of the boxes
        bounds = np.quantile(area, [1 / 3, 2 / 3]) if len(area) else np.zeros(2)
    else:
        bounds = np.array(_SIZE_BOUNDS)
    bins = np.searchsorted(bounds, area)
    keys = truth.image.astype(np.int64) * (3 * len(truth.category_id)) + truth.category * 3 + bins
    image, stratum = np.divmod(np.unique(keys), max(3 * len(truth.category_id), 1))
    start = np.searchsorted(image, np.arange(len(truth.image_id) + 1))
    return start.astype(np.int64), stratum


def matched_split(
    start: np.ndarray,
    stratum: np.ndarray,
    shares: Sequence[float],
    *,
    groups: np.ndarray | None = None,
    seed: int = 0,
) -> np.ndarray:
    """Deal images so that each part has its share of every stratum, the rarest first.

    Units (images, or groups of them) are visited by how rare their rarest stratum is; each goes where what is still
    wanted of its strata is largest, as a share of what the part wants in all. Parts that are full take no more.

    Args:
        start: int64 [images + 1], offsets of the images' strata.
        stratum: int64 [n], strata by image, from 0.
        shares: Of each part, above 0; together at most 1. What is left over is part -1.
        groups: [images] labels; images of one label stay together.
        seed: Of the order among equally rare units.

    Returns:
        int64 [images], the part of each.

    Raises:
        InputError: If shares are not usable or `groups` has another length.
    """
    images = len(start) - 1
    wanted = np.asarray(shares, dtype=np.float64)
    if wanted.ndim != 1 or not len(wanted) or np.any(wanted <= 0) or wanted.sum() > 1 + 1e-9:
        raise InputError(
            f"option {option('shares')}", f"expected numbers above 0 that sum to at most 1, got {list(shares)}"
        )
    rest = 1 - wanted.sum() > 1e-9
    fractions = np.append(wanted, 1 - wanted.sum()) if rest else wanted
    if groups is None:
        unit, units = np.arange(images), images
    else:
        labels = np.asarray(groups)
        if labels.shape != (images,):
            raise InputError("groups", f"expected a label for each of {images} images, got {list(labels.shape)}")
        names, unit = np.unique(labels, return_inverse=True)
        units = len(names)
    image = np.repeat(np.arange(images), np.diff(start))
    pairs = np.unique(np.stack([unit[image], stratum]), axis=1)
    offset = np.searchsorted(pairs[0], np.arange(units + 1))
    held = pairs[1]
    total = np.bincount(held, minlength=1)
    rarest = np.full(units, units + 1)
    np.minimum.at(rarest, pairs[0], total[held])
    rng = np.random.default_rng(seed)
    order = np.lexsort((rng.random(units), rarest))
    jitter = 1e-9 * rng.random((units, len(fractions)))  # parts of equal need take turns
    size = np.bincount(unit, minlength=units)
    # what is wanted in units of what is wanted in all: a rare stratum weighs as much as a frequent one, and a small
    # part as much as a large one
    step = 1 / np.maximum(fractions[:, None] * total, 1e-12)
    need = 1 - step / 2
    room = fractions * images
    part = np.empty(units, np.int64)
    for u in order.tolist():
        own = held[offset[u] : offset[u + 1]]
        score = need[:, own].sum(axis=1) + _ROOM * room / (fractions * max(images, 1)) + jitter[u]
        score[room <= 0] = -np.inf
        chosen = int(np.argmax(score)) if np.any(room > 0) else int(np.argmax(room))
        part[u] = chosen
        need[chosen, own] -= step[chosen, own]
        room[chosen] -= size[u]
    if rest:
        part[part == len(wanted)] = -1
    result: np.ndarray = part[unit]
    return result


def dealt(
    truth: GroundTruth, names: Sequence[str], *, groups: np.ndarray | None = None, seed: int = 0
) -> dict[str, np.ndarray]:
    """Deal all images into parts of equal size and mixture; see `matched_split`.

    Returns:
        Image ids by name of the part.
    """
    part = matched_split(*strata_of(truth), [1 / len(names)] * len(names), groups=groups, seed=seed)
    return {name: truth.image_id[part == number] for number, name in enumerate(names)}
