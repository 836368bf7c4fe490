"""Weights of sides in means: against the oracles, by hand, from files, and on a GPU that does not know them."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fusion
from fusion.box_corrections import BoxCorrection
from fusion.box_weights import box_weights_of
from fusion.errors import InputError
from fusion.learned import TunedOn, write_learned
from fusion.method_plan import MethodOptions, method_plan
from fusion.recipe import Recipe
from fusion.recipe_file import read_recipe
from fusion.recipe_toml import parse_recipe
from fusion.run import apply, trace
from fusion.steps.nmw import Nmw
from fusion.steps.vote import Vote
from fusion.steps.wbf import Wbf
from tests.oracles import clustering, suppression
from tests.oracles.clustering import table

ROWS = {"a": (1.0, 1.0, 1.0, 1.0), "b": (3.0, 1.0, 2.0, 0.5)}
METHODS = pytest.mark.parametrize("method", [Wbf, Nmw, Vote])


def drawn(seed, members, ratio):
    """Weights of sides, up to so many times one another: raw, and as shares of the largest."""
    raw = ratio ** np.random.default_rng((seed, 7)).random((members, 4))
    return raw, (raw / raw.max(axis=0)).tolist()


def named(raw):
    return {f"m{m}": row for m, row in enumerate(raw.tolist())}


@settings(max_examples=120, deadline=None)
@given(
    clustering.SCENES,
    st.sampled_from([1.5, 30.0, 1e9]),
    st.sampled_from([0.0, 0.05, 0.3, 0.55, 1.0]),
    st.booleans(),
    st.sampled_from([0.0, 0.3]),
)
def test_wbf_and_nmw_equal_the_plain_definition(scene, ratio, iou, weighted, skip):
    pool, cells = clustering.scene(**scene)
    raw, sides = drawn(scene["seed"], len(pool.members), ratio)
    weights = np.ones(len(pool.members))
    if weighted:
        weights = np.random.default_rng(scene["seed"]).random(len(weights)).round(2) + 0.01
    how = {"iou": iou, "weights": dict(zip(pool.members, weights.tolist(), strict=True)), "skip_box_threshold": skip}
    how |= {"box_weights": named(raw)}
    with np.errstate(all="ignore"):
        ours = clustering.listed(Wbf(**how).fuse(pool, sources=True))
        theirs = clustering.expected(cells, lambda boxes: clustering.wbf(boxes, weights, iou, skip=skip, sides=sides))
        assert repr(ours) == repr(theirs)  # as text, so that an overflow to NaN equals itself
        ours = clustering.listed(Nmw(**how).fuse(pool, sources=True))
        theirs = clustering.expected(cells, lambda boxes: clustering.nmw(boxes, weights, iou, skip, sides))
        assert repr(ours) == repr(theirs)


@settings(max_examples=80, deadline=None)
@given(
    st.integers(0, 2**32),
    st.integers(1, 90),
    st.sampled_from([1, 3, 40]),
    st.sampled_from([1, 2, 4, 1000]),
    st.sampled_from([0.0, 0.3, 1.0]),
    st.sampled_from([0.0, 1 / 3, 0.5]),
    st.sampled_from([1.5, 30.0, 1e9]),
    st.booleans(),
)
def test_vote_equals_the_plain_definition(seed, size, members, k, box, iou, ratio, ties):
    pool, cells = suppression.scene(seed, size, members=members, scale=640.0, ties=ties)
    raw, sides = drawn(seed, members, ratio)
    pool = SimpleNamespace(columns=pool.columns, voices=(tuple(f"m{m}" for m in range(members)), pool.columns.member))
    fused = Vote(k=k, box=box, iou=iou, box_weights=named(raw)).fuse(pool, sources=True)
    expected = suppression.expected(cells, suppression.vote, k=k, box=box, threshold=iou, sides=sides)
    assert suppression.listed(fused) == expected


@settings(max_examples=60, deadline=None)
@given(clustering.SCENES, st.sampled_from([0.001, 0.3, 1.0, 7.0]), st.sampled_from([0.0, 0.4, 0.55]))
def test_equal_weights_leave_every_bit(scene, weight, iou):
    pool, _ = clustering.scene(**scene)
    equal = dict.fromkeys(pool.members, (weight, weight, 2 * weight, weight))
    with np.errstate(all="ignore"):
        for kind in (Wbf, Nmw):
            with_weights = clustering.listed(kind(iou=iou, box_weights=equal).fuse(pool, sources=True))
            assert repr(with_weights) == repr(clustering.listed(kind(iou=iou).fuse(pool, sources=True)))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 90), st.sampled_from([0.0, 0.3, 1.0]))
def test_equal_weights_leave_votes_but_for_rounding(seed, size, box):
    pool, _ = suppression.scene(seed, size, members=2)
    pool = SimpleNamespace(columns=pool.columns, voices=(("a", "b"), pool.columns.member))
    ours = Vote(box=box, box_weights=dict.fromkeys("ab", (0.3, 1, 2, 3))).fuse(pool, sources=True)
    plain = Vote(box=box).fuse(pool, sources=True)
    for one, other in zip(
        (*ours[:3], ours.votes, *ours.sources), (*plain[:3], plain.votes, *plain.sources), strict=True
    ):
        assert np.array_equal(one, other)
    np.testing.assert_allclose(ours.corners, plain.corners, rtol=1e-12, atol=1e-12)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.integers(2, 90), st.sampled_from([0.0, 0.02, 0.2]))
def test_sides_never_cross_and_stay_within_the_boxes_behind(seed, size, iou):
    pool, _ = clustering.scene(seed, size, 5, 2, scale=640.0)
    raw, _ = drawn(seed, 5, 1e12)
    corners = np.empty((size, 4))
    corners[pool.columns.row] = np.stack(pool.columns[:4], axis=1)
    for kind in (Wbf, Nmw, Vote):
        fused = kind(iou=iou, box_weights=named(raw)).fuse(pool, sources=True)
        assert (fused.corners[:, 2:] > fused.corners[:, :2]).all()
        for box, rows in zip(fused.corners, np.split(fused.sources.row, fused.sources.start[1:-1]), strict=True):
            assert (box >= corners[rows].min(axis=0) - 1e-4).all()
            assert (box <= corners[rows].max(axis=0) + 1e-4).all()


def test_sides_that_would_cross_stay():
    a, b = table("a", [[0, 0, 10, 10]], [0.9]), table("b", [[8, 0, 30, 10]], [0.8])
    # the left side is all but b's, the right one a's: 8 to 10
    apart = {"a": (1e-9, 1, 1e9, 1), "b": (1e9, 1, 1e-9, 1)}
    for step in (Wbf(iou=0.05, box_weights=apart), Nmw(iou=0.05, box_weights=apart)):
        np.testing.assert_allclose(apply(step, [a, b]).xywh, [[8, 0, 2, 10]], rtol=1e-5)
    c = table("c", [[9, 0, 4, 10]], [0.7])
    # of the three, c would have the left side at 9 and a, with more weight than b, the right one at 8.9
    a = table("a", [[0, 0, 8.9, 10]], [0.9])
    apart = {"a": (1e-12, 1, 1e12, 1), "b": (1, 1, 1, 1), "c": (1e12, 1, 1e-12, 1)}
    fused = apply(Wbf(iou=0.01, box_weights=apart), [a, b, c])
    assert (fused.column("w") > 0).all()


def test_by_hand():
    a, b = table("a", [[0, 0, 10, 10]], [0.8]), table("b", [[2, 0, 10, 8]], [0.4])
    fused = apply(Wbf(box_weights=ROWS), [a, b])
    left, right = (0.4 * 3 * 2) / (0.8 + 0.4 * 3), (0.8 * 10 + 0.4 * 2 * 12) / (0.8 + 0.4 * 2)
    bottom = (0.8 * 10 + 0.4 * 0.5 * 8) / (0.8 + 0.4 * 0.5)
    np.testing.assert_allclose(fused.xywh, [[left, 0, right - left, bottom]], rtol=1e-6)
    assert fused.score.tolist() == apply(Wbf(), [a, b]).score.tolist()
    fused, sources = trace(Vote(box_weights=ROWS), [a, b])
    left, right = (0.3 * 3 * 2) / (0.7 + 0.3 * 3), (0.7 * 10 + 0.3 * 2 * 12) / (0.7 + 0.3 * 2)
    np.testing.assert_allclose(fused.xywh[0, [0, 2]], [left, right - left], rtol=1e-12)
    assert sources.row.tolist() == [0, 1]


def test_a_cluster_is_matched_by_its_weighed_box():
    """The third box overlaps the mean by more than the threshold only where b's side counts little."""
    tables = [
        table("a", [[0, 0, 10, 10]], [0.9]),
        table("b", [[0, 0, 14, 10]], [0.8]),
        table("c", [[0, 0, 8, 10]], [0.1]),
    ]
    even = dict.fromkeys("abc", (1.0, 1.0, 1.0, 1.0))
    assert len(apply(Wbf(iou=0.7, box_weights=even), tables)) == 2
    assert len(apply(Wbf(iou=0.7, box_weights=even | {"b": (1, 1, 0.01, 1)}), tables)) == 1


@METHODS
def test_across_categories_too(method):
    a, b = table("a", [[0, 0, 10, 10]], [0.8]), table("b", [[2, 0, 10, 8]], [0.4], category=2)
    within = apply(method(box_weights=ROWS), [a, table("b", [[2, 0, 10, 8]], [0.4])])
    across = apply(method(box_weights=ROWS, across_categories=True), [a, b]) if method is not Nmw else within
    assert across.xywh.tolist() == within.xywh.tolist()


def test_weights_from_spread():
    spread = {"a": (0.02, 0.04, 0.0, 0.02), "b": (0.04, 0.04, 0.04, 0.0), "c": (0.04, 0.04, 0.04, 0.0)}
    corrections = {name: BoxCorrection(spread=row) for name, row in spread.items()} | {"d": BoxCorrection()}
    weights = box_weights_of(corrections)
    rows = np.array([weights[name] for name in "abc"])
    np.testing.assert_allclose(rows.mean(axis=0), 1)
    np.testing.assert_allclose(rows[0] / rows[1], [4, 1, 16, 0.001**2 / 0.02**2])
    assert weights["d"] == (1, 1, 1, 1)
    assert box_weights_of({"d": BoxCorrection()}) == {"d": (1, 1, 1, 1)}
    assert box_weights_of({name: BoxCorrection(spread=(0.0,) * 4) for name in "ab"}) == dict.fromkeys("ab", (1.0,) * 4)


@pytest.fixture
def learned(tmp_path):
    spread = {"a": BoxCorrection(spread=(0.02, 0.04, 0.04, 0.04)), "b": BoxCorrection(spread=(0.04,) * 4)}
    write_learned(tmp_path / "boxes.toml", "corrections", spread, TunedOn(fingerprint="f", images=7, note="n"))
    return tmp_path / "boxes.toml", box_weights_of(spread)


@METHODS
def test_a_recipe_may_name_the_file(method, learned):
    path, weights = learned
    name = method.__name__.lower()
    written = path.with_name("recipe.toml")
    written.write_text(f'recipe = 1\n[nodes.output]\nstep = "{name}"\ninputs = ["*"]\nbox_weights = "boxes.toml"\n')
    recipe = read_recipe(written)
    assert recipe.nodes["output"].step == method(box_weights=weights)
    assert recipe.tuned_on.fingerprint == "f"
    assert parse_recipe(recipe.to_toml()) == recipe


@METHODS
def test_the_command_line_reads_the_file(method, learned):
    path, weights = learned
    plan = method_plan(method.__name__.lower(), MethodOptions(box_weights=path))
    assert plan.nodes["output"].step == method(box_weights=weights)
    assert plan.tuned_on.images == 7


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"a": (1, 1, 1, 0), "b": (1, 1, 1, 1)}, r"option box_weights\.a: expected four numbers above 0"),
        ({"a": (1, 1, 1), "b": (1, 1, 1, 1)}, r"option box_weights\.a: expected four numbers above 0"),
        ({"a": 1.0, "b": (1, 1, 1, 1)}, r"option box_weights\.a: expected four numbers above 0, got 1"),
        ({"a": "1234", "b": (1, 1, 1, 1)}, r"option box_weights\.a: expected four"),
        ({"a": (1, 1, float("nan"), 1)}, r"option box_weights\.a: expected four"),
        ({"a": (1, 1, float("inf"), 1)}, r"option box_weights\.a: expected four"),
        ({"b": (1, 1, 1, 1)}, "option box_weights: there is none for 'a'; they are for 'b'"),
    ],
)
@METHODS
def test_what_is_no_weight_is_named(method, weights, message):
    with pytest.raises(InputError, match=message):
        apply(method(box_weights=weights), [table("a", [[0, 0, 4, 4]], [0.5]), table("b", [[0, 0, 4, 4]], [0.5])])


def test_a_recipe_says_what_is_wrong_with_numbers():
    text = 'recipe = 1\n[nodes.output]\nstep = "wbf"\ninputs = ["*"]\n[nodes.output.box_weights]\na = [1, 2, 3]\n'
    with pytest.raises(
        InputError, match=r"node 'output'.*box_weights\.a: expected four numbers above 0, got \[1, 2, 3\]"
    ):
        parse_recipe(text)


@METHODS
def test_no_detections(method):
    fused, sources = trace(method(box_weights=ROWS), [table("a", [], []), table("b", [], [])])
    assert len(fused) == 0
    assert sources.start.tolist() == [0]


@METHODS
def test_on_the_gpu_it_runs_on_the_cpu_and_says_so(method, backend, monkeypatch):
    if backend == "cpu":
        pytest.skip("there is nothing to say on the CPU")
    monkeypatch.setattr("fusion.run._said", set())
    tables = [table("a", [[0, 0, 10, 10]], [0.8]), table("b", [[2, 0, 10, 8]], [0.4])]
    name = method.__name__.lower()
    with pytest.warns(UserWarning, match=f"{name} with box weights runs on the CPU: it has no twin on the GPU"):
        fused = Recipe.chain([method(box_weights=ROWS)]).fuse(tables, device="cuda")
    assert fused.arrow.to_pylist() == getattr(fusion, name)(tables, box_weights=ROWS).arrow.to_pylist()
