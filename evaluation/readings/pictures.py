"""From which other pictures boxes may come: sizes for which most boxes would lie on objects."""

from collections.abc import Iterator

import numpy as np

from evaluation.readings.agreement import ObjectPairs
from fusion.box_formats import Picture

__all__ = ["usual_pictures", "voted_pictures"]

_ALIKE, _ROUGHLY = 1.1, 1.6  # how far the ratios of places, and those of sizes, may lie apart
_BINS = 0.015  # of the logarithm of a side
_PEAKS = 3
_FACTORS = (0.5, 2.0, 0.25, 4.0)
_SIDES = (300, 320, 416, 512, 608, 640, 800, 896, 1024, 1280, 1333, 1536)
_FITS = ((1333, 800), (1000, 600), *((side, side) for side in _SIDES))


def usual_pictures() -> Iterator[Picture]:
    """Yield what is often done to pictures: mirrored, halved, brought to the sizes that networks take."""
    yield Picture("mirrored")
    yield Picture("flipped")
    for factor in _FACTORS:
        yield Picture("scaled", factor, factor)
    for longer, shorter in _FITS:
        yield Picture("fit", longer, shorter)
    for kind in ("stretched", "letterbox"):
        for side in _SIDES:
            yield Picture(kind, side, side)


def voted_pictures(corners: np.ndarray, pairs: ObjectPairs, size: np.ndarray) -> Iterator[Picture]:
    """Yield the pictures in which many boxes would lie on objects, by a vote of all pairs of box and object.

    Each pair says how much further from the corner its box lies than its object, across and down. Where the two agree,
    or where one of them gives the place in a letterbox, and the sizes do not gainsay it, that is a vote for a size.
    Pairs that do not belong together scatter. Places are used since boxes may be too tight or too loose.

    Args:
        corners: float64 [n, 4], the boxes as they stand, x1, y1, x2, y2.
        pairs: The objects beside them.
        size: [n, 2], height and width of each box's picture.
    """
    with np.errstate(all="ignore"):
        ours, theirs = corners[pairs.row], pairs.corners
        height, width = size[pairs.row].T.astype(np.float64)
        wide, high = ((ours[:, 2:] - ours[:, :2]) / (theirs[:, 2:] - theirs[:, :2])).T
        (x, y), (other_x, other_y) = ((ours[:, :2] + ours[:, 2:]) / 2).T, ((theirs[:, :2] + theirs[:, 2:]) / 2).T
        across, down = x / other_x, y / other_y
        scale = np.sqrt(across * down)
        roughly = _alike(wide, across, _ROUGHLY) & _alike(high, down, _ROUGHLY)
        one = roughly & _alike(across, down, _ALIKE)
        for (factor,) in _peaks(scale[one]):
            for near in dict.fromkeys((_plain(factor, 1e-3), _plain(factor, 0.02))):  # of noisy boxes it is not exact
                yield Picture("scaled", near, near)
        by_longer = _peaks((scale * np.maximum(height, width))[one])
        by_shorter = _peaks((scale * np.minimum(height, width))[one])
        for (longer,) in by_longer:
            yield from _sized("fit", longer, longer)
            for (shorter,) in by_shorter:
                if shorter < 0.97 * longer:
                    yield from _sized("fit", longer, shorter)
        for sides in _peaks((across * width)[roughly], (down * height)[roughly]):
            yield from _sized("stretched", *sides)
        # a letterbox touches its frame across or down, and is centred in the other direction
        frame_y = across * height + 2 * (y - across * other_y)
        filled = _alike(wide, across, _ROUGHLY) & _alike(high, across, _ROUGHLY) & (frame_y >= across * height)
        frame_x = down * width + 2 * (x - down * other_x)
        beside = _alike(wide, down, _ROUGHLY) & _alike(high, down, _ROUGHLY) & (frame_x >= down * width)
        frames = [
            np.concatenate([(across * width)[filled], frame_x[beside]]),
            np.concatenate([frame_y[filled], (down * height)[beside]]),
        ]
        for sides in _peaks(*frames):
            yield from _sized("letterbox", *sides)


def _alike(a: np.ndarray, b: np.ndarray, most: float) -> np.ndarray:
    ratio = a / b
    return np.asarray((ratio < most) & (ratio > 1 / most) & (a > 0) & (b > 0))


def _sized(kind: str, width: float, height: float) -> Iterator[Picture]:
    if round(width) > 0 and round(height) > 0:
        yield Picture(kind, float(round(width)), float(round(height)))


def _peaks(*values: np.ndarray) -> list[tuple[float, ...]]:
    """Return the values that most votes are near to, at most three, the most voted first."""
    columns = np.stack(values, axis=1)
    columns = columns[np.isfinite(columns).all(axis=1) & (columns > 0).all(axis=1)]
    if not len(columns):
        return []
    logs = np.log(columns)
    bins, _, count = np.unique(np.floor(logs / _BINS), axis=0, return_inverse=True, return_counts=True)
    found: list[tuple[float, ...]] = []
    for place in np.argsort(-count, kind="stable"):
        if len(found) == _PEAKS or count[place] < 2:
            break
        near = (np.abs(logs - (bins[place] + 0.5) * _BINS) <= 1.5 * _BINS).all(axis=1)
        middle = np.median(columns[near], axis=0)
        if all(np.abs(np.log(middle / np.array(other))).max() > 2 * _BINS for other in found):
            found.append(tuple(middle.tolist()))
    return found


def _plain(factor: float, near: float) -> float:
    """Return a factor as people choose them, where it is near enough to one."""
    for plain in (float(round(factor)), 1 / max(round(1 / factor), 1), round(factor, 1), round(factor, 2)):
        if plain > 0 and abs(plain / factor - 1) < near:
            return plain
    return float(f"{factor:.7g}")
