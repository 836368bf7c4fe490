"""Rotation of an image together with its boxes, masks and stuff map."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as F  # noqa: N812 (its usual name)

from zoo.config import Rotation
from zoo.data.masks import is_polygons, mask_box, mask_pixels, pack
from zoo.data.record import Target
from zoo.data.transforms import VisitDraws, moved

__all__ = ["Rotate", "rotate"]

_GREY, _NO_STUFF = 128.0, 255.0


@dataclass(frozen=True)
class Rotate:
    """Rotate about the middle; what was not in the picture is grey.

    Attributes:
        settings: How far, how often, and where boxes come from.
    """

    settings: Rotation

    def __call__(self, image: Tensor, target: Target, draws: VisitDraws) -> tuple[Tensor, Target]:
        """Return the changed image and target."""
        rng = draws.of("rotation")
        if rng.random() >= self.settings.chance:
            return image, target
        degrees = float(rng.uniform(-self.settings.degrees, self.settings.degrees))
        return rotate(image, target, degrees, by_masks=self.settings.boxes == "masks")


def rotate(
    image: Tensor,
    target: Target,
    degrees: float,
    *,
    by_masks: bool = True,
    about: tuple[float, float] | None = None,
) -> tuple[Tensor, Target]:
    """Return both rotated counter-clockwise, at the size that they have.

    Args:
        image: uint8 [3, height, width].
        target: Its annotations.
        degrees: The angle.
        by_masks: Take the boxes of objects that have a mask from the rotated mask, not from the box's corners.
        about: The point that stays, x and y; None for the middle.
    """
    height, width = target.size
    middle = np.array(about or (width / 2, height / 2))
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    turn = np.array(((cosine, -sine), (sine, cosine)))  # of rows (x, y); y points down

    def points(xy: np.ndarray) -> np.ndarray:
        return np.asarray((xy - middle) @ turn + middle)

    def hulls(boxes: Tensor) -> Tensor:
        corners = boxes.double().numpy()[:, [[0, 1], [2, 1], [2, 3], [0, 3]]]
        turned = points(corners).clip(0, (width, height))
        both = np.concatenate([turned.min(1), turned.max(1)], axis=1)
        return torch.from_numpy(both).float().reshape(-1, 4)

    def mask(own: Any) -> Any:
        if is_polygons(own):
            return [points(np.reshape(polygon, (-1, 2))).ravel().tolist() for polygon in own]
        return pack(_pixels(torch.from_numpy(mask_pixels(own, target.size).copy()), degrees, 0.0, about).numpy())

    boxes, ignore = hulls(target.boxes), hulls(target.ignore_boxes)
    masks = None if target.masks is None else [None if own is None else mask(own) for own in target.masks]
    for row, own in enumerate(masks or ()):
        if own is not None and by_masks:
            boxes[row] = torch.tensor(_extent(own, target.size))
    stuff = None if target.stuff is None else _pixels(target.stuff, degrees, _NO_STUFF, about)
    turned = moved(replace(target, masks=masks, stuff=stuff, proposals=hulls(target.proposals)), boxes, ignore)
    center = None if about is None else list(about)
    return F.rotate(image, degrees, InterpolationMode.BILINEAR, center=center, fill=[_GREY] * 3), turned


def _pixels(values: Tensor, degrees: float, fill: float, about: tuple[float, float] | None) -> Tensor:
    center = None if about is None else list(about)
    turned: Tensor = F.rotate(values[None], degrees, InterpolationMode.NEAREST, center=center, fill=[fill])[0]
    return turned


def _extent(mask: Any, size: tuple[int, int]) -> tuple[float, float, float, float]:
    """Return the box of a mask inside the image; one without area where nothing is inside."""
    if is_polygons(mask):
        xy = np.concatenate([np.reshape(polygon, (-1, 2)) for polygon in mask] or [np.zeros((1, 2))])
        low, high = xy.min(0), xy.max(0)
        if (low >= 0).all() and (high <= (size[1], size[0])).all():
            return float(low[0]), float(low[1]), float(high[0]), float(high[1])
    return mask_box(mask_pixels(mask, size))
