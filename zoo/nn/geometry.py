"""Boxes: overlaps and the code of box deltas, always in float32.

Boxes are xyxy in pixels of the padded batch; regions of a batch are [n, 5] with the image's index in front.
"""

import math

import torch
from torch import Tensor
from torchvision.ops import box_iou

__all__ = ["as_regions", "box_area", "box_iou", "clip", "decode", "encode", "grown", "iof", "pair_iou"]

# exp of a larger delta would make one step of a broken gradient a box of any size
_LARGEST = math.log(1000 / 16)


def box_area(boxes: Tensor) -> Tensor:
    """Return the areas of boxes [..., 4]; empty ones have 0."""
    return (boxes[..., 2:] - boxes[..., :2]).clamp(min=0).prod(-1)


def iof(regions: Tensor, boxes: Tensor) -> Tensor:
    """Return the share of each box that lies in each region.

    Args:
        regions: float32 [m, 4].
        boxes: float32 [n, 4].

    Returns:
        float32 [m, n] in 0..1.
    """
    low = torch.max(regions[:, None, :2], boxes[None, :, :2])
    high = torch.min(regions[:, None, 2:], boxes[None, :, 2:])
    inside = (high - low).clamp(min=0).prod(-1)
    return inside / box_area(boxes)[None].clamp(min=1e-6)


def pair_iou(one: Tensor, other: Tensor) -> Tensor:
    """Return the IoU of boxes row by row, [n]."""
    low = torch.max(one[:, :2], other[:, :2])
    high = torch.min(one[:, 2:], other[:, 2:])
    inside = (high - low).clamp(min=0).prod(-1)
    return inside / (box_area(one) + box_area(other) - inside).clamp(min=1e-6)


def encode(boxes: Tensor, to: Tensor, std: tuple[float, float, float, float] = (1.0, 1.0, 1.0, 1.0)) -> Tensor:
    """Return the deltas that move boxes onto others: shifts in widths and heights, logarithms of size ratios.

    Args:
        boxes: float32 [n, 4], where the deltas start.
        to: float32 [n, 4], where they lead.
        std: Divisors of the four deltas.

    Returns:
        float32 [n, 4].
    """
    size = (boxes[:, 2:] - boxes[:, :2]).clamp(min=1e-3)
    goal = (to[:, 2:] - to[:, :2]).clamp(min=1e-3)
    shift = ((to[:, :2] + to[:, 2:]) - (boxes[:, :2] + boxes[:, 2:])) * 0.5 / size
    return torch.cat([shift, torch.log(goal / size)], dim=1) / boxes.new_tensor(std)


def decode(deltas: Tensor, boxes: Tensor, std: tuple[float, float, float, float] = (1.0, 1.0, 1.0, 1.0)) -> Tensor:
    """Move boxes by deltas, in float32 whatever the type of the deltas.

    Args:
        deltas: [n, 4] or [n, k, 4].
        boxes: float32 [n, 4].
        std: Divisors that `encode` used.

    Returns:
        float32, in the shape of `deltas`.
    """
    boxes = boxes.float()
    if deltas.dim() == 3:
        boxes = boxes[:, None]
    deltas = deltas.float() * boxes.new_tensor(std)
    size = boxes[..., 2:] - boxes[..., :2]
    center = boxes[..., :2] + 0.5 * size + deltas[..., :2] * size
    half = 0.5 * size * deltas[..., 2:].clamp(max=_LARGEST).exp()
    return torch.cat([center - half, center + half], dim=-1)


def clip(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Return boxes [..., 4] cut off at the edges of an image of this height and width."""
    limit = boxes.new_tensor([size[1], size[0], size[1], size[0]])
    return torch.minimum(boxes.clamp(min=0), limit)


def grown(regions: Tensor, factor: float) -> Tensor:
    """Return regions [n, 5] scaled about their centres."""
    half = (regions[:, 3:] - regions[:, 1:3]) * 0.5
    center = regions[:, 1:3] + half
    return torch.cat([regions[:, :1], center - half * factor, center + half * factor], dim=1)


def as_regions(boxes: list[Tensor]) -> Tensor:
    """Return the boxes of each image of a batch as regions [n, 5]."""
    index = torch.cat([b.new_full((len(b), 1), float(i)) for i, b in enumerate(boxes)])
    return torch.cat([index, torch.cat(boxes)], dim=1)
