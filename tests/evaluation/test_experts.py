import math

import numpy as np
import pytest

from evaluation.comparison import Difference
from evaluation.experts import RULES, _likely, learn_experts
from evaluation.ground_truth import GroundTruth
from evaluation.learning import tuned_on
from evaluation.prepared import prepare
from evaluation.statistics import Replicates, bootstrap
from fusion import select_experts
from fusion.errors import InputError
from fusion.learned import write_learned
from fusion.recipe_toml import parse_recipe
from zoo.synthetic.simulated import Scenario, Skill, simulate


def replicates(observed, spread, seed, draws="same"):
    """Replicates of categories with given AP, errors of their own."""
    rng = np.random.default_rng(seed)
    observed = np.array(observed, float)
    return Replicates(
        images=500,
        units=500,
        draws=draws,
        category_ids=np.arange(1, len(observed) + 1, dtype=np.int32),
        category_names=tuple("abcdefgh"[: len(observed)]),
        observed={"AP": float(np.nanmean(observed))},
        values={"AP": rng.normal(size=400)},
        category_observed=observed,
        category_values=observed + rng.normal(0, spread, (400, len(observed))),
    )


def test_gives_what_is_told_and_nothing_else():
    base = replicates([0.3, 0.3, 0.3, 0.3, np.nan, 0.0], [0.01] * 6, 0)
    one = replicates([0.4, 0.32, 0.5, 0.0, np.nan, 0.2], [0.01, 0.1, 0.01, 0.0, 0.1, 0.01], 1)
    two = replicates([0.5, 0.29, 0.2, 0.0, np.nan, 0.0], [0.01, 0.01, 0.01, 0.0, 0.1, 0.0], 2)
    learned = learn_experts(("base", base), {"one": one, "two": two}, rule="told")
    assert learned.categories == {"one": [3, 6], "two": [1]}
    assert learned.weights == {"one": {3: pytest.approx(0.5 / 0.3), 6: 10.0}, "two": {1: pytest.approx(0.5 / 0.3)}}
    assert [(row.category_id, row.expert, row.given) for row in learned.rows] == [
        (1, "two", True),
        (3, "one", True),
        (6, "one", True),
        (2, "one", False),
    ]
    assert learned.rows[0].difference.low > 0.15
    assert len(learned.to_table().rows) == 4


@pytest.mark.parametrize("rule", RULES)
def test_luck_gives_nothing_away(rule):
    given = 0
    rng = np.random.default_rng(0)
    for seed in range(40):
        base = replicates(0.3 + rng.normal(0, 0.03, 8), 0.03, (seed, 0))
        expert = replicates(0.3 + rng.normal(0, 0.03, 8), 0.03, (seed, 1))
        given += len(learn_experts(("base", base), {"expert": expert}, rule=rule).categories["expert"])
    # 160 of 320 have the larger AP
    assert given <= (6 if rule == "told" else 24)


def test_what_is_known_of_other_categories_counts():
    gains = np.array([0.1, 0.11, 0.09, 0.1, 0.12, 0.02, 0.1, 0.1])
    base = replicates([0.3] * 8, [0.0] * 8, 0)
    better = replicates(0.3 + gains, [0.03] * 5 + [0.06] * 3, 1)
    lone = replicates(0.3 + gains * [0, 0, 0, 0, 0, 1, 0, 1], [0.03] * 5 + [0.06] * 3, 1)
    ids = {rule: learn_experts(("base", base), {"e": better}, rule=rule).categories["e"] for rule in RULES}
    # a category that alone says little goes with the others; on its own it would not
    assert ids["likely"] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert 6 not in ids["told"]
    assert learn_experts(("base", base), {"e": lone}).categories["e"] == []


def test_probabilities_against_the_textbook():
    gain, error = np.array([0.05, -0.02, 0.08, 0.0, 0.03]), np.array([0.03, 0.02, 0.04, 0.03, 0.02])
    rows = [Difference(0.3, 0.3 + g, g, g - e, g + e, e, 0.5, 0.5) for g, e in zip(gain, error, strict=True)]
    rows.append(Difference(0.3, 0.6, 0.3, math.nan, math.nan, math.nan, math.nan, 1.0))  # too few images
    rows.append(Difference(0.3, 0.0, -0.3, -0.4, -0.2, 0.05, 0.0, 0.0))  # finds nothing
    # DerSimonian and Laird by hand
    v = error**2
    fixed = np.sum(gain / v) / np.sum(1 / v)
    tau2 = (np.sum((gain - fixed) ** 2 / v) - 4) / (np.sum(1 / v) - np.sum(1 / v**2) / np.sum(1 / v))
    assert tau2 > 0
    mean = np.sum(gain / (v + tau2)) / np.sum(1 / (v + tau2))
    doubt = 1 / np.sum(1 / (v + tau2))
    draws = np.random.default_rng(0)
    mu = draws.normal(mean, math.sqrt(doubt), 400_000)
    for k in range(5):
        post = (gain[k] * tau2 + mu * v[k]) / (tau2 + v[k])
        sample = draws.normal(post, math.sqrt(tau2 * v[k] / (tau2 + v[k])))
        assert _likely(rows)[k] == pytest.approx((sample > 0).mean(), abs=0.004)
    assert _likely(rows)[5] == pytest.approx((draws.normal(mu, math.sqrt(tau2)) > 0).mean(), abs=0.004)
    assert _likely(rows)[6] == 0


@pytest.fixture(scope="module")
def simulated():
    scenario = Scenario(images=400, categories=6, zipf=0.5, crowd=0)
    own = {1: 0.8, 2: 0.0, 3: -0.5}
    skills = [
        Skill(name="base", recall=0.75, separation=2.0),
        Skill(name="expert", recall=0.75, separation=2.0, category_skill=own),
    ]
    simulation = simulate(scenario, skills, 1)
    truth = simulation.annotations
    annotations = GroundTruth.from_arrays(
        image_id=np.arange(1, scenario.images + 1),
        category_id=np.arange(1, scenario.categories + 1),
        annotation_image_id=truth.image_id,
        annotation_category_id=truth.category_id,
        xywh=truth.xywh,
    )
    base, expert = (member.table() for member in simulation.members)
    return annotations, base, expert.select_categories([1, 2, 3])


def test_simulated_expert(simulated, tmp_path):
    truth, base, expert = simulated
    prepared = prepare(truth)
    drawn = [bootstrap(prepared.evaluate(table), replicates=200, drawn=("AP",)) for table in (base, expert)]
    learned = learn_experts(("base", drawn[0]), {"expert": drawn[1]})
    assert learned.categories == {"expert": [1]}
    assert {row.category_id for row in learned.rows} == {1, 2, 3}
    fused = select_experts([base, expert], categories=learned.categories)
    ap = prepared.evaluate(fused).average_precision_per_category
    parts = [prepared.evaluate(table).average_precision_per_category for table in (base, expert)]
    assert ap.tolist() == [parts[1][0], *parts[0][1:]]
    path = tmp_path / "experts.toml"
    write_learned(path, "categories", learned.categories, tuned_on(truth, "test"), weights=learned.weights)
    head = 'recipe = 1\n[nodes.output]\nstep = "select_experts"\ninputs = ["base", "expert"]\n'
    recipe = parse_recipe(head + 'categories = "experts.toml"', tmp_path / "recipe.toml")
    assert recipe.fuse([expert, base]).score.tolist() == fused.score.tolist()
    assert recipe.tuned_on == tuned_on(truth, "test")
    assert parse_recipe(recipe.to_toml()).to_toml() == recipe.to_toml()
    weighed = parse_recipe(
        head + 'categories = "experts.toml"\nmode = "weigh"\nweights = "experts.toml"', tmp_path / "recipe.toml"
    )
    assert parse_recipe(weighed.to_toml()).to_toml() == weighed.to_toml()
    assert len(weighed.fuse([expert, base])) == len(base) + int(np.count_nonzero(expert.category_id == 1))


def test_bad_input():
    base = replicates([0.3], 0.01, 0)
    with pytest.raises(InputError, match="no expert was given"):
        learn_experts(("base", base), {})
    with pytest.raises(InputError, match="option rule"):
        learn_experts(("base", base), {"expert": base}, rule="larger")
    with pytest.raises(InputError, match="not drawn alike"):
        learn_experts(("base", base), {"expert": replicates([0.3], 0.01, 1, draws="other")})
