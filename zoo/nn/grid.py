"""Pooling and pasting through grid_sample, whose gradient reaches the places as well as the values."""

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["deform_align"]


def deform_align(level: Tensor, rois: Tensor, shifts: Tensor, scale: float, sampling: int) -> Tensor:
    """RoIAlign (aligned) whose bins are shifted: deformable RoI pooling, on any device.

    With zero shifts it is torchvision's `roi_align(..., aligned=True)`; gradients reach features and shifts.

    Args:
        level: [b, c, h, w].
        rois: [n, 5], image index and box in pixels of the image.
        shifts: [n, 2, k, k], shift of each bin in x and y in widths and heights of its region.
        scale: Pixels of the level per pixel of the image.
        sampling: Points along each side of a bin.

    Returns:
        [n, c, k, k].
    """
    height, width = level.shape[-2:]
    count, bins = len(rois), shifts.shape[-1]
    points = bins * sampling
    box = rois[:, 1:] * scale - 0.5
    size = box[:, 2:] - box[:, :2]
    steps = (torch.arange(points, dtype=level.dtype, device=level.device) + 0.5) / points
    spread = shifts.repeat_interleave(sampling, 2).repeat_interleave(sampling, 3)
    x = box[:, 0, None, None] + size[:, 0, None, None] * (steps[None, None, :] + spread[:, 0])
    y = box[:, 1, None, None] + size[:, 1, None, None] * (steps[None, :, None] + spread[:, 1])
    inside = ((x >= -1) & (x <= width) & (y >= -1) & (y <= height)).to(level.dtype)
    grid = torch.stack([2 * x / max(width - 1, 1) - 1, 2 * y / max(height - 1, 1) - 1], dim=-1)
    parts, places = [], []
    for image in range(len(level)):
        own = (rois[:, 0] == image).nonzero().squeeze(1)
        if not len(own):
            continue
        found = functional.grid_sample(
            level[image : image + 1],
            grid[own].view(1, len(own) * points, points, 2),
            mode="bilinear",
            padding_mode="border",
            align_corners=True,
        )
        found = found.view(-1, len(own), points, points) * inside[own]
        pooled = found.view(-1, len(own), bins, sampling, bins, sampling).mean((3, 5))
        parts.append(pooled.transpose(0, 1))
        places.append(own)
    if not parts:
        return level.new_zeros(count, level.shape[1], bins, bins) + 0 * shifts.sum()
    return torch.cat(parts)[torch.argsort(torch.cat(places))]
