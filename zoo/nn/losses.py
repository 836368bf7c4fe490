"""Loss terms, in float32; each is a sum over weighted entries divided by a count that all processes share."""

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn import functional

__all__ = ["box_loss", "mean_of_processes", "processes", "shared_count", "weighted_mean"]


def shared_count(count: int | float, like: Tensor) -> Tensor:
    """Return the mean of a count over all processes, at least 1 in each.

    Gradients are means over processes as well, so that two processes give what one gives for both images.

    Args:
        count: What this process has.
        like: Where the answer lives.
    """
    return mean_of_processes(torch.as_tensor(float(count)), like).clamp(min=1 / processes())


def mean_of_processes(value: Tensor, like: Tensor) -> Tensor:
    """Return the mean of a tensor over all processes, float32.

    Args:
        value: What this process has.
        like: Where the answer lives.
    """
    shared = value.to(like.device, torch.float32, copy=True)
    if processes() > 1:
        dist.all_reduce(shared)
        shared = shared / processes()
    return shared


def processes() -> int:
    """Return how many processes train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def weighted_mean(losses: Tensor, weight: Tensor, count: Tensor) -> Tensor:
    """Return the sum of losses [n] times weights [n], over the shared count."""
    return (losses * weight).sum() / count


def box_loss(deltas: Tensor, goal: Tensor, beta: float) -> Tensor:
    """Return the smooth L1 loss of each row of deltas [n, 4], summed over the four, [n]."""
    return functional.smooth_l1_loss(deltas.float(), goal, beta=beta, reduction="none").sum(1)
