"""Masks of objects as small grids inside regions, from run lengths and polygons; never whole images of many masks."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from pycocotools import mask as rle
from torch import Tensor
from torchvision.ops import roi_align

from zoo.data.masks import mask_pixels, unpack

__all__ = ["covered", "rasterize"]


def rasterize(masks: Sequence[Any], index: Tensor, boxes: Tensor, size: int) -> Tensor:
    """Draw masks inside boxes.

    Args:
        masks: Run lengths or polygons of the objects of an image.
        index: int64 [n], which of them.
        boxes: float32 [n, 4], xyxy.
        size: Cells along each side.

    Returns:
        float32 [n, size, size] of 0 and 1, on the device of `boxes`.
    """
    frames = boxes.detach().cpu()
    drawn = torch.zeros(len(frames), size, size)
    numbers = index.cpu()
    for number in sorted(set(numbers.tolist())):
        own = (numbers == number).nonzero().squeeze(1)
        mask = masks[number]
        if isinstance(mask, dict):
            drawn[own] = _from_runs(_compressed(mask), frames[own], size)
        else:
            for row in own.tolist():
                drawn[row] = _from_polygons(mask, frames[row], size)
    return drawn.to(boxes.device)


def covered(masks: Sequence[Any], index: Tensor, boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Return the share of each mask's area that lies inside its box.

    Args:
        masks: Run lengths or polygons of the objects of an image.
        index: int64 [n], which of them.
        boxes: float32 [n, 4], xyxy.
        size: Height and width of the image.

    Returns:
        float32 [n] in 0..1.
    """
    shares = torch.ones(len(boxes))
    numbers = index.cpu()
    frames = boxes.detach().cpu()
    for number in sorted(set(numbers.tolist())):
        mask = masks[number]
        whole = unpack(_compressed(mask)) if isinstance(mask, dict) else mask_pixels(mask, size)
        pixels = torch.from_numpy(np.ascontiguousarray(whole)).double()
        total = float(pixels.sum())
        sums = torch.zeros(pixels.shape[0] + 1, pixels.shape[1] + 1, dtype=torch.float64)
        sums[1:, 1:] = pixels.cumsum(0).cumsum(1)
        for row in (numbers == number).nonzero().squeeze(1).tolist():
            x1, y1, x2, y2 = frames[row].round().long().tolist()
            x1, x2 = (min(max(x, 0), pixels.shape[1]) for x in (x1, x2))
            y1, y2 = (min(max(y, 0), pixels.shape[0]) for y in (y1, y2))
            inside = sums[y2, x2] - sums[y1, x2] - sums[y2, x1] + sums[y1, x1]
            shares[row] = float(inside) / total if total else 0.0
    return shares.to(boxes.device)


def _compressed(mask: dict[str, Any]) -> dict[str, Any]:
    if isinstance(mask["counts"], list):
        packed: dict[str, Any] = rle.frPyObjects(mask, *mask["size"])
        return packed
    return mask


def _from_polygons(polygons: Sequence[Sequence[float]], box: Tensor, size: int) -> Tensor:
    x1, y1, x2, y2 = box.tolist()
    scale = np.array([size / max(x2 - x1, 0.1), size / max(y2 - y1, 0.1)])
    moved = [
        ((np.asarray(polygon, dtype=np.float64).reshape(-1, 2) - (x1, y1)) * scale).ravel().tolist()
        for polygon in polygons
    ]
    return torch.from_numpy(mask_pixels(moved, (size, size)).copy()).float()


def _from_runs(mask: dict[str, Any], boxes: Tensor, size: int) -> Tensor:
    height, width = mask["size"]
    low = boxes[:, :2].amin(0).floor().long().sub(1).clamp(min=0).tolist()
    high = boxes[:, 2:].amax(0).ceil().long().add(1).tolist()
    left, top = min(low[0], width - 1), min(low[1], height - 1)
    pixels = unpack(mask)[top : max(high[1], top + 1), left : max(high[0], left + 1)]
    frames = boxes - boxes.new_tensor([left, top, left, top])
    rois = torch.cat([torch.zeros(len(frames), 1), frames], dim=1)
    # the area of the cell that the mask covers, by as many points as the cell has pixels
    shares: Tensor = roi_align(
        torch.from_numpy(np.ascontiguousarray(pixels)).float()[None, None], rois, size, aligned=True
    )
    return (shares[:, 0] >= 0.5).float()
