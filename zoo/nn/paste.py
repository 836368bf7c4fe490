"""Small masks back into images, as run lengths."""

from typing import Any

import numpy as np
import torch
from pycocotools import mask as rle
from torch import Tensor
from torch.nn import functional

__all__ = ["paste"]


@torch.no_grad()
def paste(masks: Tensor, boxes: Tensor, size: tuple[int, int], threshold: float) -> list[dict[str, Any]]:
    """Draw masks of regions into an image.

    Each is sampled at the centres of the pixels that its box touches; there is no rounding of boxes.

    Args:
        masks: float32 [n, s, s], probabilities.
        boxes: float32 [n, 4], xyxy in pixels of the image.
        size: Height and width of the image.
        threshold: From which on a pixel belongs to a mask.

    Returns:
        COCO RLE of each.
    """
    masks, boxes = masks.cpu(), boxes.cpu()
    found = []
    canvas = np.zeros(size, dtype=np.uint8, order="F")
    for mask, box in zip(masks, boxes, strict=True):
        x1, y1, x2, y2 = box.tolist()
        left, top = max(int(np.floor(x1)), 0), max(int(np.floor(y1)), 0)
        right, bottom = min(int(np.ceil(x2)), size[1]), min(int(np.ceil(y2)), size[0])
        if right > left and bottom > top:
            x = (torch.arange(left, right) + 0.5 - x1) / max(x2 - x1, 1e-6) * 2 - 1
            y = (torch.arange(top, bottom) + 0.5 - y1) / max(y2 - y1, 1e-6) * 2 - 1
            grid = torch.stack([x[None].expand(len(y), -1), y[:, None].expand(-1, len(x))], dim=-1)
            drawn = functional.grid_sample(mask[None, None], grid[None], align_corners=False)[0, 0] >= threshold
            canvas[top:bottom, left:right] = drawn.numpy()
        found.append(rle.encode(canvas))
        canvas[top:bottom, left:right] = 0
    return found
