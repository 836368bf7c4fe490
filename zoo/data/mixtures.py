"""Samples that are made of several pictures."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from zoo.data.masks import placed_mask
from zoo.data.record import Target
from zoo.data.transforms import VisitDraws, crop, resize

__all__ = ["Mixture", "Mosaic", "joined_target"]

_GREY = 128
_NO_STUFF = 255


class Mixture(Protocol):
    """Joins a picture with others of the data set, before the transforms."""

    def partners(self, draws: VisitDraws) -> list[int]:
        """Return the images that are joined with the one of these draws; none leaves it alone."""

    def join(self, samples: Sequence[tuple[Tensor, Target]], draws: VisitDraws) -> tuple[Tensor, Target]:
        """Return one sample of several as they are on disk, the image itself first."""


@dataclass(frozen=True)
class Mosaic:
    """Two by two pictures that meet in one point, the partners drawn in proportion to `factors`.

    Either all four get the room that the first one takes, each scaled to fit into it (ours); or all keep their common
    scale, and of the whole a part as large as the first picture is cut out, at random but with the point inside
    (`balanced_mosaic`; where it is cut is ours).

    Attributes:
        chance: That a sample is a mosaic.
        factors: float64 [images].
        common_scale: Whether the pictures keep their scale.
    """

    chance: float
    factors: np.ndarray
    common_scale: bool = False

    def partners(self, draws: VisitDraws) -> list[int]:
        """Return three images, or none."""
        rng = draws.of("mosaic")
        if rng.random() >= self.chance:
            return []
        sums = np.cumsum(self.factors)
        drawn: list[int] = np.searchsorted(sums, rng.random(3) * sums[-1], side="right").tolist()
        return drawn

    def join(self, samples: Sequence[tuple[Tensor, Target]], draws: VisitDraws) -> tuple[Tensor, Target]:
        """Return the mosaic of four samples."""
        height, width = samples[0][1].size
        if self.common_scale:
            up, down = (max(samples[place][1].size[0] for place in row) for row in ((0, 1), (2, 3)))
            left, right = (max(samples[place][1].size[1] for place in column) for column in ((0, 2), (1, 3)))
        else:
            samples = [resize(*sample, _fitting(sample[1].size, (height, width))) for sample in samples]
            up = down = height
            left = right = width
        canvas = torch.full((3, up + down, left + right), _GREY, dtype=torch.uint8)
        corners = []
        for place, (image, target) in enumerate(samples):
            own = target.size
            corner = up - own[0] if place < 2 else up, left - own[1] if place % 2 == 0 else left
            canvas[:, corner[0] : corner[0] + own[0], corner[1] : corner[1] + own[1]] = image
            corners.append(corner)
        joined = joined_target([target for _, target in samples], corners, (up + down, left + right))
        if not self.common_scale:
            return canvas, joined
        rng = draws.of("mosaic crop")
        top, first = (_start(rng, *sides) for sides in ((up, down, height), (left, right, width)))
        image, target = crop(canvas, joined, top, first, height, width)
        return image, replace(target, original_size=target.size)


def _fitting(size: tuple[int, int], room: tuple[int, int]) -> tuple[int, int]:
    factor = min(room[0] / size[0], room[1] / size[1])
    return max(1, round(size[0] * factor)), max(1, round(size[1] * factor))


def _start(rng: np.random.Generator, before: int, after: int, length: int) -> int:
    """Draw where a part begins that holds the place that has so much before it and so much after."""
    return int(rng.integers(max(before - length, 0), min(before, before + after - length) + 1))


def joined_target(targets: Sequence[Target], corners: Sequence[tuple[int, int]], size: tuple[int, int]) -> Target:
    """Return the annotations of pictures that are placed in a larger one.

    The loss weight is the mean; a category is absent if it is so in all of them, and not exhaustive if it is so in one.

    Args:
        targets: Of the pictures; ids and what was drawn are the first one's.
        corners: Top and left of each.
        size: Height and width of the larger one.
    """
    first = targets[0]
    shifts = [torch.tensor([left, top] * 2, dtype=torch.float32) for top, left in corners]
    pairs = list(zip(targets, corners, strict=True))
    masks: list[Any] | None = None
    if all(target.masks is not None for target in targets):
        masks = [
            None if mask is None else placed_mask(mask, *corner, *size)
            for target, corner in pairs
            for mask in target.masks or ()
        ]
    stuff: Tensor | None = None
    if all(target.stuff is not None for target in targets):
        stuff = torch.full(size, _NO_STUFF, dtype=torch.uint8)
        for target, (top, left) in pairs:
            assert target.stuff is not None
            stuff[top : top + target.size[0], left : left + target.size[1]] = target.stuff
    absent = set(first.neg_classes.tolist()).intersection(*(target.neg_classes.tolist() for target in targets))
    partly = {label for target in targets for label in target.not_exhaustive.tolist()}
    return Target(
        boxes=torch.cat([target.boxes + shift for target, shift in zip(targets, shifts, strict=True)]),
        labels=torch.cat([target.labels for target in targets]),
        masks=masks,
        ignore_boxes=torch.cat([target.ignore_boxes + shift for target, shift in zip(targets, shifts, strict=True)]),
        ignore_labels=_all([target.ignore_labels for target in targets]),
        image_labels=_every([target.image_labels for target in targets], torch.any),
        verified=_every([target.verified for target in targets], torch.all),
        neg_classes=torch.tensor(sorted(absent), dtype=torch.int64),
        not_exhaustive=torch.tensor(sorted(partly), dtype=torch.int64),
        loss_weight=sum(target.loss_weight for target in targets) / len(targets),
        box_weight=torch.cat([target.box_weight for target in targets]),
        proposals=torch.cat([target.proposals + shift for target, shift in zip(targets, shifts, strict=True)]),
        stuff=stuff,
        image_id=first.image_id,
        size=size,
        original_size=size,
        source=first.source,
        labels_only=all(target.labels_only for target in targets),
        drawn=first.drawn,
        stream=first.stream,
    )


def _all(parts: list[Tensor | None]) -> Tensor | None:
    known = [part for part in parts if part is not None]
    return torch.cat(known) if len(known) == len(parts) else None


def _every(parts: list[Tensor | None], how: Any) -> Tensor | None:
    known = [part for part in parts if part is not None]
    found: Tensor | None = how(torch.stack(known), dim=0) if len(known) == len(parts) else None
    return found
