"""Detections of Python objects, image by image, on the way to raw columns."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from evaluation.files.raw_columns import raw_columns
from fusion.coco_results import RawResults
from fusion.coco_results.raw import Keys
from fusion.errors import InputError
from fusion.masks import mask_array

__all__ = ["OfImage", "array", "gathered"]


class OfImage(NamedTuple):
    """The detections of one image.

    Attributes:
        box: [n, 4].
        score: [n].
        label: [n] ids, or names.
        name: [n] names beside ids; None without.
        mask: [n, height, width], true or above 0.5 where a pixel belongs to the object; None without.
    """

    box: Any
    score: Any
    label: Any
    name: Any = None
    mask: Any = None


def array(values: Any) -> np.ndarray:
    """Return an array of whatever it is: a tensor on any device, an array, a list."""
    for step in ("detach", "cpu", "numpy"):
        if hasattr(values, step):
            values = getattr(values, step)()
    return np.asarray(values)


def gathered(images: Mapping[Any, OfImage], where: str, native: str) -> RawResults:
    """Return the detections of all images.

    Args:
        images: By image id or file name.
        where: What they came in, for messages.
        native: How their boxes stand there.

    Raises:
        InputError: If the parts of an image do not belong together; it is named.
    """
    image_keys, label_keys = Keys(), Keys()
    image, label, score, box, masks, names = [], [], [], [], [], []
    for key, found in images.items():
        boxes, scores, labels = array(found.box).reshape(-1, 4), array(found.score).ravel(), array(found.label).ravel()
        beside: list[str | None] | None = (
            None if found.name is None else list(map(str, array(found.name).ravel().tolist()))
        )
        lengths = {len(boxes), len(scores), len(labels), len(labels if beside is None else beside)}
        if len(lengths) > 1:
            problem = f"expected as many boxes as scores and labels, got {len(boxes)}, {len(scores)} and {len(labels)}"
            raise InputError(f"{where}, image {key!r}", problem, "Give them for each detection")
        if not np.isfinite(boxes.astype(np.float64)).all():
            raise InputError(f"{where}, image {key!r}", "a box is not finite", "Drop it")
        image.append(np.repeat(image_keys.codes([_key(key)], None), len(boxes)))
        label.append(label_keys.codes([_key(one) for one in labels.tolist()], beside))
        score.append(scores.astype(np.float64))
        box.append(boxes.astype(np.float64))
        masks += _masks(found.mask, len(boxes), f"{where}, image {key!r}")
        names += [f"image {key!r}, detection {number}" for number in range(len(boxes))]
    columns = raw_columns(
        images=image_keys.all,
        image=np.concatenate([np.zeros(0, np.int32), *image]),
        categories=label_keys.all,
        category=np.concatenate([np.zeros(0, np.int32), *label]),
        score=np.concatenate([np.zeros(0), *score]),
        box=np.concatenate([np.zeros((0, 4)), *box]),
        mask=_mask_column(masks),
    )
    return RawResults.of(where, columns, native=native, place=names.__getitem__)


def _key(value: Any) -> int | str:
    value = value.item() if isinstance(value, np.generic) else value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else str(value)


def _masks(given: Any, count: int, where: str) -> list[np.ndarray | None]:
    if given is None:
        return [None] * count
    masks = array(given)
    if masks.ndim == 4:  # torchvision's, with a channel
        masks = masks[:, 0]
    if masks.ndim != 3 or len(masks) != count:
        raise InputError(where, f"expected masks [{count}, height, width], got {list(masks.shape)}", "Leave them out")
    return list(masks > 0.5)


def _mask_column(masks: Sequence[np.ndarray | None]) -> pa.ChunkedArray | None:
    if all(mask is None for mask in masks):
        return None
    from pycocotools import mask as codec

    texts = [None if m is None else codec.encode(np.asfortranarray(m.astype(np.uint8)))["counts"] for m in masks]
    sizes = [(0, 0) if mask is None else mask.shape for mask in masks]
    return pa.chunked_array([mask_array([size[0] for size in sizes], [size[1] for size in sizes], texts)])
