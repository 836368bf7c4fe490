"""Processes on this machine that work through items, whatever becomes of one of them."""

import os
import signal
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

from fusion.errors import InputError
from fusion.kernels.jit import threads
from fusion.processes import end_with_parent, fresh_processes

__all__ = ["Workers"]

_ATTEMPTS = 3
_AHEAD = 2  # items per process that are handed out at a time: one that it is at, and its next

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


class Workers:
    """Processes that share the threads of this one. A dead one is replaced, and what it was at is done again.

    An item that takes a process down three times is refused.
    """

    def __init__(self, count: int, where: str, remedy: str, begin: Callable[..., None] | None = None, *arguments: Any):
        """Start the processes.

        Args:
            count: How many.
            where: Of the error that refuses an item.
            remedy: What the user can do then.
            begin: Called with the arguments in each process first.
            *arguments: Of `begin`.
        """
        self._count, self._where, self._remedy = count, where, remedy
        self._arguments = (max(threads() // count, 1), begin, arguments)
        self._pool = self._start()

    def run(
        self,
        task: Callable[[_Item], _Result],
        items: Sequence[_Item],
        name: Callable[[_Item], str],
    ) -> Iterator[tuple[int, _Result]]:
        """Yield the number of each item and what `task` made of it, as they are done.

        Args:
            task: A function of a module.
            items: That can be pickled.
            name: What the error calls an item that is refused.

        Raises:
            InputError: If an item takes a process down again and again; and what `task` raises.
        """
        left, suspects = deque(range(len(items))), deque[int]()
        deaths = [0] * len(items)
        futures: dict[Future[_Result], int] = {}
        try:
            while left or suspects or futures:
                # after a death one at a time: the next death tells whose fault it is
                alone = bool(suspects) or any(deaths[number] for number in futures.values())
                queue, most = suspects or left, 1 if alone else _AHEAD * self._count
                while queue and len(futures) < most:
                    try:
                        futures[self._pool.submit(task, items[queue[0]])] = queue[0]
                    except BrokenProcessPool:
                        break
                    queue.popleft()
                done, _ = wait(futures, return_when=FIRST_COMPLETED)
                broken = not futures
                for future in done:
                    if isinstance(future.exception(), BrokenProcessPool):
                        broken = True
                    else:
                        yield futures.pop(future), future.result()
                if broken:
                    lost = sorted(futures.values())
                    futures.clear()
                    for number in lost:
                        deaths[number] += 1
                        if deaths[number] >= _ATTEMPTS:
                            problem = f"a worker process died {_ATTEMPTS} times while {name(items[number])}"
                            raise InputError(self._where, problem, self._remedy)
                    suspects.extend(lost)
                    self._pool.shutdown(wait=False, cancel_futures=True)
                    self._pool = self._start()
        finally:
            for future in futures:
                future.cancel()

    def close(self) -> None:
        """End the processes."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    @property
    def pids(self) -> list[int]:
        """Ids of the processes under way."""
        return list(self._pool._processes or {})

    def _start(self) -> ProcessPoolExecutor:
        context = fresh_processes("spawn")
        return ProcessPoolExecutor(self._count, mp_context=context, initializer=_begin, initargs=self._arguments)


def _begin(kernel_threads: int, begin: Callable[..., None] | None, arguments: tuple[Any, ...]) -> None:
    """Set up a worker process; Ctrl-C is the parent's, and it ends when the parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent()
    os.environ["QUORUM_THREADS"] = str(kernel_threads)
    if begin is not None:
        begin(*arguments)
