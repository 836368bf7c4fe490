"""Several things done at a time, their results in order."""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from fusion.kernels.jit import threads

__all__ = ["in_turn"]

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_turn(task: Callable[[Item], Result], items: list[Item], most: int) -> Iterator[Result]:
    """Yield `task(item)` for every item in order, while the next ones are under way on other threads.

    Args:
        task: Its results do not depend on each other.
        items: What it is called with.
        most: How many are in memory at once; at most as many as there are threads for kernels.
    """
    workers = min(threads(), most, len(items))
    if workers <= 1:
        yield from map(task, items)
        return
    waiting: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(task, item))
                if len(waiting) == workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)
