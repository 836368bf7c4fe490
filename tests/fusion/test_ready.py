"""The reports' recipes by name."""

import numpy as np
import pytest
from pycocotools import mask as rle

from fusion.errors import InputError
from fusion.masks import mask_array
from fusion.ready import READY, Learned
from fusion.recipe_toml import parse_recipe
from fusion.scales import Scales
from fusion.score_maps import ScoreMap
from fusion.table import DetectionTable, Metadata
from fusion.views import by_resolution


def make(name, seed):
    rng = np.random.default_rng(seed)
    masks = rle.encode(np.asfortranarray(rng.random((60, 60, 40)) < 0.5).astype(np.uint8))
    return DetectionTable.from_arrays(
        image_id=rng.integers(0, 3, 40),
        category_id=rng.integers(1, 3, 40),
        score=rng.random(40),
        xywh=np.hstack([rng.uniform(0, 30, (40, 2)), rng.uniform(5, 20, (40, 2))]),
        mask=mask_array([60] * 40, [60] * 40, [mask["counts"] for mask in masks]),
        metadata=Metadata(member=name),
    )


TABLES = [make("a", 0), make("b", 1)]
EVERYTHING = {
    "mmfruit-naive": Learned(weights={"a": 1.0, "b": {1: 0.5, 2: 0.25}}, parents={1: [2], 2: []}),
    "lvistraveler-tta": Learned(scales=Scales(limits={"a": (0, 15), "b": (10, 100)}), vote_masks=True),
    "alibaba-tta": Learned(scales=Scales(sides=(12,), weights={"a": (1, 0.5), "b": (0.5, 1)}), vote_masks=True),
    "megdetv2-ensemble": Learned(vote_masks=True, members=("a", "b")),
}


@pytest.mark.parametrize("name", READY)
def test_every_stage_runs_and_goes_through_toml(name):
    stages = READY[name].stages(EVERYTHING[name])
    assert len({stage.added for stage in stages}) == len(stages)
    answers = [stage.recipe.fuse(TABLES) for stage in stages]
    assert all(len(answer) for answer in answers)
    for stage, answer in zip(stages, answers, strict=True):
        assert parse_recipe(stage.recipe.to_toml()).fuse(TABLES).arrow.equals(answer.arrow)
    assert READY[name].recipe(EVERYTHING[name]) == stages[-1].recipe


@pytest.mark.parametrize("name", READY)
def test_every_source_is_named(name):
    ready = READY[name]
    assert ready.source.partition("-")[0] in ("mmfruit", "lvistraveler", "alibaba", "megdetv2")
    assert set(ready.needs) <= set(ready.takes)


def test_mmfruit_is_the_steps_of_the_report():
    recipe = READY["mmfruit-naive"].recipe(EVERYTHING["mmfruit-naive"])
    steps = [type(node.step).__name__ for node in recipe.nodes.values()]
    assert steps == ["Reweight", "Vote", "AdjNms", "ExpandHierarchy"]
    vote = next(node.step for node in recipe.nodes.values() if type(node.step).__name__ == "Vote")
    assert (vote.k, vote.score, vote.box) == (4, 0.05, 0.3)


def test_calibration_comes_second_and_stays():
    maps = {name: ScoreMap(kind="rank", score=[0.0, 1.0], value=[0.1, 0.5]) for name in "ab"}
    stages = READY["alibaba-tta"].stages(Learned(maps=maps))
    assert [stage.added for stage in stages] == ["NMS", "calibrated scores", "soft-NMS"]
    assert [len(stage.recipe.nodes) for stage in stages] == [1, 2, 2]


def test_lvistraveler_takes_masks_from_the_views_that_eq_1_chooses():
    scales = Scales(limits={"400-flip": (120, 9999), "400": (120, 9999), "800": (32, 150), "1600": (0, 80)})
    recipe = READY["lvistraveler-tta"].recipe(Learned(scales=scales, vote_masks=True))
    assert [(name, node.inputs) for name, node in recipe.nodes.items()][1:] == [
        ("voters", ("boxes", "*")),
        ("output", ("boxes", "voters")),
    ]
    step = recipe.nodes["voters"].step
    assert (step.views, step.rule) == (
        (("1600",), ("800",), ("800",), ("400-flip", "400")),
        "log2",
    )
    assert recipe.nodes["boxes"].step.floor == 1e-4
    # views without sizes in their names all vote, and so they do where no scales are given
    for learned in Learned(scales=Scales(limits={"near": (0, 9)}), vote_masks=True), Learned(vote_masks=True):
        assert list(READY["lvistraveler-tta"].recipe(learned).nodes) == ["boxes", "output"]


def test_views_are_dealt_to_levels_by_their_sizes():
    names = ["800", "1000", "1200", "1400", "1600"]
    assert by_resolution(names, 4) == [["1600"], ["1400", "1200"], ["1200", "1000"], ["800"]]
    assert by_resolution(["800", "800-flip"], 4) == [["800", "800-flip"]] * 4
    assert by_resolution(["96", "48"], 4) == [["96"], ["96"], ["48"], ["48"]]
    assert by_resolution(["96", "own"], 4) == by_resolution([], 4) == []
    for count in range(2, 13):
        dealt = by_resolution([str(n) for n in range(count)], 4)
        assert all(dealt)
        assert {name for names in dealt for name in names} == {str(n) for n in range(count)}


def test_megdet_adds_models_to_the_first_and_votes_the_masks_of_two():
    stages = READY["megdetv2-ensemble"].stages(Learned(vote_masks=True, members=("a", "b", "c")))
    inputs = [stage.recipe.nodes["output"].inputs for stage in stages]
    assert inputs == [("a",), ("a",), ("*",), ("boxes", "a", "b")]


def test_what_is_missing_or_not_used_is_named():
    with pytest.raises(InputError, match=r"needs --weights.*quorum learn weights"):
        READY["mmfruit-naive"].recipe(Learned())
    with pytest.raises(InputError, match="does not use --scales"):
        READY["megdetv2-ensemble"].recipe(Learned(scales=Scales()))
