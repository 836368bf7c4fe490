"""The order in which a training sees the images: epoch after epoch, cut into steps, processes and micro-batches."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from torch.utils.data import DataLoader

from fusion.errors import InputError, option
from zoo.data import Batch

__all__ = ["Feed", "Position", "delivered", "worker_context"]

Key = tuple[int, int, int]
"""Epoch, index of an image, and how often it came before in this epoch: all that its augmentation depends on."""


@dataclass(frozen=True)
class Position:
    """How far a training has come: images of `epoch` that it has used."""

    epoch: int = 0
    offset: int = 0


class Feed:
    """An endless stream of images.

    A step may take the last images of one epoch and the first of the next, so that every epoch has every
    image of its order once. All processes and workers see the same stream.

    Args:
        order: The images' indices in an epoch, from the epoch's number.
        batch: Images of a step, over all processes and micro-batches.
        accumulate: Micro-batches of a step in each process.
        rank: Number of this process.
        world: Number of processes.

    Raises:
        InputError: If a step cannot be cut evenly.
    """

    def __init__(
        self, order: Callable[[int], Sequence[int]], *, batch: int, accumulate: int = 1, rank: int = 0, world: int = 1
    ) -> None:
        if batch < 1 or accumulate < 1 or batch % (accumulate * world):
            raise InputError(
                "config field train.batch",
                f"{batch} images cannot be cut evenly into {accumulate} micro-batches on each of {world} processes",
                f"Set it to a multiple of {max(accumulate, 1) * world}",
            )
        self._order = lru_cache(2)(lambda epoch: _keys(epoch, order(epoch)))
        self._batch, self._accumulate, self._rank, self._world = batch, accumulate, rank, world

    def epoch_length(self, epoch: int) -> int:
        """Return the number of images in an epoch's order."""
        return len(self._order(epoch))

    def after(self, position: Position) -> Position:
        """Return the position one step later."""
        return self._step(position)[1]

    def micro_batches(self, position: Position) -> Iterator[list[Key]]:
        """Yield this process's micro-batches from a position on, `accumulate` of them for each step."""
        while True:
            keys, position = self._step(position)
            mine = keys[self._rank :: self._world]
            size = len(mine) // self._accumulate
            for number in range(self._accumulate):
                yield mine[number * size : (number + 1) * size]

    def _step(self, position: Position) -> tuple[list[Key], Position]:
        keys: list[Key] = []
        epoch, offset = position.epoch, position.offset
        empty = 0
        while len(keys) < self._batch:
            order = self._order(epoch)
            part = order[offset : offset + self._batch - len(keys)]
            keys.extend(part)
            offset += len(part)
            empty = 0 if part else empty + 1
            if empty > 1:
                raise InputError("training data", "an epoch has no image", "Check the data set and its sampler")
            if offset >= len(order):
                epoch, offset = epoch + 1, 0
        return keys, Position(epoch, offset)


def worker_context(workers: int) -> str | None:
    """Return how processes that load images are to be started: never by a fork of a process with threads."""
    return "forkserver" if workers else None


def delivered(loader: DataLoader[Any]) -> Iterator[Batch]:
    """Iterate over a loader of guarded samples.

    Raises:
        InputError: If a process that loads images has died.
    """
    batches = iter(loader)  # here and not at the first batch, since it takes a random number

    def each() -> Iterator[Batch]:
        try:
            yield from batches
        except (RuntimeError, EOFError, ConnectionError) as error:
            if not loader.num_workers or (isinstance(error, RuntimeError) and "DataLoader worker" not in str(error)):
                raise
            raise InputError(
                f"option {option('workers')}",
                "a process that loads images has died",
                "Is there too little memory? Take fewer",
            ) from error

    return each()


def _keys(epoch: int, order: Sequence[int]) -> list[Key]:
    visits: Counter[int] = Counter()
    keys = []
    for index in map(int, order):
        keys.append((epoch, index, visits[index]))
        visits[index] += 1
    return keys
