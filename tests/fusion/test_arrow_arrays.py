"""Arrays between NumPy and Arrow: as pyarrow itself makes them."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from fusion.arrow_arrays import arrow_array, numpy_array

NUMBERS = npst.arrays(
    st.sampled_from(["bool", "int8", "uint8", "int16", "int32", "uint32", "int64", "uint64", "float32", "float64"]),
    st.integers(0, 20),
)
WORDS = st.lists(st.none() | st.text(max_size=4), max_size=20)
KINDS = st.sampled_from([pa.bool_(), pa.int8(), pa.int32(), pa.int64(), pa.float32(), pa.float64()])


@given(NUMBERS, st.integers(1, 3))
def test_numbers_become_columns(values, step):
    values = values[::step]
    assert arrow_array(values).equals(pa.array(values)) or np.isnan(values).any()
    np.testing.assert_array_equal(np.array(arrow_array(values).to_pylist(), values.dtype), values)
    assert arrow_array(values).type == pa.array(values).type


@given(WORDS)
def test_words_become_columns(words):
    assert arrow_array(words).equals(pa.array(words)) or not any(words)
    assert arrow_array(words, pa.string()).equals(pa.array(words, pa.string()))
    assert arrow_array(np.array(words, object), pa.string()).equals(pa.array(words, pa.string()))
    texts = [None if word is None else word.encode() for word in words]
    assert arrow_array(texts, pa.binary()).equals(pa.array(texts, pa.binary()))


@given(st.lists(st.none() | st.booleans(), max_size=40), KINDS, st.integers(0, 5), st.integers(0, 40))
def test_columns_become_numbers(values, kind, low, size):
    column = pa.array(values, pa.bool_()).cast(pa.int8()).cast(kind).slice(low, size)
    given_back = numpy_array(column)
    expected = column.to_numpy(zero_copy_only=False)
    assert given_back.dtype == expected.dtype
    np.testing.assert_array_equal(given_back, expected)
    filled = numpy_array(column, 1)
    assert filled.tolist() == column.fill_null(pa.scalar(1).cast(kind)).to_pylist()
    assert filled.dtype == kind.to_pandas_dtype()


def test_columns_are_not_copied():
    column = pa.array([1.5, 2.5, 3.5]).slice(1)
    values = numpy_array(pa.chunked_array([column]))
    assert values.ctypes.data == column.buffers()[1].address + 8
    with pytest.raises(ValueError, match="read-only"):
        values[0] = 0


def test_what_is_no_number_is_left_to_arrow():
    assert numpy_array(pa.array(["a", None])).tolist() == ["a", None]
    assert arrow_array(np.array(["a", "b"])).to_pylist() == ["a", "b"]
    assert arrow_array([1, 2]).equals(pa.array([1, 2]))
