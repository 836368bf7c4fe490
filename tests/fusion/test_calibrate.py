import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fusion.calibrate import ScoreMap, calibrate
from fusion.errors import InputError
from fusion.table import DetectionTable

MAP = ScoreMap(kind="isotonic", score=[5.0, 10.0, 20.0], value=[0.1, 0.4, 0.9])


def table(member, score):
    n = len(score)
    return DetectionTable.from_arrays(
        image_id=[1] * n, category_id=[1] * n, score=score, xywh=np.ones((n, 4))
    ).with_metadata(member=member)


def test_straight_lines_between_knots():
    np.testing.assert_allclose(MAP(np.array([5.0, 7.5, 10, 15, 20])), [0.1, 0.25, 0.4, 0.65, 0.9])


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(-2000, 2000), min_size=2, max_size=30, unique=True))
def test_never_changes_a_members_own_ranking(scores):
    rising = np.sort(np.array(scores) / 8)
    mapped = MAP(rising)
    assert np.all(np.diff(mapped) > 0)
    assert np.all((mapped > 0) & (mapped < 1))


def test_one_knot():
    mapped = ScoreMap(kind="rank", score=[3.0], value=[0.5])(np.array([2.0, 3.0, 4.0]))
    assert mapped[1] == 0.5
    assert mapped[0] <= 0.5 <= mapped[2]


def test_each_member_has_its_own_map():
    other = ScoreMap(kind="rank", score=[0.0, 1.0], value=[0.25, 0.75])
    fused = calibrate([table("a", [10.0, 20.0]), table("b", [0.5])], maps={"a": MAP, "b": other})
    assert fused.score.tolist() == pytest.approx([0.4, 0.9, 0.5])
    assert fused.member.to_pylist() == ["a", "a", "b"]


def test_errors():
    with pytest.raises(InputError, match="none for member 'b'"):
        calibrate([table("a", [1.0]), table("b", [1.0])], maps={"a": MAP})
    for score, value in (
        ([], []),
        ([1.0], [0.1, 0.2]),
        ([2.0, 1.0], [0.1, 0.2]),
        ([1.0, 2.0], [0.2, 0.2]),
        ([1.0], [1.0]),
    ):
        with pytest.raises(InputError, match="score map"):
            ScoreMap(kind="rank", score=score, value=value)
    with pytest.raises(InputError, match="kind: expected one of"):
        ScoreMap(kind="other", score=[1.0], value=[0.5])
