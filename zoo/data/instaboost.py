"""InstaBoost: objects cut out by their masks and pasted again close by; written from the paper (arXiv 1908.07801)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as F  # noqa: N812 (its usual name)

from zoo.config import InstaBoost
from zoo.data.masks import mask_box, mask_pixels, pack
from zoo.data.record import Target
from zoo.data.strong import recoloured
from zoo.data.transforms import VisitDraws, select

__all__ = ["Boosted", "filled", "touching"]

_STRENGTH = 0.2
_FEATHER = 1.0


@dataclass(frozen=True)
class Boosted:
    """Move objects by a little.

    Attributes:
        settings: How far, how often.
    """

    settings: InstaBoost

    def __call__(self, image: Tensor, target: Target, draws: VisitDraws) -> tuple[Tensor, Target]:
        """Return the changed image and target; masks and boxes are those of what is seen afterwards."""
        rng = draws.of("instaboost")
        if target.masks is None or rng.random() >= self.settings.chance:
            return image, target
        planes: list[Any] = [None if mask is None else mask_pixels(mask, target.size) > 0 for mask in target.masks]
        groups = [group for group in touching(planes) if self._free(_union(planes, group))]
        if not groups:
            return image, target
        groups.sort(key=lambda group: -int(_union(planes, group).sum()))
        hole = _union(planes, [row for group in groups for row in group])
        canvas = filled(image.permute(1, 2, 0).numpy(), hole, self.settings.radius)
        changed: set[int] = set()
        for group in groups:
            part, alpha, pixels, moved = self._moved(image, planes, group, rng)
            canvas[part] = canvas[part] * (1 - alpha) + pixels * alpha
            for row, plane in zip(group, moved, strict=True):
                planes[row] = plane
            seen = _union(planes, group)
            for row, plane in enumerate(planes):
                if row not in group and plane is not None and (plane & seen).any():
                    planes[row] = plane & ~seen
                    changed.add(row)
            changed.update(group)
        boosted = torch.from_numpy(canvas.round().clip(0, 255).astype(np.uint8)).permute(2, 0, 1).contiguous()
        return boosted, _with_planes(target, planes, sorted(changed))

    def _free(self, plane: np.ndarray) -> bool:
        """Return whether an object has some pixels, and all far from the border."""
        x1, y1, x2, y2 = mask_box(plane)
        near = self.settings.border
        return x2 > x1 and min(x1, y1, plane.shape[1] - x2, plane.shape[0] - y2) >= near

    def _moved(
        self, image: Tensor, planes: Sequence[Any], group: Sequence[int], rng: np.random.Generator
    ) -> tuple[tuple[slice, slice], np.ndarray, np.ndarray, list[np.ndarray]]:
        """Return a part of the image, alpha [h, w, 1] and pixels [h, w, 3] of a moved group there, and its masks."""
        own, whole = self.settings, _union(planes, group)
        x1, y1, x2, y2 = mask_box(whole)
        # as far as a corner may get, and what is feathered
        far = int((x2 - x1 + y2 - y1) * (max(own.scale[1] - 1, 0) / 2 + own.shift + np.radians(own.degrees)) + 8)
        top, left = max(int(y1) - far, 0), max(int(x1) - far, 0)
        part = slice(top, int(y2) + far), slice(left, int(x2) + far)
        image = image[:, part[0], part[1]]
        angle, scale = float(rng.uniform(-own.degrees, own.degrees)), float(rng.uniform(*own.scale))
        shift = rng.uniform(-own.shift, own.shift, 2) * (x2 - x1, y2 - y1)
        if rng.random() < own.colour:
            image = recoloured(image, _STRENGTH, rng)

        def move(values: Tensor, how: InterpolationMode) -> np.ndarray:
            center = [(x1 + x2) / 2 - left, (y1 + y2) / 2 - top]
            moved: Tensor = F.affine(values, angle, shift.tolist(), scale, [0.0, 0.0], how, None, center)
            return np.asarray(moved.permute(1, 2, 0).numpy())

        soft = ndimage.gaussian_filter(whole[part].astype(np.float32), _FEATHER)
        alpha = move(torch.from_numpy(soft)[None], InterpolationMode.BILINEAR)
        pixels = move(image.float(), InterpolationMode.BILINEAR)
        sharp = torch.from_numpy(np.stack([planes[row][part] for row in group])).to(torch.uint8)
        masks = np.zeros((len(group), *whole.shape), bool)
        masks[:, part[0], part[1]] = np.moveaxis(move(sharp, InterpolationMode.NEAREST) > 0, 2, 0)
        return part, alpha, pixels, list(masks)


def touching(planes: Sequence[np.ndarray | None]) -> list[list[int]]:
    """Return groups of objects whose masks [h, w] overlap or touch; those without a mask are in none."""
    groups: list[tuple[list[int], np.ndarray]] = []
    for row, plane in enumerate(planes):
        if plane is None:
            continue
        wide = ndimage.binary_dilation(plane)
        near = [group for group in groups if (group[1] & wide).any()]
        groups = [group for group in groups if all(group is not other for other in near)]
        rows = [one for group in near for one in group[0]]
        groups.append(([*rows, row], np.logical_or.reduce([plane, *(group[1] for group in near)])))
    return [sorted(rows) for rows, _ in groups]


def filled(pixels: np.ndarray, hole: np.ndarray, radius: int) -> np.ndarray:
    """Return a picture whose hole is filled from its rim inwards, some pixels at a time, by means of what is near.

    Args:
        pixels: uint8 [h, w, 3].
        hole: bool [h, w].
        radius: Pixels from which a mean is taken.

    Returns:
        float32 [h, w, 3].
    """
    canvas = pixels.astype(np.float32)
    for part in ndimage.find_objects(ndimage.label(hole)[0]):
        window = tuple(slice(max(side.start - radius, 0), side.stop + radius) for side in part)
        own, known = canvas[window], ~hole[window]
        own *= known[..., None]
        while not known.all() and known.any():
            ring = ndimage.binary_dilation(known, iterations=max(radius // 2, 1)) & ~known
            weight = ndimage.gaussian_filter(known.astype(np.float32), radius / 2, truncate=2.0)
            for channel in range(3):
                near = ndimage.gaussian_filter(own[..., channel], radius / 2, truncate=2.0)
                own[ring, channel] = near[ring] / weight[ring]
            known |= ring
    return canvas


def _union(planes: Sequence[Any], rows: Sequence[int]) -> np.ndarray:
    return np.asarray(np.logical_or.reduce([planes[row] for row in rows]))


def _with_planes(target: Target, planes: Sequence[Any], changed: Sequence[int]) -> Target:
    """Return the target with new masks and boxes of some objects, without those of which nothing is left."""
    boxes, masks = target.boxes.clone(), list(target.masks or ())
    for row in changed:
        boxes[row] = torch.tensor(mask_box(planes[row]))
        masks[row] = pack(planes[row])
    seen = torch.nonzero((boxes[:, 2:] > boxes[:, :2]).all(1)).squeeze(1)
    return select(replace(target, boxes=boxes, masks=masks), seen)
