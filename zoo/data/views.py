"""Views of an image at test: scales and flips, and the way back for what is found in them."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import torch
from torch import Tensor

from fusion.checks import at_least
from zoo.data.masks import flip_mask, resize_mask
from zoo.data.transforms import fitting_size, flip, resize

__all__ = ["View", "views"]


@dataclass(frozen=True)
class View:
    """An image as a detector looks at it.

    Attributes:
        short: Length of the short side in pixels, less where the long side would pass `long`; None leaves pictures as
            they are, for detectors that bring them to a size of their own.
        long: Longest side in pixels; None with `short`.
        flip: Mirror it left to right.

    Raises:
        InputError: If a length is no whole number of at least 1.
    """

    short: int | None
    long: int | None
    flip: bool = False

    def __post_init__(self) -> None:
        if self.short is not None or self.long is not None:
            at_least("short", self.short, 1, whole=True)
            at_least("long", self.long, 1, whole=True)

    @property
    def name(self) -> str:
        """What the view is called in tables: "800", "800-flip", "own"."""
        size = "own" if self.short is None else str(self.short)
        return f"{size}-flip" if self.flip else size

    def size(self, original: tuple[int, int]) -> tuple[int, int]:
        """Return height and width of the view of an image."""
        if self.short is None or self.long is None:
            return original
        return fitting_size(original, self.short, self.long)

    def apply(self, image: Tensor, target: Any) -> tuple[Tensor, Any]:
        """Return the view of an image [3, height, width] and of its target."""
        image, target = resize(image, target, self.size(target.size))
        return flip(image, target) if self.flip else (image, target)

    def undo_boxes(self, boxes: Tensor, original: tuple[int, int]) -> Tensor:
        """Return boxes [n, 4] of the view as boxes of the image.

        Args:
            boxes: xyxy in pixels of the view.
            original: Height and width of the image.
        """
        height, width = self.size(original)
        if self.flip:
            boxes = torch.stack((width - boxes[:, 2], boxes[:, 1], width - boxes[:, 0], boxes[:, 3]), dim=1)
        return boxes * boxes.new_tensor([original[1] / width, original[0] / height] * 2)

    def undo_mask(self, mask: Any, original: tuple[int, int]) -> Any:
        """Return a mask of the view as a mask of the image.

        Args:
            mask: Run lengths or polygons in pixels of the view.
            original: Height and width of the image.
        """
        size = self.size(original)
        if self.flip:
            mask = flip_mask(mask, size[1])
        return resize_mask(mask, size, original)


def views(short: Sequence[int], long: int, *, with_flip: bool) -> tuple[View, ...]:
    """Return a view per length, and with `with_flip` a mirrored one after each."""
    return tuple(View(length, long, mirrored) for length, mirrored in product(short, (False, True)[: 1 + with_flip]))
