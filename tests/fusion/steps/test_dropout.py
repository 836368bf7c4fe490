import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fusion import concat, dropout
from fusion.errors import InputError
from fusion.pool import pool_tables
from fusion.recipe_toml import parse_recipe
from fusion.run import trace
from fusion.steps.dropout import Dropout
from fusion.table import DetectionTable
from fusion.table_columns import MASK_TYPE
from tests.oracles import partners as oracle


def table(rows, member, **more):
    columns = list(zip(*rows, strict=True)) or [()] * 7
    return DetectionTable.from_arrays(
        image_id=columns[0],
        category_id=columns[1],
        score=columns[2],
        xywh=np.array([row[3:7] for row in rows], float).reshape(-1, 4),
        **more,
    ).with_metadata(member=member)


ROW = st.tuples(
    st.integers(1, 2),
    st.integers(1, 2),
    st.sampled_from([0.0, 0.3, 0.6, 0.9]),
    st.integers(0, 3),
    st.integers(0, 3),
    st.sampled_from([0, 4, 6]),
    st.sampled_from([4, 6]),
)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(ROW, max_size=12),
    st.lists(ROW, max_size=12),
    st.sampled_from(["scores", "boxes"]),
    st.sampled_from([0, 0.5]),
)
def test_equals_the_plain_definition(left, right, part, iou):
    left, right = (sorted(rows, key=lambda row: row[0]) for rows in (left, right))
    corners = [(*row[:5], row[3] + row[5], row[4] + row[6], k) for k, row in enumerate([*left, *right])]
    expected = oracle.pairs(corners[: len(left)], corners[len(left) :], iou)
    rows = [*left, *right]
    if part == "scores":
        expected = [(b, (*rows[b][:2], rows[a][2], *rows[b][3:]), {a, b}) for a, b in expected]
    else:
        expected = [(a, (*rows[a][:2], rows[b][2], *rows[a][3:]), {a, b}) for a, b in expected]
    expected.sort()
    tables = [table(left, "l"), table(right, "r")]
    fused, sources = trace(Dropout(part=part, iou=iou), tables)
    columns = [fused.image_id, fused.category_id, fused.score, *fused.xywh.T]
    assert list(zip(*(column.tolist() for column in columns), strict=True)) == [row for _, row, _ in expected]
    assert [set(pair) for pair in sources.row.reshape(-1, 2).tolist()] == [pair for _, _, pair in expected]
    assert Dropout(part=part, iou=iou).fuse(pool_tables(tables)).row.tolist() == [row for row, _, _ in expected]


LEFT = [(1, 1, 0.9, 0, 0, 10, 10), (1, 1, 0.8, 0, 0, 10, 9), (1, 1, 0.7, 50, 0, 10, 10), (1, 2, 0.6, 0, 0, 10, 10)]
RIGHT = [(1, 1, 0.5, 0, 0, 10, 8), (1, 1, 0.4, 0, 0, 10, 5), (1, 2, 0.3, 0, 0, 10, 8)]


def test_scores_move_onto_the_other_boxes():
    fused, sources = trace(Dropout(), [table(LEFT, "l"), table(RIGHT, "r")])
    assert fused.score.tolist() == [0.9, 0.6]  # of two with one partner the better; one without is dropped
    assert fused.xywh.tolist() == [[0, 0, 10, 8], [0, 0, 10, 8]]
    assert fused.metadata.member == "l"
    assert fused.member is None
    assert sources.row.tolist() == [0, 4, 3, 6]


def test_boxes_take_the_other_scores():
    fused, sources = trace(Dropout(part="boxes"), [table(LEFT, "l"), table(RIGHT, "r")])
    assert fused.score.tolist() == [0.5, 0.3]
    assert fused.xywh.tolist() == [[0, 0, 10, 10], [0, 0, 10, 10]]
    assert sources.row.tolist() == [0, 4, 3, 6]


def test_masks_go_with_the_boxes_and_members_with_left():
    masks = pa.array([{"height": 20, "width": 20, "counts": b"a"}] + [None] * 2, MASK_TYPE)
    left, other = table(LEFT[:1], "l1"), table(LEFT[3:], "l2")
    right = table(RIGHT, "r", mask=masks, view=["x", "y", "z"], votes=[1, 2, 3])
    fused = dropout([concat([left, other]), right])
    assert [None if m is None else m["counts"] for m in fused.mask.to_pylist()] == [b"a", None]
    assert fused.arrow["view"].to_pylist() == ["x", "z"]
    assert fused.member.to_pylist() == ["l1", "l2"]
    assert "votes" not in fused.arrow.column_names
    assert dropout([concat([left, other]), right], part="boxes").mask is None


def test_what_is_left_can_be_fused_with_right():
    recipe = parse_recipe(
        """
        recipe = 1
        [nodes.left_scores]
        step = "dropout"
        inputs = ["l", "r"]
        part = "scores"
        [nodes.output]
        step = "wbf"
        inputs = ["left_scores", "r"]
        iou = 0.7
        """
    )
    fused = recipe.fuse([table(LEFT, "l"), table(RIGHT, "r")])
    assert fused.score.tolist() == pytest.approx([0.7, 0.2, 0.45])
    assert fused.column("h").tolist() == pytest.approx([8, 5, 8])
    assert parse_recipe(recipe.to_toml()).to_toml() == recipe.to_toml()


def test_empty_and_bad_input():
    none = table([], "n")
    assert len(dropout([none, table(RIGHT, "r")])) == 0
    assert len(dropout([table(LEFT, "l"), none], part="boxes")) == 0
    with pytest.raises(InputError, match="expected two inputs, left and right, got 1"):
        dropout(table(LEFT, "l"))
    with pytest.raises(InputError, match="option part: expected one of scores, boxes"):
        Dropout(part="left")
    with pytest.raises(InputError, match="option iou"):
        Dropout(iou=-1)


def test_threads_change_nothing(monkeypatch):
    rng = np.random.default_rng(0)
    n = 40_000
    rows = list(zip(np.sort(rng.integers(0, 5000, n)), [1] * n, rng.random(n), *rng.random((4, n)), strict=True))
    answers = []
    for threads in "1", "2":
        monkeypatch.setenv("QUORUM_THREADS", threads)
        answers.append(dropout([table(rows[::2], "l"), table(rows[1::2], "r")], iou=0.1).arrow)
    assert answers[0] == answers[1]
    assert len(answers[0])
