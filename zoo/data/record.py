"""What one image carries: its pixels and its annotations, from the readers through the transforms to the model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

__all__ = ["Key", "Sample", "Target", "collate"]

_FLOATS = ("boxes", "ignore_boxes", "box_weight", "proposals")
_NUMBERS = ("labels", "ignore_labels", "neg_classes", "not_exhaustive")


class Key(NamedTuple):
    """Which sample a training asks for: all that its random draws depend on.

    Attributes:
        epoch: Number of the epoch of its stream.
        image: Index of the image in the data set.
        visit: How often the image came earlier in this epoch.
        category: Label of the category, 1..K, for whose sake the image was drawn; 0 where it was drawn for itself.
        stream: Number of its stream, where a step is made of several.
    """

    epoch: int
    image: int
    visit: int = 0
    category: int = 0
    stream: int = 0


@dataclass(kw_only=True)
class Target:
    """Annotations of one image.

    Boxes are xyxy float32 in pixels of the input image, that is after the transforms; labels are 1..K in the order of
    the data set's ascending category ids, 0 is the background. An image may have no box at all, only boxes to ignore,
    or only image labels; each tensor is then empty, never None.

    Attributes:
        boxes: float32 [n, 4].
        labels: int64 [n], 1..K.
        masks: One per box: COCO's RLE as a dict with `size` = [height, width] of the input image and `counts` as bytes,
            or polygons as a list of flat lists [x0, y0, x1, y1, ...] in pixels of the input image, which a crop leaves
            reaching over its edges. None where the data set has no masks.
        ignore_boxes: float32 [m, 4], what is neither object nor background: crowds, group-of boxes, objects without
            area, and objects of which a transform left less than a pixel.
        ignore_labels: int64 [m]; None where the regions hold for all categories.
        image_labels: bool [K], categories verified as present in the image; None where the data set has no such labels.
        verified: bool [K], categories of which presence or absence was verified; None where all were.
        neg_classes: int64, labels verified as absent (LVIS `neg_category_ids`, Open Images' negative labels).
        not_exhaustive: int64, labels of which not all objects are annotated (LVIS).
        loss_weight: Factor on every loss term of the image.
        box_weight: float32 [n], factor on the terms of single boxes.
        proposals: float32 [p, 4], boxes that detectors have found, which a box refiner learns from; mostly none.
        stuff: uint8 [height, width], 255 to ignore; None where the data set has no such maps.
        image_id: As in the data set.
        size: Height and width of the input image.
        original_size: Height and width of the image on disk, to which results are mapped back.
        source: Name of the data set.
        labels_only: Nobody has drawn boxes in it: what is not in `boxes` is not background, and those that are there,
            mined from `image_labels`, teach nothing about where objects are.
        drawn: Label of the category for whose sake the image was drawn; 0 for none.
        stream: Number of the stream that it came by.
    """

    boxes: Tensor
    labels: Tensor
    masks: list[Any] | None
    ignore_boxes: Tensor
    ignore_labels: Tensor | None
    image_labels: Tensor | None
    verified: Tensor | None
    neg_classes: Tensor
    not_exhaustive: Tensor
    loss_weight: float
    box_weight: Tensor
    proposals: Tensor
    stuff: Tensor | None
    image_id: int | str
    size: tuple[int, int]
    original_size: tuple[int, int]
    source: str
    labels_only: bool = False
    drawn: int = 0
    stream: int = 0

    @classmethod
    def empty(cls, image_id: int | str, size: tuple[int, int], **given: Any) -> Target:
        """Return the target of an image without annotations; name the fields that it has."""
        count = len(given.get("boxes", ()))
        values: dict[str, Any] = {
            "boxes": torch.zeros(0, 4),
            "labels": torch.zeros(0, dtype=torch.int64),
            "masks": None,
            "ignore_boxes": torch.zeros(0, 4),
            "ignore_labels": None,
            "image_labels": None,
            "verified": None,
            "neg_classes": torch.zeros(0, dtype=torch.int64),
            "not_exhaustive": torch.zeros(0, dtype=torch.int64),
            "loss_weight": 1.0,
            "box_weight": torch.ones(count),
            "proposals": torch.zeros(0, 4),
            "stuff": None,
            "image_id": image_id,
            "size": size,
            "original_size": size,
            "source": "",
        }
        return cls(**(values | given))

    def to(self, device: torch.device | str) -> Target:
        """Return it with its tensors on a device; masks stay what they are."""
        tensors = {f.name: getattr(self, f.name) for f in fields(self) if isinstance(getattr(self, f.name), Tensor)}
        return replace(self, **{name: value.to(device, non_blocking=True) for name, value in tensors.items()})

    def pin_memory(self) -> Target:
        """Return it with its tensors in page-locked memory; the loader calls this."""
        tensors = {f.name: getattr(self, f.name) for f in fields(self) if isinstance(getattr(self, f.name), Tensor)}
        return replace(self, **{name: value.pin_memory() for name, value in tensors.items()})

    def check(self) -> None:
        """Check lengths and dtypes, for tests and for data sets of one's own.

        Raises:
            ValueError: If a field does not fit the others.
        """
        count, ignored = len(self.boxes), len(self.ignore_boxes)
        lengths = {"labels": count, "box_weight": count}
        if self.masks is not None:
            lengths["masks"] = count
        if self.ignore_labels is not None:
            lengths["ignore_labels"] = ignored
        for name, length in lengths.items():
            if len(getattr(self, name)) != length:
                raise ValueError(f"target of image {self.image_id!r}: {name} must have {length} entries")
        for names, dtype in ((_FLOATS, torch.float32), (_NUMBERS, torch.int64)):
            for name in names:
                value = getattr(self, name)
                if value is not None and value.dtype != dtype:
                    raise ValueError(f"target of image {self.image_id!r}: {name} must be {dtype}, not {value.dtype}")
        if self.boxes.shape[1:] != (4,) or self.ignore_boxes.shape[1:] != (4,):
            raise ValueError(f"target of image {self.image_id!r}: boxes must be [n, 4]")
        if count and int(self.labels.min()) < 1:
            raise ValueError(f"target of image {self.image_id!r}: labels start at 1")
        if self.stuff is not None and tuple(self.stuff.shape) != self.size:
            raise ValueError(f"target of image {self.image_id!r}: stuff must be {self.size}")


Sample = tuple[Tensor, Target]
"""float32 [3, height, width] in 0..1 and the annotations; the model normalises and pads."""


def collate(samples: Sequence[Sample]) -> tuple[list[Tensor], list[Target]]:
    """Make a batch; images keep their sizes, the model pads them."""
    return [image for image, _ in samples], [target for _, target in samples]
