"""Arrays of NumPy as those of Arrow, and back, without pandas.

`pyarrow.array` and `to_numpy` load pandas, to see whether they were given its series: 0.2 s, as long as most commands
work. What they do with numbers and words is done here; the rest is left to them.
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

__all__ = ["arrow_array", "numpy_array"]


def arrow_array(values: np.ndarray | Sequence[str | bytes | None], kind: pa.DataType | None = None) -> pa.Array:
    """Return numbers of NumPy, or words, as an array of Arrow; numbers are not copied where they are contiguous.

    Args:
        values: [n] numbers or truth values, or words or bytes; None stands for null.
        kind: Type of the array, if it is not that of the numbers.
    """
    if not isinstance(values, np.ndarray) or values.dtype == object:
        return _words(list(values), kind)
    if values.dtype.kind not in "biuf" or values.ndim != 1 or not values.dtype.isnative:
        return pa.array(values, kind)
    values = np.ascontiguousarray(values)
    data = np.packbits(values, bitorder="little") if values.dtype.kind == "b" else values
    array = pa.Array.from_buffers(pa.from_numpy_dtype(values.dtype), len(values), [None, pa.py_buffer(data)])
    return array if kind is None else array.cast(kind)


def _words(words: list[str | bytes | None], kind: pa.DataType | None) -> pa.Array:
    if kind is None and not words:
        return pa.nulls(0)
    expected = {pa.string(): str, pa.binary(): bytes, pa.large_binary(): bytes}.get(kind or pa.string())
    if expected is None or not all(word is None or type(word) is expected for word in words):
        return pa.array(words, kind)
    texts = [word.encode() if isinstance(word, str) else word or b"" for word in words]
    ends = np.zeros(len(words) + 1, np.int64)
    np.cumsum([len(text) for text in texts], out=ends[1:])
    long = kind == pa.large_binary()
    if ends[-1] >= 1 << 31 and not long:
        return pa.array(words, kind)
    there = None
    if None in words:
        there = pa.py_buffer(np.packbits([word is not None for word in words], bitorder="little"))
    buffers = [there, pa.py_buffer(ends if long else ends.astype(np.int32)), pa.py_buffer(b"".join(texts))]
    return pa.Array.from_buffers(kind or pa.string(), len(words), buffers)


def numpy_array(column: pa.Array | pa.ChunkedArray, null: float | None = None) -> np.ndarray:
    """Return a column as NumPy's array, read-only and without copying where it can be.

    Args:
        column: [n] numbers or truth values; anything else is left to Arrow.
        null: What stands for null; NaN among floats if it is not said.
    """
    if isinstance(column, pa.ChunkedArray):
        column = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
    kind = column.type
    logical, floating = pa.types.is_boolean(kind), pa.types.is_floating(kind)
    if null is None and floating:
        null = np.nan
    if not (logical or floating or pa.types.is_integer(kind)) or (column.null_count and null is None):
        return np.asarray(column.to_numpy(zero_copy_only=False))
    there, data = column.buffers()
    low, high = column.offset, column.offset + len(column)
    if data is None or low == high:
        return np.full(high - low, 0 if null is None else null, kind.to_pandas_dtype())
    values: np.ndarray = _bits(data)[low:high] if logical else np.frombuffer(data, kind.to_pandas_dtype())[low:high]
    if column.null_count:
        return np.where(_bits(there)[low:high], values, values.dtype.type(null))
    if not logical:
        values.flags.writeable = False
    return values


def _bits(data: pa.Buffer) -> np.ndarray:
    return np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little").view(bool)
