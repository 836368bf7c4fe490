"""What the compiler makes of loops over 16 numbers only with detours, written for it as vectors of 16.

A loop that collects a bit per comparison spends as long on the bits as on the comparisons, and the largest of 16
integers is found one by one. Each function is a few instructions of LLVM, which fits them to the processor at hand.
"""

# ruff: noqa: ARG001 (the arguments of an intrinsic are types; what is generated gets the values in a list)

from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

__all__ = ["LANES", "first_bit", "first_equal", "highest", "verdicts"]

LANES = 16
_BIT, _BITS, _LONG = ir.IntType(1), ir.IntType(32), ir.IntType(64)
_SINGLES, _LONGS = ir.VectorType(ir.FloatType(), LANES), ir.VectorType(_LONG, LANES)


def _load(context, builder, kind, array, offset, lanes):
    """16 numbers from an offset of an array on."""
    data = context.make_array(kind)(context, builder, array).data
    place = builder.bitcast(builder.gep(data, [offset]), lanes.as_pointer())
    return builder.load(place, align=8 if lanes is _LONGS else 4)  # of one number: arrays may begin anywhere


def _repeat(builder, value, lanes):
    """A number 16 times."""
    one = builder.insert_element(lanes(ir.Undefined), value, _BITS(0))
    return builder.shuffle_vector(one, lanes(ir.Undefined), ir.VectorType(_BITS, LANES)([0] * LANES))


def _gather(builder, answers):
    """16 answers as bits of a number, the first one lowest."""
    return builder.zext(builder.bitcast(answers, ir.IntType(LANES)), _BITS)


@intrinsic
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

    def generate(context, builder, signature, arguments):
        kind = signature.args[0]
        array, offset, *numbers = arguments
        width = builder.extract_value(context.make_array(kind)(context, builder, array).shape, 1)

        def row(r):
            return _load(context, builder, kind, array, builder.add(builder.mul(width, _LONG(r)), offset), _SINGLES)

        def least(a, b):
            return builder.select(builder.fcmp_ordered("<", a, b), a, b)

        def most(a, b):
            return builder.select(builder.fcmp_ordered(">", a, b), a, b)

        left, top, right, bottom, less, extra = (_repeat(builder, number, _SINGLES) for number in numbers)
        zero = _SINGLES([0.0] * LANES)
        across = most(builder.fsub(least(row(2), right), most(row(0), left)), zero)
        down = builder.fsub(least(row(3), bottom), most(row(1), top))
        excess = builder.fsub(builder.fmul(across, down), builder.fadd(row(4), less))
        may, must = (_gather(builder, builder.fcmp_ordered(">", excess, limit)) for limit in (zero, extra))
        return builder.or_(may, builder.shl(must, _BITS(LANES)))

    return types.uint32(rows, types.intp, *[types.float32] * 6), generate


@intrinsic
def first_bit(_context, bits):
    """Return the place of the lowest set bit of a uint32 that is not 0."""

    def generate(_context, builder, _signature, arguments):
        return builder.zext(builder.cttz(arguments[0], _BIT(1)), _LONG)

    return types.intp(types.uint32), generate


@intrinsic
def highest(_context, numbers, first):
    """Return the largest of 16 numbers of an int64 array, from a place on."""

    def generate(context, builder, signature, arguments):
        values = _load(context, builder, signature.args[0], *arguments, _LONGS)
        name = f"llvm.vector.reduce.smax.v{LANES}i64"
        reduce = cgutils.get_or_insert_function(builder.module, ir.FunctionType(_LONG, [_LONGS]), name)
        return builder.call(reduce, [values])

    return types.int64(numbers, types.intp), generate


@intrinsic
def first_equal(_context, numbers, first, value):
    """Return which of 16 numbers of an int64 array, from a place on, is the first that equals a value; one does."""

    def generate(context, builder, signature, arguments):
        array, offset, value = arguments
        values = _load(context, builder, signature.args[0], array, offset, _LONGS)
        bits = _gather(builder, builder.icmp_signed("==", values, _repeat(builder, value, _LONGS)))
        return builder.zext(builder.cttz(bits, _BIT(1)), _LONG)

    return types.intp(numbers, types.intp, types.int64), generate
