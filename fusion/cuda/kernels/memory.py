"""Arrays on the GPU, with memory from the driver's pool.

Memory is taken and given back in the order of the default stream: neither waits for kernels under way, and what one
step gives back the next one gets, without the driver looking for it. Numba's own allocation does wait, and one of its
arrays takes 20 us of the host's time to make, where one of these takes 2 us: a candidate of a search needs 1,300. What
streams of their own work on are Numba's arrays, since only the default stream's order holds here.
"""

from __future__ import annotations

import functools
import threading
from typing import Any

import numpy as np

__all__ = ["Array", "DriverPool", "driver_pool"]

_thread = threading.local()


class Array:
    """An array of one dimension, without gaps; its memory goes back when neither it nor a part of it is used.

    Attributes:
        address: Of its first item.
        size: Number of items.
        dtype: Their type.
    """

    __slots__ = ("_memory", "address", "dtype", "size")

    def __init__(self, memory: Any, address: int, size: int, dtype: np.dtype[Any]) -> None:
        self._memory, self.address, self.size, self.dtype = memory, address, size, dtype

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, part: slice) -> Array:
        first, last, _ = part.indices(self.size)
        return Array(self._memory, self.address + first * self.dtype.itemsize, max(last - first, 0), self.dtype)

    def view(self, kind: type) -> Array:
        """Return the same bytes as numbers of another type of the same size."""
        return Array(self._memory, self.address, self.size, np.dtype(kind))

    @property
    def as_numba(self) -> Any:
        """The same memory as an array of Numba's."""
        from numba.cuda import from_cuda_array_interface

        address = self.address if self.size else 0
        described = {"shape": (self.size,), "strides": None, "typestr": self.dtype.str, "data": (address, False)}
        return from_cuda_array_interface(described | {"version": 3}, owner=self, sync=False)

    def copy_to_host(self) -> np.ndarray:
        """Return a copy on the host."""
        from cuda.bindings import driver

        copy = np.empty(self.size, self.dtype)
        if self.size:
            _require_success(driver.cuMemcpyDtoH(copy.ctypes.data, self.address, copy.nbytes)[0])
        return copy

    def copy_to_device(self, array: np.ndarray) -> None:
        """Copy an array of the same size and type from the host; it may be changed at once."""
        from cuda.bindings import driver

        if self.size:
            _require_success(driver.cuMemcpyHtoD(self.address, array.ctypes.data, array.nbytes)[0])


def _require_success(code: Any) -> None:
    if code:
        raise RuntimeError(f"a copy between host and GPU failed: {code.name}")


class DriverPool:
    """The pool of one GPU.

    Attributes:
        device: The GPU.
    """

    def __init__(self, device: Any) -> None:
        self.device = device
        self._resource, self._stream = device.memory_resource, device.default_stream
        self.array(1, np.dtype(np.int8))

    def array(self, size: int, dtype: np.dtype[Any]) -> Array:
        """Return an array, not initialised."""
        memory = self._resource.allocate(size * dtype.itemsize, stream=self._stream)
        return Array(memory, int(memory.handle), size, dtype)

    def unused(self) -> int:
        """Return the bytes that it holds and nobody uses; the driver does not count them as free."""
        attributes = self._resource.attributes
        return int(attributes.reserved_mem_current - attributes.used_mem_current)


def driver_pool() -> DriverPool | None:
    """Return the driver's pool of the current GPU; None where it has none."""
    held = _open()
    if held is not None and not hasattr(_thread, "device"):
        held.device.set_current()  # for the calling thread
        _thread.device = held.device
    return held


@functools.cache
def _open() -> DriverPool | None:
    try:
        from cuda.core import Device

        device = Device()
        device.set_current()
        return DriverPool(device)
    except Exception:  # an older driver or another version of cuda.core; their errors have no base class in common
        return None
