"""A GPU of one thread: Numba compiles the CUDA kernels for the CPU (with QUORUM_ONE_THREAD=1).

What the simulator runs in Python has whole numbers without end, comes with arrays of zeros, and takes 0.3 ms a thread.
Here kernels get the machine's types and memory that nobody has written to, at the sizes of a real GPU. Threads and
barriers are the simulator's part.
"""

import os
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType, SimpleNamespace

import numba
import numpy as np
from numba.extending import intrinsic

__all__ = ["INSTALLED", "install"]

INSTALLED = bool(os.environ.get("QUORUM_ONE_THREAD"))
# What fresh memory holds: neither zeros, nor small numbers, nor NaN.
_RUBBISH = 0xA5


class _Array(np.ndarray):
    """An array "on the GPU"."""

    def copy_to_host(self, stream=0):
        """Return a copy on the host."""
        return np.array(self)

    def copy_to_device(self, array, stream=0):
        """Copy an array to this one."""
        self[...] = array

    @property
    def device_ctypes_pointer(self):
        """Its address, as Numba's arrays have it."""
        return SimpleNamespace(value=self.ctypes.data)


def _device_array(size, kind, stream=0):
    array = np.empty(size, kind)
    array.view(np.uint8)[:] = _RUBBISH
    return array.view(_Array)


def _bare(argument):
    """Return an argument with plain arrays, which is what Numba knows."""
    if isinstance(argument, tuple):
        return type(argument)(*map(_bare, argument))
    return argument.view(np.ndarray) if isinstance(argument, _Array) else argument


class _Kernel:
    """What `cuda.jit` makes of a kernel."""

    def __init__(self, function):
        self._compiled = numba.njit(function, error_model="numpy")

    def __getitem__(self, _):
        return lambda *arguments: self._compiled(*map(_bare, arguments))


def _jit(function=None, *, device=False, inline="never", cache=False):
    if function is None:
        return lambda later: _jit(later, device=device)
    return numba.njit(function, error_model="numpy") if device else _Kernel(function)


class _Stream:
    handle = 0

    def synchronize(self):
        """There is nothing to wait for."""


@numba.njit
def _nought(dimensions):
    return 0


@numba.njit
def _one(dimensions):
    return 1


@numba.njit
def _barrier():
    return 0


@numba.njit
def _any(flag):
    return flag != 0


@numba.njit
def _room(size, kind):
    return np.empty(size, kind)


@numba.njit
def _add(array, place, value):
    before = array[place]
    array[place] = before + value
    return before


@numba.njit
def _min(array, place, value):
    before = array[place]
    if value < before:
        array[place] = value
    return before


@numba.njit
def _product(a, b):
    return a * b


def _module(name, **members):
    """Make a module, since that is what compiled code may take names from."""
    module = ModuleType(name)
    module.__spec__ = ModuleSpec(name, None)
    vars(module).update(members)
    return module


def install():
    """Put this GPU in the place of Numba's; kernels must not have been imported before."""
    cuda = _module(
        "numba.cuda",
        jit=_jit,
        grid=_nought,
        gridsize=_one,
        syncthreads=_barrier,
        syncthreads_or=_any,
        shared=_module("shared", array=_room),
        local=_module("local", array=_room),
        atomic=_module("atomic", add=_add, min=_min),
        threadIdx=_module("threadIdx", x=0),
        blockIdx=_module("blockIdx", x=0),
        gridDim=_module("gridDim", x=1),
        device_array=_device_array,
        stream=_Stream,
        current_context=lambda: SimpleNamespace(get_memory_info=lambda: (float("inf"), float("inf"))),
    )
    sys.modules["numba.cuda"] = numba.cuda = cuda
    sys.modules["numba.cuda.libdevice"] = _module("numba.cuda.libdevice", dmul_rn=_product, fmul_rn=_product)
    sys.modules["numba.cuda.extending"] = _module("numba.cuda.extending", intrinsic=intrinsic)
    sys.modules["numba_cuda"] = _module("numba_cuda")

    from fusion.cuda.kernels import device, memory

    device.THREADS = device._MOST_BLOCKS = 1
    memory._open = lambda: None  # a GPU that there may be is not for this

    from fusion.cuda.kernels import cells

    cells.CLASSES = tuple((size, 1) for size in cells.SIZES)
