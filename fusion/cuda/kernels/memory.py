"""Memory of arrays on the GPU, from the driver's pool.

Memory is taken and given back in the order of the default stream: neither waits for kernels under way, and what one
step gives back the next one gets, without the driver looking for it. Numba's own allocation does wait, and every step
makes dozens of arrays. What streams of their own work on is allocated by Numba: only the default stream's order holds
here.
"""

import functools
from typing import Any

import numpy as np

__all__ = ["Pool", "pool"]


class Pool:
    """The pool of one GPU."""

    def __init__(self, device: Any) -> None:
        from numba.cuda import from_cuda_array_interface

        self._resource, self._stream = device.memory_resource, device.default_stream
        self._wrapped = from_cuda_array_interface
        self.array(1, np.dtype(np.int8))

    def array(self, size: int, dtype: np.dtype[Any]) -> Any:
        """Return an array, not initialised; its memory goes back when neither it nor a part of it is used."""
        buffer = self._resource.allocate(size * dtype.itemsize, stream=self._stream)
        described = {
            "shape": (size,),
            "strides": None,
            "typestr": dtype.str,
            "data": (int(buffer.handle), False),
            "version": 3,
        }
        return self._wrapped(described, owner=buffer, sync=False)

    def unused(self) -> int:
        """Return the bytes that it holds and nobody uses; the driver does not count them as free."""
        attributes = self._resource.attributes
        return int(attributes.reserved_mem_current - attributes.used_mem_current)


@functools.cache
def pool() -> Pool | None:
    """Return the driver's pool of the current GPU; None where it has none."""
    try:
        from cuda.core import Device

        device = Device()
        device.set_current()
        return Pool(device)
    except Exception:  # an older driver or another version of cuda.core; their errors have no base class in common
        return None
