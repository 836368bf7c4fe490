"""Corrections of boxes: against plain Python, and what they promise of any box."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fusion.box_corrections import MOST, BoxCorrection, read_corrections
from fusion.errors import InputError
from fusion.run import apply
from fusion.steps.correct_boxes import CorrectBoxes
from fusion.table import DetectionTable, Metadata
from fusion.toml_values import toml_value

SHARES = st.floats(-1e3, 1e3)


def plain(correction, box, category):
    """One box by the definition."""
    x1, y1, x2, y2 = box
    width, height = max(x2 - x1, 0.0), max(y2 - y1, 0.0)
    terms = [1.0]
    if correction.side and len(correction.side[0]) > 1:
        tiny = np.finfo(float).tiny
        size = [math.log(max(x2 - x1, tiny)), math.log(max(y2 - y1, tiny))]
        size = [min(max(v, low), high) for v, low, high in zip(size, correction.low, correction.high, strict=True)]
        x, y = x1 / 2 + x2 / 2, y1 / 2 + y2 / 2
        terms += [size[0], size[1], size[0] ** 2, size[1] ** 2, x, y, x**2, y**2][: len(correction.side[0]) - 1]
    shift = [sum(c * t for c, t in zip(row, terms, strict=True)) for row in correction.side] or [0.0] * 4
    shift = [s + own for s, own in zip(shift, correction.category.get(category, [0.0] * 4), strict=True)]
    shift = [min(max(s, -MOST), MOST) for s in shift]
    moved = [side + s * extent for side, s, extent in zip(box, shift, (width, height, width, height), strict=True)]
    for place, side in enumerate(box):
        moved[place] = max(moved[place], min(side, 0.0))
        if correction.frame:
            moved[place] = min(moved[place], max(side, correction.frame[place % 2]))
    return moved if moved[2] > moved[0] and moved[3] > moved[1] else list(box)


@st.composite
def corrections(draw):
    count = draw(st.sampled_from([0, 1, 5, 9]))
    row = st.lists(st.floats(-0.3, 0.3), min_size=count, max_size=count)
    return BoxCorrection(
        side=[draw(row) for _ in range(4)] if count else (),
        low=(0.0, 1.0) if count > 1 else (),
        high=(3.0, 4.0) if count > 1 else (),
        category={2: draw(st.lists(SHARES, min_size=4, max_size=4))} if draw(st.booleans()) else {},
        frame=(100.0, 50.0) if draw(st.booleans()) else (),
    )


@st.composite
def boxes(draw):
    low = st.sampled_from([-5.0, 0.0, 1e-300, 3.5, 99.0, 1e150]) | st.floats(-1e6, 1e6)
    extent = st.sampled_from([0.0, 1e-300, 1.0, 1e150]) | st.floats(0, 1e6)
    x, y, w, h = draw(low), draw(low), draw(extent), draw(extent)
    return [x, y, x + w, y + h]


@settings(max_examples=200, deadline=None)
@given(corrections(), st.lists(boxes(), min_size=1, max_size=5), st.sampled_from([1, 2]))
def test_boxes_are_those_of_plain_python_and_stay_boxes(correction, rows, category):
    corners = np.array(rows)
    found = correction(corners, np.full(len(rows), category, np.int32))
    assert np.isfinite(found).all()
    for row, one in zip(rows, found.tolist(), strict=True):
        np.testing.assert_allclose(one, plain(correction, row, category), rtol=1e-9, atol=1e-9)
    assert np.all(found[:, 2:] >= found[:, :2])
    apart = corners[:, 2:] > corners[:, :2]
    assert np.all((found[:, 2:] > found[:, :2])[apart.all(axis=1)])
    alone = np.concatenate([correction(row[None], np.array([category])) for row in corners])
    assert alone.tobytes() == found.tobytes(), "a box does not depend on its neighbours"


def table(**more):
    return DetectionTable.from_arrays(
        image_id=[1, 1, 2],
        category_id=[1, 2, 1],
        score=[0.3, 0.9, 0.5],
        xywh=[[10, 10, 20, 40], [0, 0, 30, 30], [5, 5, 5, 5]],
        metadata=Metadata(member="a"),
        **more,
    )


def test_the_step_moves_sides_and_leaves_the_rest():
    step = CorrectBoxes(corrections={"a": BoxCorrection(side=[[-0.1], [0.0], [0.1], [0.25]])})
    moved = apply(step, table())
    np.testing.assert_allclose(moved.xywh, [[8, 10, 24, 50], [0, 0, 33, 37.5], [4.5, 5, 6, 6.25]])
    assert moved.score.tolist() == [0.3, 0.9, 0.5]
    assert moved.member.to_pylist() == ["a"] * 3


def test_members_that_keep_their_boxes_keep_every_bit():
    step = CorrectBoxes(corrections={"a": BoxCorrection(), "b": BoxCorrection(side=[[0.1]] * 4)})
    b = DetectionTable.from_arrays(
        image_id=[1], category_id=[1], score=[0.5], xywh=[[0.1, 0.1, 0.2, 0.2]], metadata=Metadata(member="b")
    )
    a = DetectionTable.from_arrays(
        image_id=[1],
        category_id=[1],
        score=[0.5],
        xyxy=[[0.1, 0.1, 0.30000000000000004, 0.7]],
        metadata=Metadata(member="a"),
    )
    fused = apply(step, [a, b])
    names = fused.member.to_pylist()
    assert fused.far("x")[names.index("a")] == a.far("x")[0]
    assert fused.xywh[names.index("a")].tolist() == a.xywh[0].tolist()
    np.testing.assert_allclose(fused.far("x")[names.index("b")], 0.32)


def test_a_member_without_a_correction_is_named():
    with pytest.raises(InputError, match="none for member 'a'; it is for 'b'"):
        apply(CorrectBoxes(corrections={"b": BoxCorrection()}), table())


@settings(deadline=None)
@given(corrections())
def test_a_file_gives_the_same_back(correction):
    assert read_corrections({"a": toml_value(correction)}, "corrections") == {"a": correction}


@pytest.mark.parametrize(
    "values",
    [
        {"side": [[0.1], [0.1], [0.1]]},
        {"side": [[0.1, 0.2]] * 4},
        {"side": [[0.1] * 5] * 4},
        {"side": [[float("nan")]] * 4},
        {"category": {"1": [0.1]}},
        {"frame": [1.0]},
        {"spread": [1.0]},
        {"category": {"x": [0.0] * 4}},
        {"sides": []},
    ],
)
def test_what_is_no_correction_is_refused(values):
    with pytest.raises(InputError, match=r"corrections\.a"):
        read_corrections({"a": values}, "corrections")
