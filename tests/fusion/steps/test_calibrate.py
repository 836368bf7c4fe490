import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fusion import calibrate
from fusion.errors import InputError
from fusion.recipe import Recipe
from fusion.recipe_toml import parse_recipe
from fusion.score_maps import CategoryMaps, ScoreMap
from fusion.steps.calibrate import Calibrate
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


def test_platt_is_a_sigmoid():
    platt = ScoreMap(kind="platt", score=[-1.0, 3.0], value=[0.1, 0.9])
    score = np.array([-50.0, -1.0, 0.0, 1.0, 3.0, 9.0])
    slope = np.log(9) / 2
    np.testing.assert_allclose(platt(score), 1 / (1 + np.exp(-slope * (score - 1))), rtol=1e-12)
    assert 0 < platt(np.array([-1e300]))[0] < platt(np.array([1e300]))[0] < 1


MAPS = {
    "isotonic": ScoreMap(kind="isotonic", score=[0.0, 1.0, 2.0], value=[0.4, 0.4 + 1e-15, 0.9]),
    "linear": ScoreMap(kind="linear", score=[0.0, 1.0], value=[0.1, 0.2]),
    "platt": ScoreMap(kind="platt", score=[0.4, 0.6], value=[0.1, 0.9]),
    "rank": ScoreMap(kind="rank", score=[0.5], value=[0.5]),
}


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(list(MAPS)),
    st.lists(
        st.floats(-3, 3) | st.sampled_from([0.5, 0.5 + 1e-16, 1e-300, 1 + 1e-15, 1 + 2e-15, -1e9, 1e9]), max_size=40
    ),
)
def test_order_and_ties_stay_exactly(kind, scores):
    mapped = calibrate(table("a", scores), maps={"a": MAPS[kind]}).score
    assert np.array_equal(np.unique(scores, return_inverse=True)[1], np.unique(mapped, return_inverse=True)[1])
    assert np.all((mapped > 0) & (mapped < 1))


def test_rounding_moves_scores_by_last_digits_only():
    close = 0.5 + np.arange(2000) * 2.0**-52  # the map's step between two of these is far below a float's
    mapped = calibrate(table("a", close), maps={"a": MAPS["isotonic"]}).score
    assert np.all(np.diff(mapped) > 0)
    np.testing.assert_allclose(mapped, MAPS["isotonic"](close), rtol=1e-12)


def by_category(member, rows):
    return DetectionTable.from_arrays(
        image_id=[1] * len(rows),
        category_id=[category for category, _ in rows],
        score=[score for _, score in rows],
        xywh=np.ones((len(rows), 4)),
    ).with_metadata(member=member)


def test_categories_with_and_without_their_own_map():
    own = ScoreMap(kind="isotonic", score=[0.0, 10.0], value=[0.2, 0.8])
    maps = CategoryMaps(pooled=MAP, category={7: own, 99: own})
    detections = [by_category("a", [(7, 5.0), (3, 5.0), (7, 10.0), (4, 10.0)]), by_category("b", [(7, 5.0)])]
    fused = calibrate(detections, maps={"a": maps, "b": MAP})
    assert fused.score.tolist() == pytest.approx([0.5, 0.1, 0.8, 0.4, 0.1])


def test_recipe_keeps_every_map():
    maps = {"a": CategoryMaps(pooled=MAP, category={7: MAPS["platt"]}), "b": MAPS["linear"]}
    recipe = Recipe.chain([Calibrate(maps=maps)])
    again = parse_recipe(recipe.to_toml())
    assert again.nodes["output"].step.maps == maps
    assert again.to_toml() == recipe.to_toml()
    text = recipe.to_toml().replace("[nodes.output.maps.a.category.7]", "[nodes.output.maps.a.category.seven]")
    with pytest.raises(InputError, match="expected category ids as keys"):
        parse_recipe(text)
    with pytest.raises(InputError, match=r"maps\.a: key 'other' is unknown"):
        parse_recipe(recipe.to_toml() + "\n[nodes.output.maps.a.other]\nx = 1\n")


def test_errors():
    with pytest.raises(InputError, match="platt has two knots"):
        ScoreMap(kind="platt", score=[1.0], value=[0.5])
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
