import itertools

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fusion.errors import InputError
from fusion.masks import mask_text
from fusion.soft_masks import SOFT_MASK_TYPE, soft_maps, soft_mask_array
from fusion.storage import read_table, write_table
from fusion.table import DetectionTable, Metadata
from fusion.table_columns import MASK_TYPE


def small(**changes):
    arrays = {"image_id": [3, 1, 3], "category_id": [1, 2, 1], "score": [0.5, 0.6, 0.9], "xywh": np.ones((3, 4))}
    return DetectionTable.from_arrays(**{**arrays, **changes})


def test_rows_are_sorted_by_image_and_keep_their_order_inside_it():
    table = small()
    assert table.image_id.tolist() == [1, 3, 3]
    assert table.score.tolist() == [0.6, 0.5, 0.9]
    assert table.image_ids.tolist() == [1, 3]
    assert table.image_start.tolist() == [0, 1, 3]
    assert table.image_id.dtype == np.int64


def test_string_ids_sort_by_name():
    table = small(image_id=["b10", "a", "b9"])
    assert table.image_id.tolist() == ["a", "b10", "b9"]
    assert table.image_ids.tolist() == ["a", "b10", "b9"]
    assert table.score.tolist() == [0.6, 0.5, 0.9]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.text(max_size=3), st.floats(allow_nan=False, allow_infinity=False, width=64)), max_size=20)
)
def test_any_string_ids_round_trip(rows):
    table = DetectionTable.from_arrays(
        image_id=np.array([name for name, _ in rows], dtype=object),
        category_id=np.zeros(len(rows), int),
        score=np.array([score for _, score in rows]),
        xywh=np.zeros((len(rows), 4)),
    )
    expected = sorted(rows, key=lambda row: row[0])
    assert list(zip(table.image_id.tolist(), table.score.tolist(), strict=True)) == expected


def test_empty():
    table = DetectionTable.from_arrays(image_id=[], category_id=[], score=[], xywh=[])
    assert len(table) == 0
    assert table.image_ids.tolist() == []
    assert table.image_start.tolist() == [0]


def test_float32_stays_float32():
    table = small(score=np.ones(3, np.float32), xywh=np.ones((3, 4), np.float32))
    assert table.score.dtype == np.float32
    assert table.column("w").dtype == np.float32


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"score": [0.5, np.nan, 0.9]}, ["score", "not finite", "row 1"]),
        ({"score": [0.5, np.inf, 0.9]}, ["score", "not finite", "row 1 (inf)"]),
        ({"xywh": [[0, 0, 1, 1], [0, 0, -1, 1], [0, 0, 1, 1]]}, ["column w", "negative", "row 1 (-1)", "xyxy"]),
        ({"xywh": np.ones((3, 5))}, ["[n, 4]", "[3, 5]"]),
        ({"score": [0.5]}, ["score", "1 rows", "3"]),
        ({"category_id": ["a", "b", "c"]}, ["category_id", "integers"]),
        ({"category_id": [1, 2, 2**40]}, ["32 bits"]),
        ({"image_id": [1.5, 2.5, 3.5]}, ["image ids", "integers or strings", "1.5 in row 0"]),
        ({"image_id": np.array([1, 2, 2**63], np.uint64)}, ["64 bits", "9223372036854775808 in row 2", "as strings"]),
        ({"image_id": [1, 2, 2**70]}, ["64 bits", "1180591620717411303424 in row 2"]),
        ({"image_id": [1, None, 3]}, ["image ids", "None in row 1"]),
        ({"score": [0.5, None, 0.9]}, ["score", "numbers", "None in row 1"]),
        ({"score": [0.5, "high", 0.9]}, ["score", "numbers", "'0.5' in row 0"]),
        ({"xywh": ([0, 1, 2], [0, None, 2], [1, 1, 1], [1, 1, 1])}, ["y must be numbers", "None in row 1"]),
        ({"mask": pa.array([None] * 3, pa.string())}, ["mask", "string", "struct"]),
    ],
)
def test_errors_name_the_fault(changes, words):
    with pytest.raises(InputError) as error:
        small(where="results of x", **changes)
    assert all(word in str(error.value) for word in ["results of x", *words]), str(error.value)


def test_optional_columns_are_kept_and_sorted():
    mask = pa.array(
        [{"height": 1, "width": 2, "counts": b"0"}, None, {"height": 3, "width": 4, "counts": b"1"}], MASK_TYPE
    )
    table = small(mask=mask, member=["a", "b", "a"], view=["1", "2", "3"], votes=[1, 2, 3])
    assert table.mask is not None
    assert [m and m["height"] for m in table.mask.to_pylist()] == [None, 1, 3]
    assert table.member is not None
    assert table.member.to_pylist() == ["b", "a", "a"]
    assert table.arrow["votes"].to_pylist() == [2, 1, 3]


def test_masks_of_other_libraries_have_short_offsets():
    short = pa.struct([("height", pa.int32()), ("width", pa.int32()), ("counts", pa.binary())])
    rows = [{"height": 1, "width": 2, "counts": b"0"}, None, {"height": 3, "width": 4, "counts": b"123"}]
    table = small(mask=pa.array(rows, short))
    assert table.mask.type == MASK_TYPE
    for mask in (table.mask, table.mask.cast(short)):
        text = mask_text(mask[1:])
        assert [bytes(text.data[a:b]) for a, b in itertools.pairwise(text.offset)] == [b"0", b"123"]


def test_soft_masks_have_offsets_of_64_bits(tmp_path):
    """So that they do not overflow at 2 GiB; those with 32 bits, of earlier files, are taken as well."""
    maps = np.random.default_rng(0).random((3, 2, 2)).astype(np.float32)
    column = soft_mask_array(maps, 8, [9, 10, 11])
    assert column.type.field("values").type == pa.large_list(pa.float32())
    short = pa.struct([*list(SOFT_MASK_TYPE)[:2], ("values", pa.list_(pa.float32()))])
    for given_column in (column, column.cast(short)):
        table = small(soft_mask=given_column)
        assert table.soft_mask.type == SOFT_MASK_TYPE
        write_table(table, tmp_path / "t.parquet")
        found = soft_maps(read_table(tmp_path / "t.parquet").soft_mask)
        assert np.array_equal(found.values, maps[[1, 0, 2]].ravel())  # sorted by image
        assert found.offset.tolist() == [0, 4, 8, 12]
        assert found.width.tolist() == [10, 9, 11]


@pytest.mark.slow  # 2.2 GB of text, in sparse pages but for the copy that is tested
def test_masks_of_more_than_two_gigabytes_of_text():
    one = np.zeros(1100 << 20, np.uint8)
    halves = []
    for _ in range(2):
        ends = pa.py_buffer(np.array([0, len(one)], np.int64))
        text = pa.Array.from_buffers(pa.large_binary(), 1, [None, ends, pa.py_buffer(one)])
        side = pa.array([1], pa.int32())
        halves.append(pa.StructArray.from_arrays([side, side, text], fields=list(MASK_TYPE)))
    table = DetectionTable.from_arrays(
        image_id=[1, 2], category_id=[1, 1], score=[0.5, 0.5], xywh=np.ones((2, 4)), mask=pa.chunked_array(halves)
    )
    assert mask_text(table.mask).offset.tolist() == [0, len(one), 2 * len(one)]


def test_schema_errors():
    table = small()
    with pytest.raises(InputError, match="column score is missing"):
        DetectionTable.from_arrow(table.arrow.drop_columns(["score"]), Metadata())
    with pytest.raises(InputError, match="column extra is not one"):
        DetectionTable.from_arrow(table.arrow.append_column("extra", pa.array([1, 2, 3])), Metadata())
    with pytest.raises(InputError, match="different types"):
        DetectionTable.from_arrow(table.arrow.set_column(3, "x", pa.array([1, 1, 1], pa.float32())), Metadata())
    nulls = table.arrow.set_column(2, "score", pa.array([1.0, None, 1.0]))
    with pytest.raises(InputError, match="null in row 1"):
        DetectionTable.from_arrow(nulls, Metadata())


def test_select_images():
    table = small()
    assert table.select_images([3, 77]).score.tolist() == [0.5, 0.9]
    assert len(table.select_images([])) == 0
    assert small(image_id=["b", "a", "b"]).select_images(["b"]).score.tolist() == [0.5, 0.9]


def test_numbers_of_any_kind_are_scores():
    given = np.array([np.float32(0.5), 1, 0.25], dtype=object)
    assert sorted(small(score=given).score.tolist()) == [0.25, 0.5, 1.0]
