"""Loss terms, in float32; each is a sum over weighted entries divided by a count that all processes share."""

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn import functional

__all__ = ["box_loss", "shared_count", "weighted_mean"]


def shared_count(count: int | float, like: Tensor) -> Tensor:
    """Return the mean of a count over all processes, at least 1 in each.

    Gradients are means over processes as well, so that two processes give what one gives for both images.

    Args:
        count: What this process has.
        like: Where the answer lives.
    """
    shared = torch.as_tensor(float(count), device=like.device)
    world = dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1
    if world > 1:
        dist.all_reduce(shared)
        shared = shared / world
    return shared.clamp(min=1 / world)


def weighted_mean(losses: Tensor, weight: Tensor, count: Tensor) -> Tensor:
    """Return the sum of losses [n] times weights [n], over the shared count."""
    return (losses * weight).sum() / count


def box_loss(deltas: Tensor, goal: Tensor, beta: float) -> Tensor:
    """Return the smooth L1 loss of each row of deltas [n, 4], summed over the four, [n]."""
    return functional.smooth_l1_loss(deltas.float(), goal, beta=beta, reduction="none").sum(1)
