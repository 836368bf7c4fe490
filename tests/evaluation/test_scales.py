import math

import numpy as np
import pytest

from evaluation.ground_truth import GroundTruth
from evaluation.learning import tuned_on
from evaluation.prepared import prepare
from evaluation.protocol import Coco, Lvis
from evaluation.scales import figures_by_size, learn_scales
from fusion import merge_scales
from fusion.errors import InputError
from fusion.learned import read_learned, write_learned
from fusion.recipe_toml import parse_recipe
from fusion.scales import Scales
from fusion.table import DetectionTable
from fusion.views import split_views
from tests.evaluation.cases import arrays, ground_truth, random_case
from zoo.synthetic.simulated import Scenario, Skill, simulate

SCENARIO = Scenario(images=150, categories=3, crowd=0.05)
VIEWS = {"400": 130.0, "1200": 40.0}


@pytest.fixture(scope="module")
def views():
    skills = [Skill(name=name, best_side=side, size_slope=1.0, correlation=0.95) for name, side in VIEWS.items()]
    simulation = simulate(SCENARIO, skills, 5)
    truth = simulation.annotations
    annotations = GroundTruth.from_arrays(
        image_id=np.arange(1, SCENARIO.images + 1),
        category_id=np.arange(1, SCENARIO.categories + 1),
        annotation_image_id=truth.image_id,
        annotation_category_id=truth.category_id,
        xywh=truth.xywh,
        crowd=truth.crowd,
    )
    return annotations, {member.skill.name: member.table() for member in simulation.members}


def test_the_default_sides_give_the_official_figures(views):
    truth, tables = views
    prepared = prepare(truth)
    for table in tables.values():
        ap, ar, objects = figures_by_size(table, prepared, (32, 96))
        result = prepared.evaluate(table)
        assert ap.tolist() == [result.APs, result.APm, result.APl]
        assert ar.tolist() == [result.ARs, result.ARm, result.ARl]
        assert objects.tolist() == prepared.positives[:, 1:].sum(axis=0).tolist()


@pytest.mark.parametrize("seed", range(5))
def test_official_figures_on_random_data(seed):
    dataset, results = random_case(seed, images=6, scale=60.0)
    truth = ground_truth(dataset)
    table = DetectionTable.from_arrays(**arrays(results))
    prepared = prepare(truth, Coco(match_id_zero=True))
    ap, ar, _ = figures_by_size(table, prepared, (32, 96))
    result = prepared.evaluate(table)
    official = [math.nan if value == -1 else value for value in (result.APs, result.APm, result.APl)]
    assert ap.tolist() == pytest.approx(official, abs=0, nan_ok=True)
    official = [math.nan if value == -1 else value for value in (result.ARs, result.ARm, result.ARl)]
    assert ar.tolist() == pytest.approx(official, abs=0, nan_ok=True)


def test_official_figures_of_lvis(views):
    truth, tables = views
    from dataclasses import replace

    from evaluation.ground_truth import Labels

    images = len(truth.image_id)
    none = Labels(np.zeros(images + 1, np.int64), np.zeros(0, np.int32))
    some = Labels(np.arange(images + 1), np.zeros(images, np.int32))
    lvis = replace(
        truth, crowd=np.zeros(len(truth), bool), frequency=("f", "c", "r"), negative=some, not_exhaustive=none
    )
    prepared = prepare(lvis, Lvis())
    ap, _, _ = figures_by_size(tables["400"], prepared, (32, 96))
    result = prepared.evaluate(tables["400"])
    assert ap.tolist() == [result.APs, result.APm, result.APl]
    learned = learn_scales(tables, lvis, protocol=Lvis(), rare_boost=1.25)
    assert learned.scales.boost == {3: 1.25}


def test_weights_follow_the_better_view_of_each_size(views):
    truth, tables = views
    learned = learn_scales(tables, truth, sides=(60, 100))
    small, large = learned.scales.weights["1200"][0], learned.scales.weights["400"][2]
    assert small == large == 1.0
    assert learned.scales.weights["400"][0] < 0.9
    assert learned.scales.weights["1200"][2] < 0.9
    assert learned.figures.shape == (2, 3)
    limited = learn_scales(tables, truth, sides=(60, 100), limit=0.9).scales.weights
    assert limited["400"][0] == limited["1200"][2] == 0.0
    only_best = learn_scales(tables, truth, sides=(60, 100), builder="top_r", figure="AR").scales.weights
    assert sorted(weights[0] for weights in only_best.values()) == [0, 1]
    assert learned.to_table().heads[0] == "view"


def test_learned_files_go_into_recipes(views, tmp_path):
    truth, tables = views
    learned = learn_scales(tables, truth)
    write_learned(tmp_path / "scales.toml", "scales", learned.scales, tuned_on(truth, "test"))
    assert read_learned(tmp_path / "scales.toml", "scales")[1] == tuned_on(truth, "test")
    recipe = parse_recipe(
        'recipe = 1\n[nodes.output]\nstep = "merge_scales"\ninputs = ["*"]\nscales = "scales.toml"\n',
        tmp_path / "recipe.toml",
    )
    assert recipe.tuned_on == tuned_on(truth, "test")
    fused = recipe.fuse(list(tables.values()))
    assert fused.score.tolist() == merge_scales(list(tables.values()), scales=learned.scales).score.tolist()
    again = parse_recipe(recipe.to_toml())
    assert again.to_toml() == recipe.to_toml()
    assert again.fuse(list(tables.values())).arrow == fused.arrow
    with_column = [
        DetectionTable.from_arrays(
            image_id=table.image_id,
            category_id=table.category_id,
            score=table.score,
            xywh=table.xywh,
            view=[name] * len(table),
        )
        for name, table in tables.items()
    ]
    assert {name: len(part) for name, part in split_views(with_column).items()} == {
        name: len(table) for name, table in tables.items()
    }


def test_scales_in_recipes_are_checked():
    head = 'recipe = 1\n[nodes.output]\nstep = "merge_scales"\ninputs = ["*"]\n[nodes.output.scales]\n'
    step = parse_recipe(head + 'limits = {"400" = [0, 64]}\nboost = {"3" = 1.1}').nodes["output"].step
    assert step.scales == Scales(limits={"400": [0, 64]}, boost={3: 1.1})
    with pytest.raises(InputError, match=r"key 'limit' is unknown; did you mean 'limits'"):
        parse_recipe(head + 'limit = {"400" = [0, 64]}')
    with pytest.raises(InputError, match=r"expected category ids as keys"):
        parse_recipe(head + 'boost = {"rare" = 1.1}')


def test_bad_input(views):
    truth, tables = views
    with pytest.raises(InputError, match="no frequency groups"):
        learn_scales(tables, truth, rare_boost=1.1)
    with pytest.raises(InputError, match="at most 7 bounds, got 8"):
        learn_scales(tables, truth, sides=range(8, 16))
    with pytest.raises(InputError, match="option sides: expected ascending"):
        learn_scales(tables, truth, sides=(96, 32))
    with pytest.raises(InputError, match="option figure"):
        learn_scales(tables, truth, figure="AP50")
    with pytest.raises(InputError, match="no view was given"):
        learn_scales({}, truth)
