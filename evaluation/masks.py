"""Segmentations of COCO files as compressed run lengths in Arrow columns."""

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
from pycocotools import mask as rle

from fusion.errors import InputError
from fusion.masks import mask_array

__all__ = ["box_masks", "encode_segmentations"]


def encode_segmentations(
    segmentations: Sequence[Any], height: np.ndarray, width: np.ndarray, source: object
) -> pa.StructArray | None:
    """Encode polygons and run lengths of annotations, as pycocotools' `annToRLE` does.

    Args:
        segmentations: [n] each a list of polygons [x1, y1, x2, y2, ...], a COCO RLE object, JSON text
            of one of these, or None. An empty list counts as none.
        height: int32 [n], pixels of the annotation's image, for polygons.
        width: int32 [n], pixels.
        source: Name of the source for error messages.

    Returns:
        [n] structs (height, width, counts), null where there is none; None where there are none at all.

    Raises:
        InputError: If one cannot be read; the annotation is named.
    """
    sizes: list[tuple[int, int]] = []
    texts: list[bytes | None] = []
    for index, (value, h, w) in enumerate(zip(segmentations, height.tolist(), width.tolist(), strict=True)):
        try:
            given = msgspec.json.decode(value) if isinstance(value, msgspec.Raw) and bytes(value) else value
            mask = _encode(given, h, w) if given and not isinstance(given, msgspec.Raw) else None
        except (TypeError, ValueError, LookupError, OverflowError) as error:
            raise InputError(
                f"{source}, annotation {index}, field 'segmentation'",
                f"expected polygons or COCO RLE, got {_short(value)} ({error})",
                "Mend it, or remove the field to leave this annotation without a mask",
            ) from error
        sizes.append(mask[0] if mask else (0, 0))
        texts.append(mask[1] if mask else None)
    if all(text is None for text in texts):
        return None
    return mask_array([size[0] for size in sizes], [size[1] for size in sizes], texts)


def box_masks(xywh: np.ndarray, height: np.ndarray, width: np.ndarray) -> list[bytes]:
    """Draw boxes as masks, with the rounding of pycocotools' polygons.

    Args:
        xywh: float64 [n, 4], pixels.
        height: [n], pixels of the image.
        width: [n], pixels.

    Returns:
        Compressed RLE texts of the n masks.
    """
    return [
        _text(rle.frPyObjects(box[None], h, w)[0])
        for box, h, w in zip(np.ascontiguousarray(xywh), height.tolist(), width.tolist(), strict=True)
    ]


# Further out than any polygon of a picture; pycocotools goes along its sides in fifths of a pixel, and dies of 1e15.
_FARTHEST = 1e6
# Run lengths are of 32 bits.
_MOST_PIXELS = 2**32


def _encode(value: Any, height: int, width: int) -> tuple[tuple[int, int], bytes]:
    if isinstance(value, list):
        if height <= 0 or width <= 0:
            raise ValueError("the image has no width and height")
        _check_pixels(height, width)
        if any(not isinstance(polygon, list) or len(polygon) < 4 or len(polygon) % 2 for polygon in value):
            raise ValueError("a polygon needs an even number of at least 4 coordinates")
        return (height, width), _text(rle.merge(rle.frPyObjects(_as_floats(value), height, width)))
    size = (int(value["size"][0]), int(value["size"][1]))
    _check_pixels(*size)
    counts = value["counts"]
    if isinstance(counts, list):
        if sum(counts) > size[0] * size[1] or min(counts, default=0) < 0:
            raise ValueError("the runs do not fit the size")
        given: Any = {"size": list(size), "counts": counts}
        return size, _text(rle.frPyObjects(given, *size))
    if not isinstance(counts, str | bytes):
        raise TypeError("counts are no text and no list")
    return size, _text(value)


def _text(encoded: Any) -> bytes:
    counts = encoded["counts"]
    return counts.encode() if isinstance(counts, str) else bytes(counts)


def _as_floats(polygons: list[list[Any]]) -> Any:
    numbers = [[float(number) for number in polygon] for polygon in polygons]
    far = [number for polygon in numbers for number in polygon if not abs(number) <= _FARTHEST]
    if far:
        raise ValueError(f"coordinate {far[0]:g}, where {_FARTHEST:,.0f} pixels are the farthest")
    return numbers


def _check_pixels(height: int, width: int) -> None:
    if not (0 <= height < 2**31 and 0 <= width < 2**31 and height * width < _MOST_PIXELS):
        raise ValueError(f"a mask of {height} x {width} pixels, where {_MOST_PIXELS:,} are the most")


def _short(value: Any) -> str:
    text = bytes(value).decode(errors="replace") if isinstance(value, msgspec.Raw) else repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
