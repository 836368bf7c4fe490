"""Launching kernels without working out each time what their arguments are.

Numba-CUDA 0.30 looks at every array of every argument of every launch: 180 us of the host's time for the 21 arrays of
`order_cells`, many times what the kernel takes. Here a launch is known by the kinds of its arguments, and arrays are
laid out with what is known of ours: they have one dimension and no gaps. That takes 11 to 15 us.
"""

import ctypes
import functools
from collections.abc import Sequence
from typing import Any

from numba import config

from fusion import compilation
from fusion.cuda.kernels.memory import Array

__all__ = ["Launch", "laid_out", "tell_of_compilation"]


def tell_of_compilation() -> None:
    """Let whoever listens hear of kernels that Numba-CUDA compiles."""
    try:
        from numba.cuda.core import event
    except ImportError:  # Numba's own CUDA
        return

    class Listener(event.Listener):  # type: ignore[misc]
        def on_start(self, _: Any) -> None:
            compilation.tell()

        def on_end(self, _: Any) -> None:
            pass

    event.register("numba-cuda:run_pass", Listener())  # part of a compilation; there is no event for all of it


def laid_out(arguments: Sequence[Any]) -> tuple[tuple[Any, ...], list[Any]]:
    """Return the kinds of arguments, which tell launches apart, and the values that the compiled kernel takes."""
    kinds: list[Any] = []
    values: list[Any] = []
    _lay_out(arguments, kinds, values)
    return tuple(kinds), values


def _lay_out(arguments: Sequence[Any], kinds: list[Any], values: list[Any]) -> None:
    for argument in arguments:
        kind = type(argument)
        if isinstance(argument, tuple):
            kinds.append(kind)
            _lay_out(argument, kinds, values)
        elif kind is int:
            kinds.append(kind)
            values.append(ctypes.c_int64(argument))
        elif kind is float:
            kinds.append(kind)
            values.append(ctypes.c_double(argument))
        elif kind is bool:
            kinds.append(kind)
            values.append(argument)
        else:
            dtype = argument.dtype
            kinds.append(dtype.char)
            size, step = argument.size, dtype.itemsize
            address = argument.address if kind is Array else argument.device_ctypes_pointer.value
            # as Numba does, without an owner: number of items, bytes of one, address, shape, stride
            values += (0, 0, size, step, address if size else 0, size, step)


class Launch:
    """One kernel with arguments of certain kinds.

    Args:
        compiled: What `cuda.jit` has made of it.
        arguments: Some of these kinds.
        values: As they are laid out.
    """

    def __init__(self, compiled: Any, arguments: Sequence[Any], values: Sequence[Any]) -> None:
        self._compiled = compiled
        self._kernel = _entry(compiled, _as_numba(arguments), values)

    def __call__(self, blocks: int, threads: int, stream: Any, arguments: Sequence[Any], values: Sequence[Any]) -> None:
        """Launch so many blocks of threads on a stream."""
        if self._kernel is None:
            _configured(self._compiled, blocks, threads, stream)(*_as_numba(arguments))
        else:
            from cuda.core import LaunchConfig, launch

            where = _stream(int(stream.handle) if stream else 0)
            launch(where, LaunchConfig(grid=blocks, block=threads), self._kernel, *values)


@functools.cache
def _stream(handle: int) -> Any:
    """Return a stream in the driver's terms; it is not owned."""
    from cuda.core import Stream

    return Stream.from_handle(handle)


def _as_numba(arguments: Sequence[Any]) -> list[Any]:
    """Return arguments with arrays of Numba's in the place of ours."""
    out = []
    for argument in arguments:
        if isinstance(argument, tuple):
            out.append(type(argument)(*_as_numba(argument)))
        else:
            out.append(argument.as_numba if isinstance(argument, Array) else argument)
    return out


def _entry(compiled: Any, arguments: Sequence[Any], values: Sequence[Any]) -> Any:
    """Return the kernel in the driver's terms; None if Numba-CUDA would hand it other values than ours."""
    try:
        definition = compiled.compile(tuple(map(compiled.typeof_pyval, arguments)))
        expected: list[Any] = []
        for kind, argument in zip(definition.argument_types, arguments, strict=True):
            definition._prepare_args(kind, argument, 0, [], expected)
        if list(map(_plain, expected)) == list(map(_plain, values)):
            return definition._codelibrary.get_cufunc().kernel
    except (AttributeError, ImportError, TypeError, ValueError):  # another version of Numba-CUDA
        pass
    return None


def _plain(value: Any) -> tuple[type, int | float]:
    return (type(value), value.value) if hasattr(value, "value") else (int, int(value))


def _configured(compiled: Any, blocks: int, threads: int, stream: Any) -> Any:
    """Choose the grid of a kernel without Numba's advice that small ones leave the GPU idle: small tables do."""
    before = config.CUDA_LOW_OCCUPANCY_WARNINGS
    config.CUDA_LOW_OCCUPANCY_WARNINGS = 0
    try:
        return compiled[blocks, threads, stream]
    finally:
        config.CUDA_LOW_OCCUPANCY_WARNINGS = before
