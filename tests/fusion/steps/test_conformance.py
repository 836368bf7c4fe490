"""What every method must do: each file of `fusion/steps` is found and tested here, without being listed."""

import re
import sys
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from pycocotools import mask as codec

import fusion
import quorum
from evaluation.cli.fuse import fuse
from fusion.functions import stub
from fusion.kernels import jit
from fusion.masks import mask_array
from fusion.method_options import example
from fusion.recipe import Recipe
from fusion.recipe_toml import parse_recipe
from fusion.run import apply, trace
from fusion.steps import class_name, name_of
from fusion.steps.base import default_of, parameters
from fusion.table import DetectionTable, Metadata
from tests.fusion.steps.cases import STEPS, needed

ROOT = Path(__file__).parents[3]
SIDE = 48
every_step = pytest.mark.parametrize("name", STEPS)


def make(member, seed, size=60, *, tied=False):
    """Boxes that often overlap, with masks; `tied`: all of one score, in few places."""
    rng = np.random.default_rng(seed)
    low, side = rng.integers(0, 6, (size, 2)) * 4, rng.integers(2, 5, (size, 2)) * 4
    return DetectionTable.from_arrays(
        image_id=rng.integers(0, 5, size),
        category_id=rng.choice([2, 5, 9], size),
        score=np.full(size, 0.5) if tied else rng.random(size).round(2),
        xywh=np.hstack([low, side]).astype(float),
        mask=masks_of(low, side),
        metadata=Metadata(member=member, dataset="d", split="s", unit="pixel", categories="c"),
    )


def masks_of(low, side):
    texts = []
    for (x, y), (w, h) in zip(low, side, strict=True):
        pixels = np.zeros((SIDE, SIDE), np.uint8, order="F")
        pixels[y : y + h, x : x + w] = 1
        texts.append(codec.encode(pixels)["counts"])
    return mask_array([SIDE] * len(low), [SIDE] * len(low), texts)


def step_of(name):
    return STEPS[name](**needed(name))


def members(**how):
    return [make("a", 1, **how), make("b", 2, **how)]


def assert_same(ours, theirs):
    assert ours.metadata == theirs.metadata
    assert ours.arrow.schema.equals(theirs.arrow.schema)
    assert ours.arrow.to_pylist() == theirs.arrow.to_pylist()


@every_step
def test_the_file_is_named_like_the_step(name):
    assert name_of(STEPS[name]) == name
    assert STEPS[name].__name__ == class_name(name)
    assert getattr(fusion, class_name(name)) is STEPS[name]


@every_step
@pytest.mark.parametrize("tied", [False, True])
def test_the_answer_does_not_depend_on_threads(name, tied, monkeypatch):
    step, tables = step_of(name), members(tied=tied)
    whole, sources = trace(step, tables)
    assert_same(apply(step, tables), whole)
    monkeypatch.setenv("QUORUM_THREADS", "3")
    for module in [module for key, module in sys.modules.items() if key.startswith("fusion.")]:
        if getattr(module, "chunks", None) is jit.chunks and module is not jit:
            monkeypatch.setattr(module, "chunks", lambda start, *_: jit.chunks(start, 7))
    parts, part_sources = trace(step, tables)
    assert_same(parts, whole)
    assert part_sources.start.tolist() == sources.start.tolist()
    assert part_sources.row.tolist() == sources.row.tolist()


@every_step
def test_sources_are_rows_of_the_inputs(name):
    tables = members()
    fused, sources = trace(step_of(name), tables)
    assert len(sources.start) == len(fused) + 1
    assert (np.diff(sources.start) > 0).all()
    images = np.concatenate([table.image_id for table in tables])
    assert images[sources.row].tolist() == np.repeat(fused.image_id, np.diff(sources.start)).tolist()


@every_step
def test_no_detections(name):
    tables = [table.select_images([]) for table in members()]
    fused, sources = trace(step_of(name), tables)
    assert len(fused) == 0
    assert sources.start.tolist() == [0]


@every_step
def test_a_box_alone_stays_where_it_is(name):
    one = make("a", 3, 1)
    fused = apply(step_of(name), [one, make("b", 4).select_images([])])
    assert np.array_equal(fused.xywh, np.repeat(one.xywh, len(fused), axis=0))
    assert np.isfinite(fused.score).all()


@every_step
@pytest.mark.parametrize("tied", [False, True])
def test_each_image_is_answered_by_itself_in_order(name, tied):
    tables = members(tied=tied)
    fused = apply(step_of(name), tables)
    assert (np.diff(fused.image_id) >= 0).all()
    columns = ["image_id", "category_id", "score", "x", "y", "w", "h"]
    for image in range(5):
        alone = apply(step_of(name), [table.select_images([image]) for table in tables])
        assert alone.arrow.select(columns).to_pylist() == fused.select_images([image]).arrow.select(columns).to_pylist()


@every_step
def test_metadata_is_kept(name):
    said = apply(step_of(name), members()).metadata
    assert (said.dataset, said.split, said.unit, said.categories) == ("d", "s", "pixel", "c")


@every_step
def test_the_inputs_are_left_alone(name):
    tables, again = members(), members()
    apply(step_of(name), tables)
    for table, same in zip(tables, again, strict=True):
        assert_same(table, same)


@every_step
def test_a_recipe_says_everything(name):
    recipe = Recipe.chain([step_of(name)])
    again = parse_recipe(recipe.to_toml())
    assert again == recipe
    assert again.to_toml() == recipe.to_toml()
    assert_same(again.fuse(members()), recipe.fuse(members()))


@every_step
def test_the_documents_have_a_line_about_it(name):
    rows = (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8").partition("\n## ")[0].splitlines()
    assert sum(f"`{name}`" in row.split("|")[1] for row in rows if row.startswith("|")) == 1


@every_step
def test_every_parameter_is_described(name):
    described = parameters(STEPS[name])
    assert list(described) == [one.name for one in fields(STEPS[name])]
    for about in described.values():
        assert re.fullmatch(r"[A-Z].*\.", about.help), about.help
    text = getattr(fusion, name).__doc__
    assert text.startswith(STEPS[name].__doc__.splitlines()[0])
    assert all(f"    {key}: {about.told}" in text for key, about in described.items())
    for one in fields(STEPS[name]):
        default = default_of(one)
        if isinstance(default, (bool, int, float, str)):
            assert f"    {one.name}: {described[one.name].told} {default!r} by default.\n" in text
    assert f"fusion.{name}(" in text


@every_step
def test_the_examples_can_be_followed(name):
    a, b = members()
    values = {one.name: default_of(one) for one in fields(STEPS[name])} | needed(name, voters="ab")
    line = getattr(fusion, name).__doc__.splitlines()[-1].partition(" = ")[2]
    assert isinstance(eval(line, {"fusion": fusion, "a": a, "b": b, "fused": a, **values}), DetectionTable)
    command, bound, _ = quorum.app.parse_args(example(name).split()[1:])
    assert command is fuse
    assert bound.arguments["method"] == name
    assert any(value is not None for value in vars(bound.arguments["options"]).values())


def test_the_command_line_has_help_on_every_method(run, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    code, out, _ = run("fuse", "--help")
    assert code == 0
    for name in STEPS:
        panel = out.split(f"--method {name} ─")[1].split("╰")[0]
        assert example(name) in panel
        for key, about in parameters(STEPS[name]).items():
            for typed in about.files or [about.typed or key]:
                assert f"--{typed.replace('_', '-')} " in panel


@every_step
def test_the_twin_answers_alike(name, backend):
    if backend == "cpu":
        pytest.skip("compares a GPU with the CPU")
    from fusion.cuda.steps import TWINS

    step, tables = step_of(name), members()
    if STEPS[name] not in TWINS:
        pytest.skip("it has no twin and runs on the CPU")
    ours, theirs = apply(step, tables, device="cuda"), apply(step, tables)
    assert ours.metadata == theirs.metadata
    assert ours.arrow.drop_columns("score").to_pylist() == theirs.arrow.drop_columns("score").to_pylist()
    np.testing.assert_allclose(ours.score, theirs.score, rtol=1e-12)


def test_the_documents_list_the_twins():
    """The table of docs/gpu.md names the steps that have one, and no others."""
    source = (ROOT / "fusion" / "cuda" / "steps.py").read_text(encoding="utf-8").partition("TWINS: ")[2]
    twins = re.findall(r"^    (\w+):", source, re.MULTILINE)
    text = (ROOT / "docs" / "gpu.md").read_text(encoding="utf-8").partition("| step |")[2].partition("\n\n")[0]
    named = {word for row in text.splitlines() for word in re.findall(r"`(\w+)`", row.split("|")[1])} & set(STEPS)
    assert named == {name for name in STEPS if class_name(name) in twins}


def test_type_checkers_see_the_functions():
    written = (ROOT / "fusion" / "__init__.pyi").read_text(encoding="utf-8")
    assert written == stub(), "write it with: python -m fusion.functions"
