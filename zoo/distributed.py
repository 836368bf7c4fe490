"""The processes of a training: one, or those that torchrun starts."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from fusion.errors import InputError, option

__all__ = ["Ranks", "alone", "is_lost_process", "joined"]

_T = TypeVar("_T")


@dataclass(frozen=True)
class Ranks:
    """The place of this process among those that train together.

    Attributes:
        rank: Number of this process.
        world: Number of processes.
        device: What this process computes on.
    """

    rank: int
    world: int
    device: torch.device

    @property
    def first(self) -> bool:
        """Whether this process writes files and speaks to the user."""
        return self.rank == 0

    def wrap(self, model: nn.Module) -> nn.Module:
        """Return the model so that its gradients are means over all processes."""
        if self.world == 1:
            return model
        own = [self.device] if self.device.type == "cuda" else None
        return DistributedDataParallel(model, device_ids=own)

    def mean(self, values: Sequence[float]) -> list[float]:
        """Return the mean over all processes of each number."""
        if self.world == 1:
            return list(values)
        tensor = torch.tensor(values, dtype=torch.float64)
        dist.all_reduce(tensor)
        return [value / self.world for value in tensor.tolist()]

    def gather(self, value: _T) -> list[_T]:
        """Return the value of every process, in the order of ranks."""
        if self.world == 1:
            return [value]
        found: list[Any] = [None] * self.world
        dist.all_gather_object(found, value)
        return found

    def raise_first(self, error: InputError | None) -> None:
        """Raise the error of the first process that has one, in all of them; every process comes here.

        Raises:
            InputError: If a process has one.
        """
        parts = self.gather(None if error is None else (error.where, error.problem, error.remedy))
        for part in parts:
            if part is not None:
                raise InputError(*part)

    def wait(self) -> None:
        """Wait until every process is here."""
        if self.world > 1:
            dist.barrier()


def is_lost_process(error: Exception) -> bool:
    """Tell whether an error means that another process has gone while this one was talking to it."""
    words = ("Connection closed by peer", "Connection reset by peer", "Broken pipe", "gloo", "NCCL", "Timed out")
    return isinstance(error, dist.DistError) or any(word in str(error) for word in words)


@contextmanager
def alone() -> Iterator[Ranks]:
    """Be the only process, also where torchrun has started others; on the graphics card that is this one's."""
    yield Ranks(0, 1, _own_device())


def _own_device() -> torch.device:
    if not torch.cuda.is_available():
        return torch.device("cpu")
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    torch.cuda.set_device(device)
    return device


@contextmanager
def joined() -> Iterator[Ranks]:
    """Join the processes that torchrun has started, or be the only one; inside another such block, share its group.

    Tensors on graphics cards go by NCCL, tensors in main memory by Gloo.

    Raises:
        InputError: If another process dies inside the block.
    """
    world, device = int(os.environ.get("WORLD_SIZE", "1")), _own_device()
    cuda = device.type == "cuda"
    if world == 1:
        yield Ranks(0, 1, device)
        return
    outermost = not dist.is_initialized()
    if outermost:
        dist.init_process_group("cpu:gloo,cuda:nccl" if cuda else "gloo")
    try:
        yield Ranks(dist.get_rank(), dist.get_world_size(), device)
    except RuntimeError as error:
        if not is_lost_process(error):
            raise
        raise InputError(
            f"process {dist.get_rank()}",
            f"another of the {world} processes has ended",
            "What it said or the system's log tells why; the same call goes on, a training with " + option("resume"),
        ) from error
    finally:
        if outermost:
            dist.destroy_process_group()
