"""The only module that imports CUDA (with `launch`, `memory` and `products` beside it): kernels, and arrays on the GPU.

Only what the simulator has as well is used: `grid`, `shared.array`, `local.array`, `syncthreads`, `syncthreads_or`,
`atomic`.
"""

import functools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numba import config, cuda

from fusion.cuda.kernels.launch import Launch, laid_out, tell_of_compilation
from fusion.cuda.kernels.memory import Array, driver_pool
from fusion.cuda.kernels.products import rounded
from fusion.formulas import bound
from fusion.kernels.jit import caching

__all__ = [
    "SIMULATED",
    "THREADS",
    "Kernel",
    "cuda",
    "device_function",
    "empty",
    "failure",
    "filled",
    "formula",
    "free_memory",
    "new_stream",
    "number_at",
    "out_of_memory",
    "through",
    "to_device",
    "to_host",
]

SIMULATED = bool(config.ENABLE_CUDASIM)
# Threads of a block. The simulator runs each as a thread of Python, so it gets few, and few blocks: kernels go through
# their work in strides of the grid, whatever its size.
THREADS, _MOST_BLOCKS = (8, 2) if SIMULATED else (256, 2**20)

# By their own names, since the simulator puts another module in the place of `cuda` while a kernel of this one runs,
# and other threads may copy then.
_array, _stream = cuda.device_array, cuda.stream
_here = threading.local()

if not SIMULATED:
    tell_of_compilation()


class Kernel:
    """A kernel, compiled when it is first launched.

    Attributes:
        function: The Python function; see `products.rounded`.
    """

    def __init__(self, function: Callable[..., None]) -> None:
        self.function = rounded(function)
        self._compiled = cuda.jit(self.function) if SIMULATED else _cached(self.function)
        self._launches: dict[tuple[Any, ...], Launch] = {}

    def __call__(self, work: int, *arguments: Any) -> None:
        """Launch with a thread for each of `work` items; none for none."""
        if work <= 0:
            return
        blocks = min(-(-work // THREADS), _MOST_BLOCKS)
        if SIMULATED:
            self._compiled[blocks, THREADS](*arguments)
            return
        kinds, values = laid_out(arguments)
        if kinds not in self._launches:
            self._launches[kinds] = Launch(self._compiled, arguments, values)
        self._launches[kinds](blocks, THREADS, _here_stream(), arguments, values)


def _cached(function: Callable[..., None]) -> Any:
    """Let Numba compile a kernel that it keeps on disk: compiling takes 0.3 s for each."""
    with caching(function):
        return cuda.jit(function, cache=True)


def new_stream() -> Any:
    """Return a stream: what goes through it is done in order, beside what goes through others."""
    return _stream()


@contextmanager
def through(stream: Any) -> Iterator[None]:
    """Let what this thread copies and launches go through a stream; in the end all of it has been done."""
    _here.stream = stream
    try:
        yield
        stream.synchronize()
    finally:
        _here.stream = 0


def _here_stream() -> Any:
    return getattr(_here, "stream", 0)


def device_function(function: Callable[..., Any]) -> Any:
    """Compile a function that kernels call; inlined, as only that compiles without a driver."""
    return cuda.jit(device=True, inline="always")(rounded(function))


@functools.cache
def formula(function: Callable[..., Any]) -> Any:
    """Make a device function of a shared formula, and of those that it calls; once, whoever asks."""
    return device_function(bound(function, formula))


def to_device(array: np.ndarray) -> Any:
    """Copy an array to the GPU."""
    given, copy = np.ascontiguousarray(array), empty(len(array), array.dtype)
    if isinstance(copy, Array):
        copy.copy_to_device(given)
        return copy
    stream = _here_stream()
    if len(given):
        copy.copy_to_device(given, stream=stream)
    if stream:  # the array may be gone before the stream comes to it
        stream.synchronize()
    return copy


def empty(size: int, kind: Any) -> Any:
    """Return an array on the GPU, not initialised."""
    stream = _here_stream()
    held = None if SIMULATED or stream or not size else driver_pool()
    return _array(size, kind, stream=stream) if held is None else held.array(size, np.dtype(kind))


def filled(size: int, kind: type, value: float = 0) -> Any:
    """Return an array on the GPU, all of one value."""
    array = empty(size, kind)
    _fill(size, array, value)
    return array


def to_host(array: Any) -> np.ndarray:
    """Copy an array from the GPU."""
    if not len(array):
        return np.empty(0, array.dtype)
    stream = _here_stream()
    copy: np.ndarray = array.copy_to_host() if isinstance(array, Array) else array.copy_to_host(stream=stream)
    if stream:
        stream.synchronize()
    return copy


def number_at(array: Any, place: int) -> int:
    """Copy one whole number from the GPU."""
    return int(to_host(array[place : place + 1])[0])


def failure() -> Exception | None:
    """Return what the driver says when it is first used, or None where it works."""
    try:
        cuda.current_context()
    except Exception as error:  # Numba's and the driver's errors have no base class of their own in common
        return error
    return None


def out_of_memory(error: Exception) -> bool:
    """Return whether an error says that the GPU's memory is used up."""
    return "CUDA_ERROR_OUT_OF_MEMORY" in str(error)


def free_memory() -> float:
    """Return the bytes that are free on the GPU; no end of them in the simulator."""
    held = None if SIMULATED else driver_pool()
    return float(cuda.current_context().get_memory_info()[0]) + (0 if held is None else held.unused())


@Kernel
def _fill(array, value):
    for i in range(cuda.grid(1), len(array), cuda.gridsize(1)):
        array[i] = value
