import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fusion import concat
from fusion.errors import InputError
from fusion.run import trace
from fusion.steps.concat import Concat
from fusion.table import DetectionTable

ROWS = st.lists(
    st.tuples(st.integers(1, 3), st.integers(1, 2), st.sampled_from([0.1, 0.2, 0.2, 0.3, -1.0])), max_size=25
)


def table(member, rows, seed=0):
    rows = sorted(rows, key=lambda row: row[0])
    image, category, score = ([row[k] for row in rows] for k in range(3))
    xywh = np.random.default_rng(seed).random((len(rows), 4))
    return DetectionTable.from_arrays(image_id=image, category_id=category, score=score, xywh=xywh).with_metadata(
        member=member
    )


def listed(fused):
    columns = (fused.image_id, fused.category_id, fused.score, *(fused.column(name) for name in "xywh"))
    return list(zip(fused.arrow["member"].to_pylist(), *(column.tolist() for column in columns), strict=True))


@settings(max_examples=60, deadline=None)
@given(ROWS, ROWS, st.sampled_from([None, 1, 2, 5, 100]))
def test_equals_the_plain_definition(first, second, most):
    tables = [table("a", first, 1), table("b", second, 2)]
    rows = [row for one in tables for row in listed(concat(one))]
    expected = []
    for image in (1, 2, 3):
        own = [(number, row) for number, row in enumerate(rows) if row[1] == image]
        best = sorted(own, key=lambda entry: (-entry[1][3], entry[0]))[:most]
        expected += [row for _, row in sorted(best, key=lambda entry: entry[0])]
    assert listed(concat(tables, max_per_image=most)) == expected


def test_every_row_is_its_own_source():
    tables = [table("a", [(1, 1, 0.5), (2, 1, 0.5)]), table("b", [(1, 1, 0.4), (1, 1, 0.6)])]
    fused, sources = trace(Concat(max_per_image=2), tables)
    assert fused.score.tolist() == [0.5, 0.6, 0.5]
    assert sources.row.tolist() == [0, 3, 1]
    assert sources.start.tolist() == [0, 1, 2, 3]


def test_empty():
    assert len(concat([table("a", []), table("b", [])])) == 0
    assert len(concat(table("a", []), max_per_image=3)) == 0


@pytest.mark.parametrize("value", [0, -1, 1.5, "x", True])
def test_option_out_of_range(value):
    with pytest.raises(InputError, match="option max_per_image"):
        Concat(max_per_image=value)
