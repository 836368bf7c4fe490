"""How the arguments of a launch are laid out. It needs no GPU."""

import ctypes
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np

from fusion.cuda.kernels.launch import laid_out
from fusion.cuda.kernels.memory import Array


class Pair(NamedTuple):
    """Two arrays and a number."""

    a: Any
    b: Any
    limit: float


def array(size, kind, address):
    """What is looked at of an array on the GPU."""
    return SimpleNamespace(
        size=size, dtype=np.dtype(kind), device_ctypes_pointer=SimpleNamespace(value=address if size else None)
    )


def test_arrays_numbers_and_tuples_of_them():
    pair = Pair(array(3, np.float64, 4096), array(0, np.int16, 0), 0.5)
    kinds, values = laid_out((pair, 7, True, array(5, np.int8, 64)))
    assert kinds == (Pair, "d", "h", float, int, bool, "b")
    plain = [(type(value), value.value) if isinstance(value, ctypes._SimpleCData) else value for value in values]
    assert plain == [
        *(0, 0, 3, 8, 4096, 3, 8),
        *(0, 0, 0, 2, 0, 0, 2),
        (ctypes.c_double, 0.5),
        (ctypes.c_int64, 7),
        True,
        *(0, 0, 5, 1, 64, 5, 1),
    ]


def test_kinds_tell_launches_apart():
    one = array(3, np.int32, 8)
    kinds = {laid_out(arguments)[0] for arguments in ((one, 1), (one, 1.0), (one, True), (one, one), ((one, 1),))}
    assert len(kinds) == 5
    assert laid_out((one, 1))[0] == laid_out((array(9, np.int32, 16), 2))[0]


def test_arrays_of_ours_are_laid_out_as_numbas():
    given = [Array(None, 4096, 3, np.dtype(np.float64)), Array(None, 0, 0, np.dtype(np.int16))]
    theirs = [array(3, np.float64, 4096), array(0, np.int16, 0)]
    assert laid_out(given) == laid_out(theirs)


def test_parts_and_views_of_an_array():
    whole = Array(None, 1000, 10, np.dtype(np.float64))
    part = whole[2:7]
    assert (part.address, part.size, len(part), part.dtype) == (1016, 5, 5, whole.dtype)
    assert (whole[4:].address, len(whole[4:]), len(whole[:0]), len(whole[7:3])) == (1032, 6, 0, 0)
    assert (part[1:].address, part.view(np.int64).dtype, part.view(np.int64).address) == (1024, np.int64, 1016)
