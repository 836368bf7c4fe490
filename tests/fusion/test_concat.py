import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fusion.concat import Concat, concat
from fusion.errors import InputError
from fusion.pool import trace
from fusion.table import DetectionTable

ROW = st.tuples(st.integers(0, 2), st.integers(0, 3), st.integers(0, 2), st.sampled_from([0.1, 0.5, 0.9]))


def tables(rows):
    return [
        DetectionTable.from_arrays(
            image_id=[row[1] for row in rows if row[0] == member],
            category_id=[row[2] for row in rows if row[0] == member],
            score=[row[3] for row in rows if row[0] == member],
            xywh=np.array([[i, 0, 1, 1] for i, row in enumerate(rows) if row[0] == member], float).reshape(-1, 4),
        ).with_metadata(member=f"m{member}")
        for member in range(3)
    ]


@settings(max_examples=150, deadline=None)
@given(st.lists(ROW, max_size=40), st.none() | st.integers(1, 6))
def test_keeps_the_best_of_each_image_in_order(rows, cap):
    inputs = tables(rows)
    fused, sources = trace(Concat(max_per_image=cap), inputs)
    flat = [
        (image, number, score, x)
        for table in inputs
        for number, (image, score, x) in enumerate(
            zip(table.image_id.tolist(), table.score.tolist(), table.xywh[:, 0].tolist(), strict=True)
        )
    ]
    expected = []
    for image in sorted({row[0] for row in flat}):
        own = [i for i, row in enumerate(flat) if row[0] == image]
        best = sorted(own, key=lambda i: -flat[i][2])[:cap]
        expected += sorted(best)
    assert sources.row.tolist() == expected
    assert fused.xywh[:, 0].tolist() == [flat[i][3] for i in expected]
    assert fused.score.tolist() == [flat[i][2] for i in expected]


def test_members_stay_known():
    fused = concat(tables([(0, 1, 1, 0.5), (1, 1, 1, 0.9), (2, 1, 1, 0.1)]), max_per_image=2)
    assert fused.member.to_pylist() == ["m0", "m1"]


@pytest.mark.parametrize("cap", [0, -1, 1.5, "x"])
def test_bad_cap(cap):
    with pytest.raises(InputError, match="max_per_image: expected a whole number of at least 1"):
        Concat(max_per_image=cap)
