"""Edges of masks, for boundary supervision and for the edge loss of megvii2018 (its figure is lost; ours)."""

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["boundary_target", "edge_agreement", "edge_target"]


def boundary_target(masks: Tensor) -> Tensor:
    """Return the boundary of masks: pixels whose Laplacian is above 0.1 (boundary-preserving Mask R-CNN).

    Args:
        masks: float32 [n, h, w] of 0 and 1; beyond the frame is 0.

    Returns:
        float32 [n, h, w] of 0 and 1.
    """
    if not len(masks):
        return masks
    kernel = masks.new_full((1, 1, 3, 3), -1.0)
    kernel[0, 0, 1, 1] = 8
    return (functional.conv2d(masks[:, None], kernel, padding=1) > 0.1).float()[:, 0]


def edge_target(masks: Tensor) -> Tensor:
    """Return where masks [n, h, w] have edges: their boundary and its neighbours, float32 of 0 and 1."""
    return functional.max_pool2d(boundary_target(masks)[:, None], 3, 1, 1)[:, 0] if len(masks) else masks


def edge_agreement(masks: Tensor, truth: Tensor) -> Tensor:
    """Return the mean squared difference of the Sobel maps of masks [n, h, w] and true ones, [n]."""
    if not len(masks):
        return masks.sum((1, 2))
    across = masks.new_tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]]) / 8
    kernels = torch.stack([across, across.T])[:, None]
    difference = functional.conv2d((masks - truth)[:, None], kernels, padding=1)
    return difference.square().mean((1, 2, 3))
