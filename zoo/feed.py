"""The order in which a training sees the images: epoch after epoch, cut into steps, processes and micro-batches."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from multiprocessing.context import BaseContext
from typing import Any, NamedTuple

from torch.utils.data import DataLoader

from fusion.errors import InputError, option
from fusion.processes import fresh_processes
from zoo.data import Batch, Key

__all__ = ["Feed", "Position", "Share", "delivered", "worker_context"]


class Share(NamedTuple):
    """A stream's share in every step.

    Attributes:
        order: (image, label drawn) of an epoch, from the epoch's number.
        images: Of a step, over all processes and micro-batches.
    """

    order: Callable[[int], Sequence[tuple[int, int]]]
    images: int


@dataclass(frozen=True)
class Position:
    """How far a training has come: images of `epoch` that it has used.

    Attributes:
        epoch: Of the first stream.
        offset: Images of that epoch.
        others: Epoch and offset of each further stream; empty at the start.
    """

    epoch: int = 0
    offset: int = 0
    others: tuple[tuple[int, int], ...] = ()


class Feed:
    """An endless stream of images, or several that run side by side.

    A step may take the last images of one epoch and the first of the next, so that every epoch has every
    image of its order once. All processes and workers see the same streams; each micro-batch has its part of each.

    Args:
        shares: The streams.
        accumulate: Micro-batches of a step in each process.
        rank: Number of this process.
        world: Number of processes.

    Raises:
        InputError: If a step cannot be cut evenly.
    """

    def __init__(self, *shares: Share, accumulate: int = 1, rank: int = 0, world: int = 1) -> None:
        for images in (share.images for share in shares):
            if images < 1 or accumulate < 1 or images % (accumulate * world):
                raise InputError(
                    "config field " + ("train.batch" if len(shares) == 1 else "data.streams"),
                    f"{images} images cannot be cut evenly into {accumulate} micro-batches on each of "
                    f"{world} processes",
                    f"Set it to a multiple of {max(accumulate, 1) * world}",
                )
        self._orders = [_cached(number, share.order) for number, share in enumerate(shares)]
        self._images = [share.images for share in shares]
        self._accumulate, self._rank, self._world = accumulate, rank, world

    def epoch_length(self, epoch: int) -> int:
        """Return the number of images in an epoch's order of the first stream."""
        return len(self._orders[0](epoch))

    def after(self, position: Position) -> Position:
        """Return the position one step later."""
        return self._step(position)[1]

    def micro_batches(self, position: Position) -> Iterator[list[Key]]:
        """Yield this process's micro-batches from a position on, `accumulate` of them for each step."""
        while True:
            streams, position = self._step(position)
            parts: list[list[Key]] = [[] for _ in range(self._accumulate)]
            for keys in streams:
                mine = keys[self._rank :: self._world]
                size = len(mine) // self._accumulate
                for number, part in enumerate(parts):
                    part.extend(mine[number * size : (number + 1) * size])
            yield from parts

    def _step(self, position: Position) -> tuple[list[list[Key]], Position]:
        places = [(position.epoch, position.offset), *position.others]
        places += [(0, 0)] * (len(self._orders) - len(places))
        taken = [_take(*stream) for stream in zip(self._orders, self._images, places, strict=True)]
        first, *others = (place for _, place in taken)
        return [keys for keys, _ in taken], Position(*first, tuple(others))


def _take(order: Callable[[int], list[Key]], images: int, place: tuple[int, int]) -> tuple[list[Key], tuple[int, int]]:
    """Return the next images of a stream, and the place after them."""
    keys: list[Key] = []
    epoch, offset = place
    empty = 0
    while len(keys) < images:
        own = order(epoch)
        part = own[offset : offset + images - len(keys)]
        keys.extend(part)
        offset += len(part)
        empty = 0 if part else empty + 1
        if empty > 1:
            raise InputError("training data", "an epoch has no image", "Check the data set and its sampler")
        if offset >= len(own):
            epoch, offset = epoch + 1, 0
    return keys, (epoch, offset)


def _cached(stream: int, order: Callable[[int], Sequence[tuple[int, int]]]) -> Callable[[int], list[Key]]:
    @lru_cache(2)
    def keys(epoch: int) -> list[Key]:
        visits: Counter[int] = Counter()
        found = []
        for image, category in order(epoch):
            found.append(Key(epoch, image, visits[image], category, stream))
            visits[image] += 1
        return found

    return keys


def worker_context(workers: int) -> BaseContext | None:
    """Return how processes that load images are to be started: never by a fork of a process with threads."""
    return fresh_processes("forkserver") if workers else None


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
