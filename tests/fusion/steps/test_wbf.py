import warnings
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.load import make_load
from fusion import wbf
from fusion.columns import sort_columns
from fusion.errors import InputError
from fusion.formulas.clusters import CONFIDENCES
from fusion.run import trace
from fusion.steps.wbf import Wbf
from tests.oracles import clustering as oracle
from tests.oracles.clustering import table


@settings(max_examples=150, deadline=None)
@given(
    oracle.SCENES,
    st.sampled_from(CONFIDENCES),
    st.sampled_from([None, "random", "some zero"]),
    st.sampled_from([0.0, 0.3]),
    st.sampled_from([0.0, 0.3, 0.55, 1.0]),
    st.booleans(),
)
def test_equals_the_plain_definition(scene, conf_type, weighted, skip, iou, overflow):
    pool, cells = oracle.scene(**scene)
    rng = np.random.default_rng(scene["seed"])
    weights = np.ones(len(pool.members)) if weighted is None else rng.random(len(pool.members)).round(2) + 0.01
    if weighted == "some zero":
        weights[1::2] = 0
    with np.errstate(all="ignore"):
        step = Wbf(
            iou=iou,
            conf_type=conf_type,
            weights=None if weighted is None else dict(zip(pool.members, weights.tolist(), strict=True)),
            skip_box_threshold=skip,
            allows_overflow=overflow,
        )
        ours = oracle.listed(step.fuse(pool, sources=True))
        theirs = oracle.expected(cells, lambda boxes: oracle.wbf(boxes, weights, iou, conf_type, skip, overflow))
    assert repr(ours) == repr(theirs)  # as text, so that an overflow to NaN equals itself


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32),
    st.integers(1, 120),
    st.sampled_from([1, 3, 5, 9, 40]),
    st.sampled_from(CONFIDENCES),
    st.booleans(),
    st.booleans(),
)
def test_equals_the_public_package_bit_for_bit(seed, size, members, conf_type, weighted, overflow):
    package = pytest.importorskip("ensemble_boxes", reason="the public package is an optional peer")
    pool, cells = oracle.scene(seed, size, members, 1)
    weights = np.random.default_rng(seed).random(members) + 0.1 if weighted else None
    boxes = np.clip([box[:4] for box in cells[0]], 0, 1)
    clipped = pool.columns._replace(**{name: boxes[:, k].copy() for k, name in enumerate(("x1", "y1", "x2", "y2"))})
    score, member = (np.array([box[place] for box in cells[0]]) for place in (4, 5))
    fused = Wbf(
        conf_type=conf_type,
        weights=None if weights is None else dict(zip(pool.members, weights.tolist(), strict=True)),
        allows_overflow=overflow,
    ).fuse(SimpleNamespace(columns=clipped, members=pool.members))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        corners, fused_score, _ = package.weighted_boxes_fusion(
            [boxes[member == m] for m in range(members)],
            [score[member == m] for m in range(members)],
            [np.zeros(np.count_nonzero(member == m)) for m in range(members)],
            weights=weights,
            conf_type=conf_type,
            allows_overflow=overflow,
        )
    assert np.array_equal(fused.score, fused_score)
    assert np.array_equal(fused.corners, corners)


def test_two_members_agree_and_one_box_is_alone():
    a = table("a", [[10, 10, 20, 20], [100.1, 50, 30, 30]], [0.9, 0.6])
    b = table("b", [[12, 10, 20, 20]], [0.6])
    fused, sources = trace(Wbf(), [a, b])
    assert fused.column("votes").tolist() == [2, 1]
    np.testing.assert_allclose(fused.xywh[0], [10.8, 10, 20, 20], rtol=1e-6)
    np.testing.assert_allclose(fused.score, [0.75, 0.3], rtol=1e-7)
    assert sources.start.tolist() == [0, 2, 3]
    assert sources.row.tolist() == [0, 2, 1]
    # a box alone keeps its float64 corners
    assert fused.xywh[1].tolist()[:2] == [100.1, 50.0]


def test_pixels_and_negative_coordinates_are_used_as_they_are():
    a = table("a", [[-30, -20, 40, 40]], [0.9])
    b = table("b", [[-30, -20, 40, 44]], [0.9])
    np.testing.assert_allclose(wbf([a, b]).xywh, [[-30, -20, 40, 42]])


def test_members_without_a_box_in_the_cell_count():
    a = table("a", [[0, 0, 1, 1]], [0.9])
    b = table("b", [[0, 0, 1, 1]], [0.9], category=2)
    c = table("c", [], [])
    assert wbf([a, b, c]).score.tolist() == [0.9 / 3, 0.9 / 3]


def test_boxes_without_area_stay_alone():
    a = table("a", [[5, 5, 0, 3], [5, 5, 0, 3]], [0.9, 0.8])
    fused = wbf(a)
    assert fused.xywh.tolist() == [[5, 5, 0, 3], [5, 5, 0, 3]]


def test_scores_of_zero_keep_the_first_box():
    a = table("a", [[0, 0, 4, 4], [0, 0, 4, 5]], [0.0, 0.0])
    fused = wbf(a)
    assert fused.xywh.tolist() == [[0, 0, 4, 4]]
    assert fused.score.tolist() == [0.0]


def test_weight_zero_leaves_a_member_out():
    a = table("a", [[0, 0, 4, 4]], [0.5])
    b = table("b", [[0, 0, 5, 5], [50, 50, 5, 5]], [0.9, 0.8])
    fused = wbf([a, b], weights={"a": 1, "b": 0})
    assert fused.xywh.tolist() == [[0, 0, 4, 4]]
    assert fused.score.tolist() == [0.5]


def test_empty_tables_give_an_empty_table():
    fused, sources = trace(Wbf(), [table("a", [], []), table("b", [], [])])
    assert len(fused) == 0
    assert sources.start.tolist() == [0]


def test_a_step_that_leaves_nothing():
    assert len(wbf(table("a", [[0, 0, 4, 4]], [0.5]), skip_box_threshold=0.6)) == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"iou": 1.5}, "option iou"),
        ({"conf_type": "mean"}, "option conf_type"),
        ({"skip_box_threshold": -1}, "option skip_box_threshold"),
        ({"weights": {"a": -1, "b": 1}}, "option weights.a"),
        ({"weights": {"a": float("nan"), "b": 1}}, "option weights.a"),
        ({"weights": {"b": 1}}, "there is none for 'a'"),
        ({"weights": {"a": 0, "b": 0}}, "all members have weight 0"),
    ],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(InputError, match=message):
        wbf([table("a", [[0, 0, 4, 4]], [0.5]), table("b", [[0, 0, 4, 4]], [0.5])], **options)


def grid_pool(side, members):
    """`side` squared places, far apart, each found by every member with a little noise."""
    rng = np.random.default_rng(0)
    y, x, member = (axis.ravel() for axis in np.meshgrid(range(side), range(side), range(members), indexing="ij"))
    low = np.stack([x, y]) * 10.0 + rng.random((2, len(x)))
    zero = np.zeros(len(x), np.int32)
    columns = sort_columns(zero, zero, rng.random(len(x)), *low, *(low + 9), member.astype(np.int16))
    return SimpleNamespace(columns=columns, members=tuple(f"m{m}" for m in range(members)))


def test_a_cell_of_ten_thousand_boxes():
    pool = grid_pool(50, 4)
    fused = Wbf(iou=0.4).fuse(pool, sources=True)
    assert len(fused.row) == 2500
    assert (fused.votes == 4).all()
    assert sorted(fused.sources.row.tolist()) == list(range(10_000))
    assert (np.diff(fused.score) <= 0).all()


def test_the_answer_does_not_depend_on_threads(monkeypatch):
    load = make_load(400)
    columns = sort_columns(load.image, load.category, load.score, load.x1, load.y1, load.x2, load.y2, load.member)
    pool = SimpleNamespace(columns=columns, members=tuple("abcde"))
    answers = []
    for threads in "1", "2":
        monkeypatch.setenv("QUORUM_THREADS", threads)
        fused = Wbf(conf_type="absent_model_aware_avg").fuse(pool, sources=True)
        answers.append([*fused[:5], *fused.sources])
    assert len(columns.row) > 2 * 65536
    for one, two in zip(*answers, strict=True):
        assert np.array_equal(one, two)
    cell, row, score = answers[0][:3]
    assert (np.lexsort((row, -score, cell)) == np.arange(len(cell))).all()
