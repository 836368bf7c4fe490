"""Objects cut out of their images: a data set of crops, and where a crop lies."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import ceil, floor, hypot
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from evaluation.ground_truth import GroundTruth, Labels
from fusion.errors import InputError
from zoo.config import Crop
from zoo.data.dataset import Data, objects_of
from zoo.data.elaborate import Elaborated
from zoo.data.joined import JoinedData
from zoo.data.record import Target
from zoo.data.rotation import rotate
from zoo.data.selected import SelectedData
from zoo.data.transforms import VisitDraws, crop, select
from zoo.nn.geometry import box_iou, decode, encode

__all__ = ["CroppedData", "CutOut", "Region", "cut_out", "region_of"]

_NEAR = 0.5
_FURTHER = 0.75
Region = tuple[int, int, int, int]
"""Top, left, height and width of a part of an image, in whole pixels."""


def region_of(box: Sequence[float], size: tuple[int, int], pad: float = 0.0) -> Region:
    """Return the pixels that a box touches; height or width is not above 0 where that are none.

    Args:
        box: xyxy in pixels.
        size: Height and width of the image.
        pad: Margin around the box, as a share of its width and height.
    """
    x1, y1, x2, y2 = box
    wide, high = pad * (x2 - x1), pad * (y2 - y1)
    left, top = max(floor(x1 - wide), 0), max(floor(y1 - high), 0)
    return top, left, min(ceil(y2 + high), size[0]) - top, min(ceil(x2 + wide), size[1]) - left


@dataclass(frozen=True)
class CutOut:
    """Turn the image about its only object, then cut it to the object's box, which is that of the turned mask.

    Where detectors have found the object, one of these boxes (of an IoU of at least 0.5; that is ours) says how the box
    is moved and stretched: the report cuts by detected boxes.

    Attributes:
        pad: Margin around the box, as a share of its width and height.
        turn: How far objects of a category are turned, or None.
    """

    pad: float = 0.0
    turn: Elaborated | None = None

    def __call__(self, image: Tensor, target: Target, draws: VisitDraws) -> tuple[Tensor, Target]:
        """Return the changed image and target."""
        deltas = self._error(target, draws)
        if self.turn is not None:
            degrees = draws.of("turn").normal(0.0, self.turn.spread(int(target.labels[0])))
            x1, y1, x2, y2 = target.boxes[0].tolist()
            turned = rotate(image, target, float(degrees), about=((x1 + x2) / 2, (y1 + y2) / 2))
            image, target = turned if len(turned[1].boxes) else (image, target)
        (box,) = decode(deltas, target.boxes).tolist()
        return crop(image, target, *region_of(box, target.size, self.pad))

    def _error(self, target: Target, draws: VisitDraws) -> Tensor:
        """Return the deltas, float32 [1, 4], of a detector's box to that of the object."""
        near = torch.nonzero(box_iou(target.proposals, target.boxes)[:, 0] >= _NEAR).flatten()
        if not len(near):
            return torch.zeros(1, 4)
        row = near[[int(draws.of("found").integers(len(near)))]]
        return encode(target.boxes, target.proposals[row])


def cut_out(data: Data, settings: Crop, seed: int) -> Data:
    """Return the objects of a data set as its samples.

    Args:
        data: Whole images.
        settings: How many objects, and how much around them.
        seed: Of the choice of objects.

    Raises:
        InputError: If no object has a mask.
    """
    rows = [_rows(part.truth) for part in data.parts]
    total = sum(map(len, rows))
    if not total:
        raise InputError(f"data {data.name}", "has no segmentation of any object", "Give data with masks")
    chosen = np.ones(total, bool)
    if settings.objects is not None and settings.objects < total:
        chosen[np.random.default_rng(seed).permutation(total)[settings.objects :]] = False
    ends = np.cumsum([len(own) for own in rows])[:-1]
    parts = [
        CroppedData(part, own[mine], settings.pad)
        for part, own, mine in zip(data.parts, rows, np.split(chosen, ends), strict=True)
    ]
    return parts[0] if len(parts) == 1 else JoinedData(parts)


class CroppedData(SelectedData):
    """Objects of a data set, each with what is around it: as much as a rotation about its middle may bring in.

    Args:
        data: Whole images, not joined of several sets.
        rows: int64 [n], the objects, as rows of its annotations.
        pad: Margin that is going to be kept around boxes.
    """

    def __init__(self, data: Data, rows: np.ndarray, pad: float) -> None:
        self._rows, self._pad, self._whole = rows, pad, data.truth
        super().__init__(data, self._whole.image[rows])

    @cached_property
    def truth(self) -> GroundTruth:
        """The annotations of the objects, each in an image of its own that it fills."""
        whole, height, width = self._whole, *self.sizes.T
        return replace(
            whole.only(self._rows),
            image_id=whole.image_id[self._images],
            file_name=whole.file_name[self._images],
            height=height,
            width=width,
            xywh=np.stack([np.zeros(len(self)), np.zeros(len(self)), width, height], axis=1),
            far=None,
            unit="pixel",
            image=np.arange(len(self), dtype=np.int32),
            negative=None,
            not_exhaustive=None,
            positive=None,
            order=None,
        )

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the annotations of the whole images."""
        return self._data.fingerprint

    @cached_property
    def sizes(self) -> np.ndarray:
        """int32 [objects, 2], heights and widths of the boxes, at least 1."""
        sides = self._whole.xywh[self._rows][:, [3, 2]]
        if self._whole.unit == "normalized":
            sides = sides * self._data.sizes[self._images]
        return np.ceil(np.maximum(sides, 1)).astype(np.int32)

    @property
    def image_categories(self) -> Labels:
        """Category of each object (CSR)."""
        return Labels(np.arange(len(self) + 1), self._whole.category[self._rows])

    @property
    def has_masks(self) -> bool:
        """Whether objects have masks."""
        return True

    def load(self, index: int) -> tuple[Tensor, Target]:
        """Return uint8 [3, height, width] around an object, and the object alone as its annotation."""
        number = int(self._images[index])
        rows = self._whole.rows_of(number)
        place = int(np.flatnonzero(rows[self._objects[rows]] == self._rows[index])[0])
        image, target = self._data.load(number)
        target = replace(
            select(target, torch.tensor([place])), ignore_boxes=torch.zeros(0, 4), ignore_labels=None, stuff=None
        )
        x1, y1, x2, y2 = target.boxes[0].tolist()
        x, y = (x1 + x2) / 2, (y1 + y2) / 2
        reach = (self._pad + (_FURTHER if len(target.proposals) else 0.5)) * hypot(x2 - x1, y2 - y1)
        return crop(image, target, *region_of((x - reach, y - reach, x + reach, y + reach), target.size))

    @cached_property
    def _objects(self) -> np.ndarray:
        return objects_of(self._whole)


def _rows(truth: GroundTruth) -> np.ndarray:
    """Return the objects with a mask, as rows of the annotations: int64 [n]."""
    given: Any = truth.segmentation
    if given is None:
        return np.zeros(0, np.int64)
    if isinstance(given, pa.StructArray):
        masked = given.is_valid().to_numpy(zero_copy_only=False)
    else:
        masked = np.array([_is_mask(one) for one in given], bool)
    return np.flatnonzero(masked & objects_of(truth))


def _is_mask(given: Any) -> bool:
    return bytes(given) not in (b"", b"[]", b"null") if isinstance(given, msgspec.Raw) else bool(given)
