import warnings
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.load import make_load
from fusion import nmw
from fusion.columns import sort_columns
from fusion.errors import InputError
from fusion.run import trace
from fusion.steps.nmw import Nmw
from tests.oracles import clustering as oracle
from tests.oracles.clustering import table


@settings(max_examples=100, deadline=None)
@given(oracle.SCENES, st.booleans(), st.sampled_from([0.0, 0.3]), st.sampled_from([0.0, 0.3, 0.55, 1.0]))
def test_equals_the_plain_definition(scene, weighted, skip, iou):
    pool, cells = oracle.scene(**scene)
    weights = np.ones(len(pool.members))
    if weighted:
        weights = np.random.default_rng(scene["seed"]).random(len(weights)).round(2) + 0.01
        weights[1::3] = 0
    named = dict(zip(pool.members, weights.tolist(), strict=True))
    with np.errstate(all="ignore"):
        step = Nmw(iou=iou, weights=named if weighted else None, skip_box_threshold=skip)
        ours = oracle.listed(step.fuse(pool, sources=True))
        theirs = oracle.expected(cells, lambda boxes: oracle.nmw(boxes, weights, iou, skip))
    assert repr(ours) == repr(theirs)  # as text, so that an overflow to NaN equals itself


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 120), st.sampled_from([1, 3, 5, 40]), st.booleans())
def test_equals_the_public_package_bit_for_bit(seed, size, members, weighted):
    package = pytest.importorskip("ensemble_boxes", reason="the public package is an optional peer")
    pool, cells = oracle.scene(seed, size, members, 1)
    weights = np.random.default_rng(seed).random(members) + 0.1 if weighted else None
    boxes = np.clip([box[:4] for box in cells[0]], 0, 1)
    columns = pool.columns._replace(**{name: boxes[:, k].copy() for k, name in enumerate(("x1", "y1", "x2", "y2"))})
    given, member = (np.array([box[place] for box in cells[0]]) for place in (4, 5))
    named = None if weights is None else dict(zip(pool.members, weights.tolist(), strict=True))
    fused = Nmw(weights=named).fuse(SimpleNamespace(columns=columns, members=pool.members))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        corners, score, _ = package.non_maximum_weighted(
            [boxes[member == m] for m in range(members)],
            [given[member == m] for m in range(members)],
            [np.zeros(np.count_nonzero(member == m)) for m in range(members)],
            weights=weights,
        )
    assert np.array_equal(fused.score, score)
    assert np.array_equal(fused.corners, corners)


def test_the_mean_is_weighted_by_score_and_overlap():
    a, b = table("a", [[0, 0, 10, 10]], [0.8]), table("b", [[0, 0, 10, 8]], [0.5])
    fused, sources = trace(Nmw(), [a, b])
    np.testing.assert_allclose(fused.xywh, [[0, 0, 10, (0.8 * 10 + 0.5 * 0.8 * 8) / (0.8 + 0.5 * 0.8)]], rtol=1e-6)
    assert fused.score.tolist() == [np.float32(0.8)]
    assert fused.column("votes").tolist() == [2]
    assert sources.row.tolist() == [0, 1]


def test_weight_zero_leaves_a_member_out():
    a, b = table("a", [[0, 0, 10, 10]], [0.5]), table("b", [[0, 0, 10, 8], [40, 40, 2, 2]], [0.8, 0.7])
    assert nmw([a, b], weights={"a": 3, "b": 0}).xywh.tolist() == [[0, 0, 10, 10]]


def test_scores_of_zero_and_boxes_without_area_stay():
    fused = nmw(table("a", [[0, 0, 4, 4], [0, 0, 4, 4], [3, 3, 0, 2]], [0.0, 0.0, 0.5]))
    assert fused.xywh.tolist() == [[3, 3, 0, 2], [0, 0, 4, 4]]


def test_empty_tables_give_an_empty_table():
    assert len(nmw([table("a", [], []), table("b", [], [])])) == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"iou": -0.1}, "option iou"),
        ({"skip_box_threshold": -1}, "option skip_box_threshold"),
        ({"weights": {"a": float("inf")}}, "option weights.a"),
        ({"weights": {"b": 1}}, "there is none for 'a'"),
    ],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(InputError, match=message):
        nmw(table("a", [[0, 0, 4, 4]], [0.5]), **options)


def test_the_answer_does_not_depend_on_threads(monkeypatch):
    load = make_load(400)
    columns = sort_columns(load.image, load.category, load.score, load.x1, load.y1, load.x2, load.y2, load.member)
    pool = SimpleNamespace(columns=columns, members=tuple("abcde"))
    answers = []
    for threads in "1", "2":
        monkeypatch.setenv("QUORUM_THREADS", threads)
        fused = Nmw().fuse(pool, sources=True)
        answers.append([*fused[:5], *fused.sources])
    for one, two in zip(*answers, strict=True):
        assert np.array_equal(one, two)
