"""Columns of ground truth as they are given: ids and their places, boxes and sizes, checked."""

import numpy as np
import numpy.typing as npt

from fusion.errors import InputError

__all__ = ["check_boxes", "check_unique", "ids_of", "indices", "places_of", "sizes_of", "some_of"]


def places_of(known: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Return the place of each wanted id among the known ones.

    Args:
        known: [k] ids, ascending: integers, or an object array of str.
        wanted: [n] ids of either kind.

    Returns:
        int64 [n]; -1 where an id is not there.
    """
    if known.dtype == object or wanted.dtype.kind not in "iu":
        index = dict(zip(known.tolist(), range(len(known)), strict=True))
        return np.array([index.get(i, -1) for i in wanted.tolist()], dtype=np.int64)
    if len(known) == 0:
        return np.full(len(wanted), -1, dtype=np.int64)
    low, high = int(known[0]), int(known[-1])
    if high - low < 1 << 20 and len(wanted) > len(known):
        # a table with one more entry on either side, for all that is out of range: ten times faster than searching
        table = np.full(high - low + 3, -1, dtype=np.int64)
        table[known - low + 1] = np.arange(len(known))
        return np.asarray(table[np.clip(wanted.astype(np.int64), low - 1, high + 1) - (low - 1)])
    place = np.minimum(np.searchsorted(known, wanted), len(known) - 1)
    return np.where(known[place] == wanted, place, -1)


def ids_of(values: npt.ArrayLike, source: object, noun: str) -> np.ndarray:
    """Return ids as int64, or an object array of str.

    Raises:
        InputError: If they are anything else.
    """
    ids = np.asarray(values)
    if ids.size == 0:
        return np.zeros(0, dtype=np.int64)
    bits = 32 if noun == "category" else 64
    if ids.ndim == 1 and ids.dtype.kind in "iu" and -(2 ** (bits - 1)) <= ids.min() and ids.max() < 2 ** (bits - 1):
        return ids.astype(np.int64)
    if ids.ndim == 1 and ids.dtype.kind in "UO" and noun == "image" and all(isinstance(i, str) for i in ids.tolist()):
        return ids.astype(object)
    expected = f"integers of {bits} bits" + (", or all strings" if noun == "image" else "")
    got = f"{ids.dtype} {list(ids.shape)}: {some_of(ids.ravel())}"
    raise InputError(source, f"{noun} ids must be {expected}, got {got}", "Number them anew, or make them of one kind")


def indices(ids: np.ndarray, used: np.ndarray, source: object, noun: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the order that sorts `ids`, and the place of each of `used` in the sorted ids.

    Raises:
        InputError: If an id occurs twice, or one that is used is not there.
    """
    check_unique(ids, source, noun)
    order = np.argsort(ids, kind="stable")
    if used.size == 0:
        return order, np.zeros(0, dtype=np.int32)
    place = places_of(ids[order], used).astype(np.int32)
    wrong = np.flatnonzero(place < 0)
    if len(wrong):
        raise InputError(
            f"{source}, annotation {wrong[0]}, field '{noun}_id'",
            f"there is no {noun} {used.tolist()[wrong[0]]!r}; {len(wrong)} annotations name an unknown {noun}",
            f"Add the {noun} or drop these annotations",
        )
    return order, place


def check_unique(ids: np.ndarray, source: object, noun: str) -> None:
    """Check that no id occurs twice.

    Raises:
        InputError: If one does.
    """
    values, counts = np.unique(ids, return_counts=True)
    if len(values) < len(ids):
        raise InputError(source, f"{noun} id {some_of(values[counts > 1])} occurs more than once", "Ids must be unique")


def check_boxes(boxes: np.ndarray, areas: np.ndarray, source: object) -> None:
    """Check that boxes, float64 [a, 4] xywh, and areas are finite, and no side is below 0.

    Raises:
        InputError: If one is; the first is named.
    """
    for field, values in (("bbox", boxes), ("area", areas[:, None])):
        wrong = np.flatnonzero(~np.isfinite(values).all(axis=1))
        if len(wrong):
            raise InputError(
                f"{source}, annotation {wrong[0]}, field '{field}'",
                f"expected finite numbers, got {np.squeeze(values[wrong[0]]).tolist()}",
                "Mend or drop the annotation",
            )
    wrong = np.flatnonzero((boxes[:, 2:] < 0).any(axis=1))
    if len(wrong):
        raise InputError(
            f"{source}, annotation {wrong[0]}, field 'bbox'",
            f"expected [x, y, width, height] without a negative size, got {boxes[wrong[0]].tolist()}",
            "Mend the box; corners have to be turned into sizes",
        )


def sizes_of(values: npt.ArrayLike | None, count: int, source: object, name: str) -> np.ndarray:
    """Return widths or heights of so many images, int32; 0 where they are not given.

    Raises:
        InputError: If one is beyond 32 bits.
    """
    if values is None:
        return np.zeros(count, dtype=np.int32)
    sides = np.asarray(values)
    for index in np.flatnonzero((sides >= 2**31) | (sides < -(2**31)))[:1].tolist():
        where = f"{source}, image {index}, field '{name}'"
        raise InputError(where, f"expected pixels, got {sides[index]}", "Mend it; without it the size is not known")
    return sides.astype(np.int32)


def some_of(values: np.ndarray) -> str:
    """Return the first three values in words, and how many more there are."""
    shown = ", ".join(repr(value) for value in values[:3].tolist())
    return shown + (f" and {len(values) - 3} more" if len(values) > 3 else "")
