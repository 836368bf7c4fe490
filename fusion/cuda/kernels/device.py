"""The only module that imports CUDA: how kernels are compiled and launched, and arrays on the GPU.

Only what the simulator has as well is used: `grid`, `shared.array`, `syncthreads`, `syncthreads_or`, `atomic`.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import config, cuda

__all__ = [
    "SIMULATED",
    "THREADS",
    "Kernel",
    "cuda",
    "device_function",
    "empty",
    "failure",
    "filled",
    "free_memory",
    "out_of_memory",
    "product",
    "to_device",
    "to_host",
]

SIMULATED = bool(config.ENABLE_CUDASIM)
# Threads of a block. The simulator runs each as a thread of Python, so it gets few, and few blocks: kernels go through
# their work in strides of the grid, whatever its size.
THREADS, _MOST_BLOCKS = (8, 2) if SIMULATED else (256, 2**20)

# A product that is rounded on its own: the compiler joins a plain one with a sum that it goes into (fused
# multiply-add), and Numba has no switch for that.
if SIMULATED:
    from operator import mul as product
else:
    from numba.cuda.libdevice import dmul_rn as product  # type: ignore[no-redef]


class Kernel:
    """A kernel, compiled when it is first launched.

    Attributes:
        function: The Python function.
    """

    def __init__(self, function: Callable[..., None]) -> None:
        self.function = function
        self._compiled = cuda.jit(function)

    def __call__(self, work: int, *arguments: Any) -> None:
        """Launch with a thread for each of `work` items; none for none."""
        if work > 0:
            _configured(self._compiled, min(-(-work // THREADS), _MOST_BLOCKS))(*arguments)


def _configured(compiled: Any, blocks: int) -> Any:
    """Choose the grid of a kernel without Numba's advice that small ones leave the GPU idle: small tables do."""
    before = config.CUDA_LOW_OCCUPANCY_WARNINGS
    config.CUDA_LOW_OCCUPANCY_WARNINGS = 0
    try:
        return compiled[blocks, THREADS]
    finally:
        config.CUDA_LOW_OCCUPANCY_WARNINGS = before


def device_function(function: Callable[..., Any]) -> Any:
    """Compile a function that kernels call; inlined, as only that compiles without a driver."""
    return cuda.jit(device=True, inline="always")(function)


def to_device(array: np.ndarray) -> Any:
    """Copy an array to the GPU."""
    return cuda.to_device(np.ascontiguousarray(array))


def empty(size: int, kind: type) -> Any:
    """Return an array on the GPU, not initialised."""
    return cuda.device_array(size, kind)


def filled(size: int, kind: type, value: float = 0) -> Any:
    """Return an array on the GPU, all of one value."""
    array = empty(size, kind)
    _fill(size, array, value)
    return array


def to_host(array: Any) -> np.ndarray:
    """Copy an array from the GPU."""
    copy: np.ndarray = array.copy_to_host() if len(array) else np.empty(0, array.dtype)
    return copy


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
    return float(cuda.current_context().get_memory_info()[0])


@Kernel
def _fill(array, value):
    for i in range(cuda.grid(1), len(array), cuda.gridsize(1)):
        array[i] = value
