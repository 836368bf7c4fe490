"""Changes of an image together with its boxes, masks and stuff map.

A transform takes uint8 [3, height, width], a target and the draws of this visit, and returns new ones. Every draw
comes from a generator of its own, by (seed, epoch, image, visit, stream, component), so that results depend neither
on workers nor on which other transforms there are.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as F  # noqa: N812 (its usual name)

from zoo.data.masks import crop_mask, flip_mask, mask_area, resize_map, resize_mask
from zoo.data.record import Target

__all__ = [
    "Distort",
    "Flip",
    "Jitter",
    "Resize",
    "Transform",
    "VisitDraws",
    "crop",
    "fitting_size",
    "flip",
    "moved",
    "resize",
    "select",
    "settle",
]


class VisitDraws(NamedTuple):
    """Where the random numbers of one visit to an image come from.

    Attributes:
        seed: Of the training.
        epoch: Number of the epoch.
        image: Index of the image in its data set.
        visit: How often the image came earlier in the epoch.
        stream: Number of the stream that it came by.
    """

    seed: int
    epoch: int
    image: int
    visit: int = 0
    stream: int = 0

    def of(self, component: str) -> np.random.Generator:
        """Return the generator of a component."""
        words = [self.seed, self.epoch, self.image, self.visit, zlib.crc32(component.encode())]
        if self.stream:
            words.append(self.stream)
        return np.random.Generator(np.random.PCG64(np.random.SeedSequence(words)))


class Transform(Protocol):
    """A change of an image and its target."""

    def __call__(self, image: Tensor, target: Target, draws: VisitDraws) -> tuple[Tensor, Target]:
        """Return the changed image and target."""


@dataclass(frozen=True)
class Flip:
    """Mirror the image left to right.

    Attributes:
        chance: Probability.
    """

    chance: float = 0.5

    def __call__(self, image: Tensor, target: Target, draws: VisitDraws) -> tuple[Tensor, Target]:
        """Return the changed image and target."""
        return flip(image, target) if draws.of("flip").random() < self.chance else (image, target)


@dataclass(frozen=True)
class Resize:
    """Resize so that the short side has a drawn length, but the long side no more than a limit.

    Attributes:
        short: Lengths to draw from.
        long: Longest side.
        between: Draw any whole length between the two of `short`.
        square: Make both sides as long as the short one.
    """

    short: tuple[int, ...]
    long: int
    between: bool = False
    square: bool = False

    def __call__(self, image: Tensor, target: Target, draws: VisitDraws) -> tuple[Tensor, Target]:
        """Return the changed image and target."""
        rng = draws.of("resize")
        low, high = min(self.short), max(self.short)
        short = int(rng.integers(low, high + 1)) if self.between else self.short[int(rng.integers(len(self.short)))]
        return resize(image, target, (short, short) if self.square else fitting_size(target.size, short, self.long))


@dataclass(frozen=True)
class Jitter:
    """Resize by a drawn factor, then cut a random part of at most the size that the image had before.

    Attributes:
        low: Smallest factor.
        high: Largest factor.
    """

    low: float
    high: float

    def __call__(self, image: Tensor, target: Target, draws: VisitDraws) -> tuple[Tensor, Target]:
        """Return the changed image and target."""
        rng = draws.of("jitter")
        height, width = target.size
        factor = rng.uniform(self.low, self.high)
        new = max(1, round(height * factor)), max(1, round(width * factor))
        image, target = resize(image, target, new)
        top = int(rng.integers(max(new[0] - height, 0) + 1))
        left = int(rng.integers(max(new[1] - width, 0) + 1))
        return crop(image, target, top, left, min(height, new[0]), min(width, new[1]))


@dataclass(frozen=True)
class Distort:
    """Change brightness, contrast, saturation and hue, each with a chance of one half and within SSD's ranges."""

    def __call__(self, image: Tensor, target: Target, draws: VisitDraws) -> tuple[Tensor, Target]:
        """Return the changed image and target."""
        rng = draws.of("distort")
        on = rng.random(4) < 0.5
        brightness, contrast, saturation = rng.uniform((0.875, 0.5, 0.5), (1.125, 1.5, 1.5)).tolist()
        hue = float(rng.uniform(-0.05, 0.05))
        contrast_last = rng.random() < 0.5
        if on[0]:
            image = F.adjust_brightness(image, brightness)
        if on[1] and not contrast_last:
            image = F.adjust_contrast(image, contrast)
        if on[2]:
            image = F.adjust_saturation(image, saturation)
        if on[3]:
            image = F.adjust_hue(image, hue)
        if on[1] and contrast_last:
            image = F.adjust_contrast(image, contrast)
        return image, target


def fitting_size(size: tuple[int, int], short: int, long: int) -> tuple[int, int]:
    """Return height and width at which the short side is `short`, or less where the long side would pass `long`."""
    scale = min(short / min(size), long / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def flip(image: Tensor, target: Target) -> tuple[Tensor, Target]:
    """Return both mirrored left to right."""
    width = target.size[1]
    return F.horizontal_flip(image), replace(
        target,
        boxes=_flipped(target.boxes, width),
        ignore_boxes=_flipped(target.ignore_boxes, width),
        proposals=_flipped(target.proposals, width),
        masks=_each(target.masks, lambda mask: flip_mask(mask, width)),
        stuff=None if target.stuff is None else target.stuff.flip(-1),
    )


def resize(image: Tensor, target: Target, size: tuple[int, int]) -> tuple[Tensor, Target]:
    """Return both at another height and width; the stuff map keeps its values."""
    old = target.size
    if old == size:
        return image, target
    factor = torch.tensor([size[1] / old[1], size[0] / old[0]] * 2)
    stuff = target.stuff
    pixels = image.float() if size == (1, 1) else image  # torch 2.15 fails on uint8 there
    return F.resize(pixels, list(size), antialias=True).to(image.dtype), replace(
        target,
        boxes=target.boxes * factor,
        ignore_boxes=target.ignore_boxes * factor,
        proposals=target.proposals * factor,
        masks=_each(target.masks, lambda mask: resize_mask(mask, old, size)),
        stuff=None if stuff is None else torch.from_numpy(resize_map(stuff.numpy(), size)),
        size=size,
    )


def crop(image: Tensor, target: Target, top: int, left: int, height: int, width: int) -> tuple[Tensor, Target]:
    """Return a part of both; objects outside are dropped, those of which no pixel of the mask is inside are ignored."""
    if (top, left, height, width) == (0, 0, *target.size):
        return image, target
    shift, limit = torch.tensor([left, top] * 2), torch.tensor([width, height] * 2)
    boxes = (target.boxes - shift).clamp(min=0).minimum(limit)
    ignore = (target.ignore_boxes - shift).clamp(min=0).minimum(limit)
    proposals = (target.proposals - shift).clamp(min=0).minimum(limit)
    target = replace(
        moved(target, boxes, ignore),
        proposals=proposals[(proposals[:, 2:] > proposals[:, :2]).all(1)],
        stuff=None if target.stuff is None else target.stuff[top : top + height, left : left + width],
        size=(height, width),
    )
    masks = _each(target.masks, lambda mask: crop_mask(mask, top, left, height, width))
    target = replace(target, masks=masks)
    if masks is not None:
        empty = [mask is not None and mask_area(mask, (height, width)) == 0 for mask in masks]
        target = _ignored(target, torch.tensor(empty, dtype=torch.bool))
    return image[:, top : top + height, left : left + width].contiguous(), target


def settle(image: Tensor, target: Target) -> tuple[Tensor, Target]:
    """Return the sample as the model takes it: float32 in 0..1, and boxes under one pixel among those to ignore."""
    sides = target.boxes[:, 2:] - target.boxes[:, :2]
    return F.to_dtype(image, torch.float32, scale=True), _ignored(target, (sides < 1).any(1))


def _ignored(target: Target, gone: Tensor) -> Target:
    """Return the target with some objects among the boxes to ignore."""
    if not gone.any():
        return target
    labels = target.ignore_labels
    return replace(
        select(target, torch.nonzero(~gone).squeeze(1)),
        ignore_boxes=torch.cat((target.ignore_boxes, target.boxes[gone])),
        ignore_labels=None if labels is None else torch.cat((labels, target.labels[gone])),
    )


def moved(target: Target, boxes: Tensor, ignore: Tensor) -> Target:
    """Return the target with boxes [n, 4] and ignore boxes [m, 4] elsewhere, without those that have no area left."""
    inside, still = (torch.nonzero((b[:, 2:] > b[:, :2]).all(1)).squeeze(1) for b in (boxes, ignore))
    labels = target.ignore_labels
    return replace(
        select(replace(target, boxes=boxes), inside),
        ignore_boxes=ignore[still],
        ignore_labels=None if labels is None else labels[still],
    )


def select(target: Target, rows: Tensor) -> Target:
    """Return the target with some of its objects, int64 [n]."""
    return replace(
        target,
        boxes=target.boxes[rows],
        labels=target.labels[rows],
        box_weight=target.box_weight[rows],
        masks=None if target.masks is None else [target.masks[row] for row in rows.tolist()],
    )


def _flipped(boxes: Tensor, width: int) -> Tensor:
    return torch.stack((width - boxes[:, 2], boxes[:, 1], width - boxes[:, 0], boxes[:, 3]), dim=1)


def _each(masks: Sequence[Any] | None, change: Any) -> list[Any] | None:
    return None if masks is None else [None if mask is None else change(mask) for mask in masks]
