import numpy as np
import pytest

from fusion.errors import InputError
from fusion.learned import TunedOn, read_learned, write_learned
from fusion.recipe import Recipe
from fusion.recipe_file import read_recipe, write_recipe
from fusion.recipe_toml import parse_recipe
from fusion.run import apply
from fusion.scales import Scales
from fusion.score_maps import ScoreMap
from fusion.steps.adj_nms import AdjNms
from fusion.steps.calibrate import Calibrate
from fusion.steps.nms import Nms
from fusion.steps.reweight import Reweight
from fusion.steps.wbf import Wbf
from fusion.table import DetectionTable
from tests.fusion.steps.cases import STEPS, needed

TREE = """
recipe = 1

[nodes.output]
step = "adj_nms"
inputs = ["pair", "c"]
iou = 0.6

[nodes.pair]
step = "wbf"
inputs = ["a", "b"]
iou = 0.55

[nodes.pair.weights]
a = 2
b = 1
"""


def member(name, seed):
    rng = np.random.default_rng(seed)
    n = 200
    return DetectionTable.from_arrays(
        image_id=rng.integers(1, 9, n),
        category_id=rng.integers(1, 4, n),
        score=rng.random(n),
        xywh=np.concatenate([rng.random((n, 2)) * 50, 20 + rng.random((n, 2)) * 30], axis=1),
    ).with_metadata(member=name)


MEMBERS = [member("a", 1), member("b", 2), member("c", 3)]


STEP = 'recipe = 1\n[nodes.output]\nstep = "nms"\ninputs = ["*"]\n{}\n'


def test_tree_is_run_as_written():
    fused = parse_recipe(TREE).fuse(MEMBERS)
    pair = apply(Wbf(iou=0.55, weights={"a": 2, "b": 1}), MEMBERS[:2]).with_metadata(member="pair")
    assert fused.arrow.equals(apply(AdjNms(iou=0.6), [pair, MEMBERS[2]]).arrow)


def test_canonical_form_is_a_fixed_point_and_keeps_the_answer():
    recipe = parse_recipe(TREE)
    text = recipe.to_toml()
    assert "sigma" in text  # defaults are spelled out
    assert text.index("[nodes.pair]") < text.index("[nodes.output]")
    assert parse_recipe(text).to_toml() == text
    assert parse_recipe(text) == recipe
    assert parse_recipe(text).fuse(MEMBERS).arrow.equals(recipe.fuse(MEMBERS).arrow)


def test_learned_numbers_round_trip(tmp_path):
    maps = {name: ScoreMap(kind="isotonic", score=[0.1, 0.7], value=[0.2, 0.9]) for name in "abc"}
    weights = {"a": {1: 0.5, 2: 1.0, 3: 0.0}, "b": 1.0, "c": 0.25}
    origin = TunedOn(fingerprint="f" * 64, images=30, note="half")
    recipe = Recipe.chain([Calibrate(maps=maps), Reweight(weights=weights, builder="ap_ratio"), Nms()], origin)
    write_recipe(recipe, tmp_path / "r.toml")
    again = read_recipe(tmp_path / "r.toml")
    assert again == recipe
    assert again.fuse(MEMBERS).arrow.equals(recipe.fuse(MEMBERS).arrow)

    write_learned(tmp_path / "w.toml", "weights", weights, origin)
    table, tuned_on = read_learned(tmp_path / "w.toml", "weights")
    assert table == {"a": {"1": 0.5, "2": 1.0, "3": 0.0}, "b": 1.0, "c": 0.25}
    assert tuned_on == origin
    text = 'recipe = 1\n[nodes.output]\nstep = "reweight"\ninputs = ["*"]\nweights = "w.toml"\n'
    (tmp_path / "by_file.toml").write_text(text)
    by_file = read_recipe(tmp_path / "by_file.toml")
    assert by_file.nodes["output"].step == Reweight(weights=weights)
    assert by_file.tuned_on == origin


def test_empty_tables_are_told(tmp_path):
    (tmp_path / "w.toml").write_text("[weights]\n")
    with pytest.raises(InputError, match=r"its table \[weights\] is empty"):
        read_learned(tmp_path / "w.toml", "weights")
    with pytest.raises(InputError, match="there are none for member 'a'; they are for none at all"):
        Recipe.chain([Reweight(weights={})]).fuse(MEMBERS)
    with pytest.raises(InputError, match="there is none for 'a', 'b', 'c'; they are for none at all"):
        Recipe.chain([Wbf(weights={})]).fuse(MEMBERS)


def test_a_long_chain_and_a_long_circle():
    nodes = [f'[nodes.n{k}]\nstep = "nms"\ninputs = ["n{k + 1}"]\n' for k in range(3000)]
    head = 'recipe = 1\n[nodes.output]\nstep = "nms"\ninputs = ["n0"]\n'
    parsed = parse_recipe(head + "".join(nodes) + '[nodes.n3000]\nstep = "nms"\ninputs = ["*"]\n')
    assert list(parsed.nodes) == [f"n{k}" for k in range(3000, -1, -1)] + ["output"]
    with pytest.raises(InputError) as error:
        parse_recipe(head + "".join(nodes) + '[nodes.n3000]\nstep = "nms"\ninputs = ["n1"]\n')
    assert "in a circle: n1 -> n2 -> n3 -> n4 -> n5 -> ... -> n2997 -> n2998 -> n2999 -> n3000 -> n1" in str(
        error.value
    )


@pytest.mark.parametrize("name", sorted(STEPS))
def test_every_step_with_its_defaults_round_trips(name):
    given = needed(name)
    if name == "merge_scales":
        given = {"scales": Scales(sides=[32], weights={"a": [1, 2.0]}, limits={"a": [1, 9]}, boost={3: 1.5})}
    recipe = Recipe.chain([STEPS[name](**given)])
    assert parse_recipe(recipe.to_toml()) == recipe


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("nodes = 1 = 2", ["expected TOML"]),
        ("recipe = 2", ["recipe = 1", "got 2"]),
        ("recipe = true", ["recipe = 1", "got True"]),
        ("recipe = " + "9" * 400, ["recipe = 999", "64 bits"]),
        ("recipe = " + "9" * 5000, ["expected TOML", "digits"]),
        (STEP.format("iou = 1" + "0" * 400), ["nodes.output.iou", "64 bits", "1e20"]),
        (STEP.format("iou = 1e400"), ["iou", "[0, 1]", "inf"]),
        ("recipe = 1\nnodes = " + "[" * 3000 + "]" * 3000, ["nested too deep"]),
        ("recipe = 1\nnodes" + ".x" * 3000 + " = 1", ["nested too deep", "16"]),
        ("recipe = 1\nnodes.output" + ".x" * 10 + " = 1", ["step ="]),
        ("recipe = 1\nnode = 1", ["'node' is unknown", "did you mean 'nodes'"]),
        ("recipe = 1", ["[nodes.output]"]),
        ('recipe = 1\n[nodes.output]\nstep = "nms"', ["inputs"]),
        ('recipe = 1\n[nodes.output]\nstep = "wfb"\ninputs = ["*"]', ["node 'output'", "'wfb'", "did you mean 'wbf'"]),
        ('recipe = 1\n[nodes.output]\nstep = "nms"\ninputs = ["*"]\niuo = 0.5', ["'iuo'", "did you mean 'iou'"]),
        ('recipe = 1\n[nodes.output]\nstep = "nms"\ninputs = ["*"]\niou = 7', ["iou", "[0, 1]", "7"]),
        ('recipe = 1\n[nodes.output]\nstep = "nms"\ninputs = ["*"]\niou = "x"', ["iou", "'x'", "float"]),
        ('recipe = 1\n[nodes.output]\nstep = "nms"\ninputs = ["*"]\niou = true', ["iou", "True", "float"]),
        ('recipe = 1\n[nodes.output]\nstep = "nms"\ninputs = ["output"]', ["circle", "output -> output"]),
        ('recipe = 1\n[nodes.output]\nstep = "reweight"\ninputs = ["*"]', ["weights must be given"]),
        ('recipe = 1\n[nodes.output]\nstep = "reweight"\ninputs = ["*"]\nweights = "none.toml"', ["none.toml"]),
        (
            'recipe = 1\n[nodes.output]\nstep = "nms"\ninputs = ["*"]\n[nodes.x]\nstep = "nms"\ninputs = ["*"]',
            ["node 'x'", "taken by no other"],
        ),
    ],
)
def test_errors_name_the_fault(text, words):
    with pytest.raises(InputError) as error:
        parse_recipe(text)
    assert all(word in str(error.value) for word in words), str(error.value)


def test_missing_and_shadowed_members():
    with pytest.raises(InputError, match="takes 'c', but the tables given are 'a', 'b'"):
        parse_recipe(TREE).fuse(MEMBERS[:2])
    with pytest.raises(InputError, match="node 'pair' has the name of a table"):
        parse_recipe(TREE).fuse([*MEMBERS, member("pair", 4)])
