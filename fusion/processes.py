"""Processes that work for another."""

import os
import threading
from collections.abc import Callable
from importlib import import_module
from multiprocessing import connection, parent_process
from multiprocessing.context import BaseContext, ForkServerContext, ForkServerProcess, SpawnContext, SpawnProcess
from operator import itemgetter
from typing import Any, Literal

__all__ = ["Carried", "end_with_parent", "fresh_processes"]


class _FrontDoor:
    """Stands for `quorum`, which whoever unpickles this imports."""

    def __reduce__(self) -> tuple[Any, ...]:
        return import_module, ("quorum",)


def _door_first(process: SpawnProcess | ForkServerProcess, kind: type[Any]) -> tuple[Any, ...]:
    """What a new process unpickles: the front door, and only then what it has to do.

    After that it looks for our packages where this process does, whatever else has their names.
    """
    return object.__new__, (kind,), {"_front_door": _FrontDoor(), **vars(process)}


class _Spawned(SpawnProcess):
    def __reduce__(self) -> tuple[Any, ...]:
        return _door_first(self, SpawnProcess)


class _Served(ForkServerProcess):
    def __reduce__(self) -> tuple[Any, ...]:
        return _door_first(self, ForkServerProcess)


class _Spawn(SpawnContext):
    Process = _Spawned


class _ForkServer(ForkServerContext):
    Process = _Served


class Carried:
    """A call that any process can unpickle that finds `quorum`: the front door first, then the function's module.

    It stays one where a scheduler unpickles it and pickles it again.
    """

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        """Take a function of a module, and its arguments."""
        self._call = function, arguments

    def __call__(self) -> Any:
        """Call the function."""
        function, arguments = self._call
        return function(*arguments)

    def __reduce__(self) -> tuple[Any, ...]:
        return itemgetter(1), ((_FrontDoor(), _Made(Carried, self._call)),)


class _Made:
    """Stands for an object, in pickles alone."""

    def __init__(self, kind: Callable[..., Any], call: tuple[Callable[..., Any], tuple[Any, ...]]) -> None:
        self._made = kind, (call[0], *call[1])

    def __reduce__(self) -> tuple[Any, ...]:
        return self._made


def fresh_processes(method: Literal["spawn", "forkserver"]) -> BaseContext:
    """Return how processes are started that begin empty and find our packages: threads do not survive a fork."""
    return _Spawn() if method == "spawn" else _ForkServer()


def end_with_parent(*_: object) -> None:
    """End this process when the one that started it is gone, however that ended.

    Left to itself a worker sleeps for good then: what it waits at is held open by its like.
    """
    parent = parent_process()
    if parent is None:
        return

    def wait() -> None:
        connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
