"""What runs tasks elsewhere: processes of this machine, or the workers of a Dask or Ray cluster.

An engine only schedules. What a task makes it writes itself, under a name that it was given, so that a task that is run
again, or twice, changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from importlib import import_module
from typing import Any, TypeVar

from fusion.checks import at_least
from fusion.errors import InputError, option
from fusion.processes import Carried

__all__ = ["Engine", "engine_of"]

_RETRIES = 3

_Item = TypeVar("_Item")

Engine = Callable[[Callable[[Any], object], Sequence[Any]], Iterator[int]]
"""Takes a function and what to call it with; yields the number of each when it is done, whose answer is not fetched."""


def engine_of(workers: int | None, executor: str | None) -> Engine | None:
    """Return what runs tasks; None for this process alone.

    Args:
        workers: Number of processes on this machine.
        executor: dask://HOST:PORT of a scheduler, or ray://HOST:PORT of a cluster's client server.

    Raises:
        InputError: If both are given, or one is none of these.
    """
    if workers is not None:
        at_least("workers", workers, 1, whole=True)
        if executor is not None:
            problem = f"and {option('executor')} were both given"
            raise InputError(f"option {option('workers')}", problem, "The workers of a cluster are its own")
        return None if workers == 1 else partial(_on_workers, workers)
    if executor is None:
        return None
    scheme, _, address = executor.partition("://")
    engines: dict[str, Callable[..., Iterator[int]]] = {"dask": _on_dask, "ray": _on_ray}
    if scheme not in engines or not address:
        problem = f"expected dask://HOST:PORT or ray://HOST:PORT, got {executor!r}"
        raise InputError(f"option {option('executor')}", problem)
    _package({"dask": "distributed", "ray": "ray"}[scheme], scheme)
    return partial(engines[scheme], address)


def _on_workers(count: int, task: Callable[[_Item], object], items: Sequence[_Item]) -> Iterator[int]:
    from fusion.workers import Workers

    remedy = f"Is there too little memory? Try fewer {option('workers')}, or tables of more parts"
    workers = Workers(min(count, max(len(items), 1)), f"option {option('workers', count)}", remedy)
    try:
        yield from (number for number, _ in workers.run(task, items, lambda item: f"at work on {item}"))
    finally:
        workers.close()


def _on_dask(address: str, task: Callable[[_Item], object], items: Sequence[_Item]) -> Iterator[int]:
    distributed = _package("distributed", "dask")
    try:
        client = distributed.Client(f"tcp://{address}", set_as_default=False)
    except OSError as error:  # as what times out is
        raise _unanswered(f"dask://{address}", error) from error
    with client:
        futures = [client.submit(Carried(task, item), pure=False, retries=_RETRIES) for item in items]
        numbers = {future.key: number for number, future in enumerate(futures)}
        try:
            # futures of `get_executor` fetch answers, and wait for good where one was lost with its worker
            for future in distributed.as_completed(futures, loop=client.loop):
                if future.status == "error":
                    raise future.exception()
                yield numbers[future.key]
        except distributed.KilledWorker as error:
            raise _killed(f"dask://{address}", error) from error
        finally:
            client.cancel(futures)


def _on_ray(address: str, task: Callable[[_Item], object], items: Sequence[_Item]) -> Iterator[int]:
    ray = _package("ray", "ray")
    try:
        context = ray.init(f"ray://{address}", log_to_driver=False)
    except ConnectionError as error:
        raise _unanswered(f"ray://{address}", error) from error

    def run(carried: Callable[[], Any]) -> Any:  # it is sent as it stands: a name the workers need not find
        return carried()

    with context:
        remote = ray.remote(max_retries=_RETRIES)(run)
        numbers = {remote.remote(Carried(task, item)): number for number, item in enumerate(items)}
        left = list(numbers)
        try:
            while left:
                done, left = ray.wait(left)
                for reference in done:
                    ray.get(reference)  # raises its error
                    yield numbers[reference]
        except ray.exceptions.RayTaskError as error:
            raise error.cause from None
        except ray.exceptions.WorkerCrashedError as error:
            raise _killed(f"ray://{address}", error) from error
        finally:
            for reference in left:
                ray.cancel(reference)


def _package(name: str, extra: str) -> Any:
    try:
        return import_module(name)
    except ImportError as error:
        problem = f"needs {name}, which this installation does not have"
        remedy = f'Install it: pip install "quorum-detection[{extra}]"'
        raise InputError(f"option {option('executor')}", problem, remedy) from error


def _unanswered(where: str, error: Exception) -> InputError:
    return InputError(f"option {option('executor', where)}", f"nobody answers there ({error})", "Is the cluster up?")


def _killed(where: str, error: Exception) -> InputError:
    problem = f"the same part took its worker down again and again ({error})"
    return InputError(f"option {option('executor', where)}", problem, "Have the workers too little memory?")
