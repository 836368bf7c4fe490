"""What the compiler makes of loops over 16 numbers only with detours, written for it as vectors of 16.

A loop that collects a bit per comparison spends as long on the bits as on the comparisons, and the largest of 16
integers is found one by one. Each function is a few instructions of LLVM, which fits them to the processor at hand.
"""

# ruff: noqa: ARG001 (the arguments of an intrinsic are types; what is generated gets the values in a list)

import functools
from typing import Any, NamedTuple

import numpy as np

from fusion.kernels.jit import intrinsic

__all__ = ["LANES", "first_bit", "first_equal", "highest", "verdicts"]

LANES = 16


def _plain_verdicts(rows, first, x1, y1, x2, y2, share, more):
    x1s, y1s, x2s, y2s, shares = rows[:5, first : first + LANES]
    with np.errstate(all="ignore"):
        across = np.maximum(np.minimum(x2s, x2) - np.maximum(x1s, x1), np.float32(0))
        down = np.minimum(y2s, y2) - np.maximum(y1s, y1)
        excess = across * down - (shares + share)
    may, must = (int(np.packbits(excess > limit, bitorder="little").view("<u2")[0]) for limit in (0, more))
    return np.uint32(may | must << LANES)


def _plain_first_bit(bits):
    return (int(bits) & -int(bits)).bit_length() - 1


def _plain_highest(numbers, first):
    return numbers[first : first + LANES].max()


def _plain_first_equal(numbers, first, value):
    return int(np.argmax(numbers[first : first + LANES] == value))


class _Kinds(NamedTuple):
    """Types of LLVM: numbers, and vectors of 16 of them."""

    bit: Any
    bits: Any
    long: Any
    half: Any
    places: Any
    singles: Any
    longs: Any


@functools.cache
def _kinds() -> _Kinds:
    from llvmlite import ir  # type: ignore[import-untyped]

    bit, half, bits, long = (ir.IntType(width) for width in (1, LANES, 32, 64))
    return _Kinds(bit, bits, long, half, *(ir.VectorType(kind, LANES) for kind in (bits, ir.FloatType(), long)))


def _load(context, builder, kind, array, offset, lanes):
    """16 numbers from an offset of an array on."""
    data = context.make_array(kind)(context, builder, array).data
    place = builder.bitcast(builder.gep(data, [offset]), lanes.as_pointer())
    return builder.load(place, align=8 if lanes is _kinds().longs else 4)  # of one number: arrays may begin anywhere


def _repeat(builder, value, lanes):
    """A number 16 times."""
    from llvmlite import ir

    kinds = _kinds()
    one = builder.insert_element(lanes(ir.Undefined), value, kinds.bits(0))
    return builder.shuffle_vector(one, lanes(ir.Undefined), kinds.places([0] * LANES))


def _gather(builder, answers):
    """16 answers as bits of a number, the first one lowest."""
    return builder.zext(builder.bitcast(answers, _kinds().half), _kinds().bits)


@intrinsic(_plain_verdicts)
def verdicts(_context, rows, first, x1, y1, x2, y2, share, more):
    """Test a narrowed box with its margin against the 16 boxes rows[:5, first : first + 16]; see `filter`.

    Args:
        rows: float32 [5 or more, n], contiguous.
        first: First of the 16.
        x1: float32, left side of the box.
        y1: float32, top.
        x2: float32, right side.
        y2: float32, bottom.
        share: float32, the box's share of the least intersection that counts.
        more: float32, its margin.

    Returns:
        uint32: a bit for each box whose IoU may exceed the threshold, and 16 places higher for each whose IoU must.
    """
    from numba import types

    kinds = _kinds()

    def generate(context, builder, signature, arguments):
        kind = signature.args[0]
        array, offset, *numbers = arguments
        width = builder.extract_value(context.make_array(kind)(context, builder, array).shape, 1)

        def row(r):
            return _load(
                context, builder, kind, array, builder.add(builder.mul(width, kinds.long(r)), offset), kinds.singles
            )

        def least(a, b):
            return builder.select(builder.fcmp_ordered("<", a, b), a, b)

        def most(a, b):
            return builder.select(builder.fcmp_ordered(">", a, b), a, b)

        left, top, right, bottom, less, extra = (_repeat(builder, number, kinds.singles) for number in numbers)
        zero = kinds.singles([0.0] * LANES)
        across = most(builder.fsub(least(row(2), right), most(row(0), left)), zero)
        down = builder.fsub(least(row(3), bottom), most(row(1), top))
        excess = builder.fsub(builder.fmul(across, down), builder.fadd(row(4), less))
        may, must = (_gather(builder, builder.fcmp_ordered(">", excess, limit)) for limit in (zero, extra))
        return builder.or_(may, builder.shl(must, kinds.bits(LANES)))

    return types.uint32(rows, types.intp, *[types.float32] * 6), generate


@intrinsic(_plain_first_bit)
def first_bit(_context, bits):
    """Return the place of the lowest set bit of a uint32 that is not 0."""
    from numba import types

    def generate(_context, builder, _signature, arguments):
        return builder.zext(builder.cttz(arguments[0], _kinds().bit(1)), _kinds().long)

    return types.intp(types.uint32), generate


@intrinsic(_plain_highest)
def highest(_context, numbers, first):
    """Return the largest of 16 numbers of an int64 array, from a place on."""
    from llvmlite import ir
    from numba import types
    from numba.core import cgutils

    kinds = _kinds()

    def generate(context, builder, signature, arguments):
        values = _load(context, builder, signature.args[0], *arguments, kinds.longs)
        name = f"llvm.vector.reduce.smax.v{LANES}i64"
        reduce = cgutils.get_or_insert_function(builder.module, ir.FunctionType(kinds.long, [kinds.longs]), name)
        return builder.call(reduce, [values])

    return types.int64(numbers, types.intp), generate


@intrinsic(_plain_first_equal)
def first_equal(_context, numbers, first, value):
    """Return which of 16 numbers of an int64 array, from a place on, is the first that equals a value; one does."""
    from numba import types

    kinds = _kinds()

    def generate(context, builder, signature, arguments):
        array, offset, value = arguments
        values = _load(context, builder, signature.args[0], array, offset, kinds.longs)
        bits = _gather(builder, builder.icmp_signed("==", values, _repeat(builder, value, kinds.longs)))
        return builder.zext(builder.cttz(bits, kinds.bit(1)), kinds.long)

    return types.intp(numbers, types.intp, types.int64), generate
