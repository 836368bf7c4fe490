"""Boxes that come as corners are kept to the last bit, through tables, files, steps and exports."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fusion
from fusion import concat, nms
from fusion.corners import far_side, from_corners
from fusion.errors import InputError
from fusion.pool import pool_tables
from fusion.storage import read_table, write_table
from fusion.table import DetectionTable, Metadata

SIDE = st.one_of(
    st.integers(0, 100).map(lambda i: i / 100),
    st.integers(0, 10**6).map(lambda i: i / 10**6),
    st.floats(0, 1),
    st.floats(-1e6, 1e6),
)


@settings(max_examples=300)
@given(st.lists(st.tuples(SIDE, SIDE, SIDE, SIDE), min_size=1, max_size=5))
def test_far_sides_come_back_to_the_last_bit(rows):
    corners = np.array([(min(a, c), min(b, d), max(a, c), max(b, d)) for a, b, c, d in rows])
    xywh, far = from_corners(corners)
    for axis in range(2):
        back = far_side(xywh[:, axis], xywh[:, 2 + axis], far[:, axis])
        np.testing.assert_array_equal(back, corners[:, 2 + axis])
        needed = [x + w != x2 for x, w, x2 in zip(xywh[:, axis], xywh[:, 2 + axis], corners[:, 2 + axis], strict=True)]
        assert (~np.isnan(far[:, axis])).tolist() == needed


def test_there_are_corners_that_no_width_gives_back():
    near = np.nextafter(0.35, [0, 0.35, 1])
    assert ((0.1 + near).min(), (0.1 + near).max()) == tuple(np.nextafter(0.45, [0, 1]))
    assert 0.45 not in (0.1 + near)


def grid_table(seed, member=None, count=200, texts=False):
    rng = np.random.default_rng(seed)
    near, far = np.sort(rng.integers(0, 101, (2, count, 2)) / 100, axis=0)
    corners = np.hstack((near, far))
    table = DetectionTable.from_arrays(
        image_id=[f"i{k}" for k in rng.integers(0, 5, count)] if texts else rng.integers(0, 5, count),
        category_id=rng.integers(1, 4, count),
        score=rng.random(count),
        xyxy=corners,
        metadata=Metadata(unit="normalized", member=member),
    )
    return table, corners


def corners_of(table):
    return np.stack([table.column("x"), table.column("y"), table.far("x"), table.far("y")], axis=1)


def as_set(corners):
    return set(map(tuple, corners.tolist()))


def test_corners_pass_through_tables_files_and_steps(tmp_path):
    (first, one), (second, two) = grid_table(1, "a"), grid_table(2, "b")
    assert first.arrow["x2"].null_count < len(first)
    assert as_set(corners_of(first)) == as_set(one)
    for parts in (None, 3):
        write_table(first, tmp_path / f"t{parts}", **({"parts": parts} if parts else {}))
        assert as_set(corners_of(read_table(tmp_path / f"t{parts}"))) == as_set(one)
    both = concat([first, second])
    assert as_set(corners_of(both)) == as_set(one) | as_set(two)
    plain = DetectionTable.from_arrays(
        image_id=[0], category_id=[1], score=[0.5], xywh=[[0.25, 0.25, 0.5, 0.5]],
        metadata=Metadata(unit="normalized", member="c"),
    )  # fmt: skip
    mixed = concat([first, plain])
    assert as_set(corners_of(mixed)) == as_set(one) | {(0.25, 0.25, 0.75, 0.75)}
    kept = nms([first, second], iou=0.3)
    assert 0 < len(kept) < len(both)
    assert as_set(corners_of(kept)) <= as_set(one) | as_set(two)
    assert as_set(corners_of(first.select_images([0, 3]))) <= as_set(one)
    columns = pool_tables([first, second]).columns
    seen = np.stack([columns.x1, columns.y1, columns.x2, columns.y2], axis=1)
    assert as_set(seen) == as_set(one) | as_set(two)


def test_new_boxes_have_no_far_sides_of_their_own():
    fused = fusion.wbf([grid_table(1, "a")[0], grid_table(2, "b")[0]])
    assert not {"x2", "y2"} & set(fused.arrow.column_names)


def test_a_far_side_that_is_not_the_boxs_is_refused():
    table, _ = grid_table(1)
    arrow = table.arrow.set_column(table.arrow.column_names.index("w"), "w", pa.array(table.column("w") / 2))
    with pytest.raises(InputError, match="column x2 is not where the box ends"):
        DetectionTable.from_arrow(arrow, table.metadata)


def test_boxes_are_given_once():
    rows = {"image_id": [1], "category_id": [1], "score": [0.5]}
    for boxes in ({}, {"xywh": [[0, 0, 1, 1]], "xyxy": [[0, 0, 1, 1]]}):
        with pytest.raises(InputError, match="either xywh or xyxy"):
            DetectionTable.from_arrays(**rows, **boxes)
    with pytest.raises(InputError, match="xyxy must be of shape"):
        DetectionTable.from_arrays(**rows, xyxy=[[0, 0, 1]])
    with pytest.raises(InputError, match="column w is negative"):
        DetectionTable.from_arrays(**rows, xyxy=[[3, 0, 1, 1]])
