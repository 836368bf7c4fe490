"""Formulas that the CPU's and the GPU's kernels share: each stands here once, as a plain function of Python.

`fusion.kernels.jit.formula` makes a part of the CPU's kernels of one, `fusion.cuda.kernels.device.formula` of the
GPU's. They see numbers, flat arrays and named tuples of these. What a formula calls is numba's language or another
formula, and products of floats that go into a sum are rounded first, on either machine.
"""

from collections.abc import Callable
from types import FunctionType
from typing import Any

__all__ = ["bound"]


def bound(function: Callable[..., Any], compiled: Callable[[Callable[..., Any]], Any]) -> Callable[..., Any]:
    """Return a formula that calls, in the place of other formulas, what `compiled` makes of them."""
    assert isinstance(function, FunctionType)
    names = function.__globals__
    others = {
        name: compiled(names[name])
        for name in function.__code__.co_names
        if isinstance(names.get(name), FunctionType) and ".formulas" in names[name].__module__
    }
    return FunctionType(function.__code__, {**names, **others}, function.__name__) if others else function
