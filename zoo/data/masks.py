"""Geometry of masks that stay run lengths or polygons; no more than one is ever unpacked at a time."""

import warnings
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
from pycocotools import mask as rle

__all__ = [
    "crop_mask",
    "decode_mask",
    "flip_mask",
    "is_polygons",
    "mask_area",
    "mask_box",
    "mask_pixels",
    "pack",
    "placed_mask",
    "resize_map",
    "resize_mask",
    "unpack",
]

_FAR = 100  # sides of the image; drawing takes as long as polygons are far

Mask = Any
"""COCO's run lengths, {"size": [height, width], "counts": bytes}, or polygons, a list of flat lists of x and y."""


def is_polygons(mask: Mask) -> bool:
    """Return whether a mask is a list of polygons."""
    return isinstance(mask, list)


def decode_mask(given: Any, size: tuple[int, int]) -> Mask | None:
    """Return the mask of an annotation as its source gave it; None where it has none.

    Args:
        given: COCO's polygons or run lengths, as objects or JSON, or an Arrow struct (height, width, counts).
        size: Height and width of the picture, to which a mask of another size is brought.

    Raises:
        ValueError: If it cannot be a mask of this picture; `IndexError`, `KeyError`, `TypeError` and msgspec's errors
            if it has another form.
    """
    if isinstance(given, pa.StructScalar):
        one = given.as_py()
        mask = None if one is None else {"size": [one["height"], one["width"]], "counts": one["counts"]}
    else:
        mask = msgspec.json.decode(given) if isinstance(given, msgspec.Raw) and bytes(given) else given or None
    if not mask:
        return None
    if isinstance(mask, list):
        polygons = [polygon for polygon in mask if len(polygon) >= 6]
        far = max((abs(float(number)) for polygon in polygons for number in polygon), default=0.0)
        if far > _FAR * max(size):
            raise ValueError(f"a polygon reaches to {far:g} in an image of {size[0]} x {size[1]} pixels")
        if any(len(polygon) % 2 for polygon in polygons):
            raise ValueError("a polygon has an odd number of coordinates")
        return polygons or None
    if isinstance(mask["counts"], list):
        if sum(mask["counts"]) > mask["size"][0] * mask["size"][1] or min(mask["counts"], default=0) < 0:
            raise ValueError("the runs do not fit the size")
        mask = rle.frPyObjects(mask, *mask["size"])
    elif isinstance(mask["counts"], str):
        mask = mask | {"counts": mask["counts"].encode()}
        unpack(mask)  # fails here if the runs do not fit the size
    return resize_mask(mask, (mask["size"][0], mask["size"][1]), size)


def pack(pixels: np.ndarray) -> dict[str, Any]:
    """Return the run lengths of bool or uint8 [height, width]."""
    encoded: dict[str, Any] = rle.encode(np.asfortranarray(pixels, np.uint8))
    return encoded


def unpack(mask: dict[str, Any]) -> np.ndarray:
    """Return the pixels of run lengths, uint8 [height, width]."""
    with warnings.catch_warnings():  # pycocotools 2.0.11 does not know NumPy 2.4
        warnings.simplefilter("ignore", DeprecationWarning)
        return np.asarray(rle.decode(mask))


def mask_pixels(mask: Mask, size: tuple[int, int]) -> np.ndarray:
    """Return the pixels of a mask.

    Args:
        mask: Run lengths of that size, or polygons.
        size: Height and width of the image; polygons are cut there.

    Returns:
        uint8 [height, width].
    """
    if not is_polygons(mask):
        return unpack(mask)
    return unpack(rle.merge(rle.frPyObjects(mask, *size))) if mask else np.zeros(size, np.uint8)


def mask_area(mask: Mask, size: tuple[int, int]) -> int:
    """Return the number of pixels inside the image."""
    return int(np.count_nonzero(mask_pixels(mask, size)))


def mask_box(pixels: np.ndarray) -> tuple[float, float, float, float]:
    """Return the box xyxy of the pixels of a mask [height, width], around whole pixels; zeros of an empty one."""
    rows, columns = (np.flatnonzero(pixels.any(axis)) for axis in (1, 0))
    if not len(rows):
        return 0.0, 0.0, 0.0, 0.0
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)


def flip_mask(mask: Mask, width: int) -> Mask:
    """Return the mask of the image mirrored left to right."""
    if is_polygons(mask):
        return [_moved(polygon, -1.0, 1.0, width, 0.0) for polygon in mask]
    return pack(unpack(mask)[:, ::-1])


def resize_mask(mask: Mask, size: tuple[int, int], new: tuple[int, int]) -> Mask:
    """Return the mask of the resized image; each new pixel is the old one at its center.

    Args:
        mask: Run lengths or polygons.
        size: Height and width of the image.
        new: Those it is resized to.
    """
    if size == new:
        return mask
    if is_polygons(mask):
        return [_moved(polygon, new[1] / size[1], new[0] / size[0], 0.0, 0.0) for polygon in mask]
    return pack(resize_map(unpack(mask), new))


def resize_map(pixels: np.ndarray, new: tuple[int, int]) -> np.ndarray:
    """Return [height, width] of whole values at another size; each new pixel is the old one at its center."""
    # in whole numbers, where the float32 of libraries misses a pixel now and then
    rows, columns = (((2 * np.arange(n) + 1) * old) // (2 * n) for n, old in zip(new, pixels.shape, strict=True))
    return np.asarray(pixels[rows[:, None], columns[None]])


def crop_mask(mask: Mask, top: int, left: int, height: int, width: int) -> Mask:
    """Return the mask of a part of the image; polygons keep what lies outside."""
    if is_polygons(mask):
        return [_moved(polygon, 1.0, 1.0, -left, -top) for polygon in mask]
    return pack(unpack(mask)[top : top + height, left : left + width])


def placed_mask(mask: Mask, top: int, left: int, height: int, width: int) -> Mask:
    """Return the mask of an image that is placed in one of this height and width, and cut off there."""
    if is_polygons(mask):
        return crop_mask(mask, -top, -left, height, width)
    own, pixels = unpack(mask), np.zeros((height, width), np.uint8)
    part = pixels[top : top + own.shape[0], left : left + own.shape[1]]
    part[:] = own[: part.shape[0], : part.shape[1]]
    return pack(pixels)


def _moved(polygon: list[float], sx: float, sy: float, dx: float, dy: float) -> list[float]:
    points = np.asarray(polygon, np.float64).reshape(-1, 2) * (sx, sy) + (dx, dy)
    flat: list[float] = points.ravel().tolist()
    return flat
