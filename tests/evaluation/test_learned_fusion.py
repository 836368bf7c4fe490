"""The commands that learn scales and experts, and the fusions that use what they wrote."""

import json

import numpy as np
import pytest

from evaluation.cli.boxes import learn_boxes
from evaluation.cli.experts import learn_experts
from evaluation.cli.fuse import fuse
from evaluation.cli.learn import learn_calibration
from evaluation.cli.scales import learn_scales
from evaluation.cli.scores import learn_scores
from fusion.errors import InputError
from fusion.learned import read_learned
from fusion.method_plan import MethodOptions
from fusion.recipe_file import read_recipe
from fusion.steps import name_of
from fusion.storage import read_table, write_table
from zoo.synthetic.simulated import Scenario, Skill, simulate


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("learned")
    skills = [
        Skill(name="400", best_side=150, size_slope=1, category_skill={3: -0.6}),
        Skill(name="1600", best_side=40, size_slope=1, category_skill={3: 0.6}),
    ]
    simulation = simulate(Scenario(images=200, categories=3, zipf=0.3), skills, 2)
    truth = simulation.write(place)[0]
    for member in simulation.members:
        write_table(member.table(), place / f"{member.skill.name}.parquet")
    (place / "some.txt").write_text("".join(f"{image}\n" for image in range(1, 201, 2)))
    return place, truth, [place / "400.parquet", place / "1600.parquet"]


def test_scales(folder, capsys):
    place, truth, tables = folder
    learn_scales(
        *tables, ground_truth=truth, output=place / "scales.toml", sides="64", limit=0.1, images=place / "some.txt"
    )
    assert "400" in capsys.readouterr().out
    learned, tuned_on = read_learned(place / "scales.toml", "scales")
    assert tuned_on.images == 100
    assert learned["weights"]["400"][1] == learned["weights"]["1600"][0] == 1.0
    options = MethodOptions(scales=place / "scales.toml", soft_iou=0.4, decay="linear", max_per_image=100)
    fuse(*tables, method="merge_scales", options=options, output=place / "f.parquet", save_recipe=place / "recipe.toml")
    fuse(*tables, recipe=place / "recipe.toml", output=place / "g.parquet")
    assert read_table(place / "f.parquet").arrow == read_table(place / "g.parquet").arrow
    assert read_recipe(place / "recipe.toml").tuned_on == tuned_on
    with pytest.raises(InputError, match="option --sides: expected numbers with commas"):
        learn_scales(*tables, ground_truth=truth, output=place / "x.toml", sides="32;96")


@pytest.mark.parametrize("rule", ["likely", "told"])
def test_experts(folder, rule, capsys):
    place, truth, tables = folder
    output = place / f"{rule}.toml"
    learn_experts(*tables, ground_truth=truth, output=output, rule=rule, replicates=200)
    assert "category-003" in capsys.readouterr().out
    given, _ = read_learned(output, "categories")
    assert 3 in given["1600"]
    for mode in ("take", "add", "weigh"):
        fused = place / f"{mode}.parquet"
        fuse(*tables, method="select_experts", options=MethodOptions(experts=output, mode=mode), output=fused)
        table = read_table(fused)
        expert = np.array(table.member.to_pylist()) == "1600"
        assert set(table.category_id[expert].tolist()) == set(given["1600"])
        assert np.any(~expert & (table.category_id == 3)) == (mode != "take")
    with pytest.raises(InputError, match="is that of another table"):
        learn_experts(tables[0], tables[0], ground_truth=truth, output=output)


def test_dropout(folder):
    place, _, tables = folder
    fuse(*tables, method="dropout", options=MethodOptions(part="boxes", iou=0.6), output=place / "d.parquet")
    left, answer = read_table(tables[0]), read_table(place / "d.parquet")
    assert 0 < len(answer) < len(left)
    assert {tuple(box) for box in answer.xywh.tolist()} <= {tuple(box) for box in left.xywh.tolist()}


def test_hierarchy(folder):
    place, _, tables = folder
    leaves = [{"LabelName": "a"}, {"LabelName": "b"}, {"LabelName": "c"}]
    tree = {"LabelName": "root", "Subcategory": [{"LabelName": "all", "Subcategory": leaves}]}
    (place / "tree.json").write_text(json.dumps(tree))
    (place / "classes.csv").write_text("a,A\nb,B\nc,C\nall,All\n")
    options = MethodOptions(hierarchy=place / "tree.json", class_descriptions=place / "classes.csv")
    fuse(
        tables[0], method="expand_hierarchy", options=options, output=place / "h.parquet", save_recipe=place / "h.toml"
    )
    expanded = read_table(place / "h.parquet")
    assert np.count_nonzero(expanded.category_id == 4) == len(read_table(tables[0]))
    assert expanded.metadata.made_by["recipe"] == (place / "h.toml").read_text()
    (place / "by_files.toml").write_text(
        'recipe = 1\n[nodes.output]\nstep = "expand_hierarchy"\ninputs = ["*"]\n'
        'hierarchy = "tree.json"\nclass_descriptions = "classes.csv"\n'
    )
    assert read_recipe(place / "by_files.toml").to_toml() == (place / "h.toml").read_text()
    with pytest.raises(InputError, match="expected --hierarchy and --class-descriptions"):
        fuse(tables[0], method="expand_hierarchy", output=place / "x.parquet")
    (place / "classes.csv").write_text("a,A\nb,B\nx,X\n")
    with pytest.raises(InputError, match=r"classes.csv: class 'x' is no node of .*tree.json"):
        fuse(tables[0], method="expand_hierarchy", options=options, output=place / "x.parquet")
    (place / "classes.csv").write_text("a,A\na,B\n")
    with pytest.raises(InputError, match=r"labels such as /m/011k07, each once"):
        fuse(tables[0], method="expand_hierarchy", options=options, output=place / "x.parquet")
    (place / "classes.csv").unlink()
    with pytest.raises(InputError, match=r"classes.csv: there is no such file"):
        fuse(tables[0], method="expand_hierarchy", options=options, output=place / "x.parquet")


def test_boxes_calibration_and_scores(folder, capsys):
    place, truth, tables = folder
    some = place / "some.txt"
    boxes, calibration, scores = (place / f"{name}.toml" for name in ("boxes", "calibration", "scores"))
    learn_boxes(*tables, ground_truth=truth, output=boxes, images=some)
    assert "sides are off by" in capsys.readouterr().out
    learn_calibration(*tables, ground_truth=truth, output=calibration, images=some)
    assert "to mean-precision" in read_learned(calibration, "maps")[1].note
    given = {"boxes": boxes, "calibration": calibration}
    options = MethodOptions(iou=0.6, box_weights=boxes)
    learn_scores(*tables, ground_truth=truth, output=scores, options=options, images=some, **given)
    said = capsys.readouterr()
    assert "AP held back" in said.out
    assert "scores of 2 members" in said.err
    given["scores"] = scores
    fused = place / "fused.parquet"
    fuse(*tables, method="wbf", options=options, output=fused, save_recipe=place / "all.toml", **given)
    recipe = read_recipe(place / "all.toml")
    assert [name_of(node.step) for node in recipe.nodes.values()] == ["correct_boxes", "calibrate", "wbf", "rescore"]
    assert recipe.tuned_on.images == 100
    assert len(recipe.nodes["step3"].step.box_weights) == 2
    again = recipe.fuse([read_table(table) for table in tables])
    assert read_table(fused).score.tobytes() == again.score.tobytes()
    # the recipe is the three files' content: what they hold is in it to the last digit
    assert read_recipe(place / "all.toml").to_toml() == (place / "all.toml").read_text()
    with pytest.raises(InputError, match="--scores and --recipe were both given"):
        fuse(*tables, recipe=str(place / "all.toml"), scores=scores, output=fused)


def test_groups_and_forms(folder, capsys):
    place, truth, tables = folder
    groups = place / "groups.csv"
    groups.write_text("image_id,group\n" + "".join(f"{image},{image % 3}\n" for image in range(1, 201)))
    learn_boxes(*tables, ground_truth=truth, output=place / "p.toml", groups=groups, position=True)
    assert "size and position" in capsys.readouterr().out
    with pytest.raises(InputError, match="option --position: and --form size were both given"):
        learn_boxes(*tables, ground_truth=truth, output=place / "p.toml", form="size", position=True)
    with pytest.raises(InputError, match="two tables are of member '400'"):
        learn_boxes(tables[0], tables[0], ground_truth=truth, output=place / "p.toml")


@pytest.mark.parametrize(("target", "note"), [("0.5", "to 0.5"), ("expected-iou", "to expected-iou")])
def test_targets(folder, target, note):
    place, truth, tables = folder
    learn_calibration(*tables, ground_truth=truth, output=place / "c.toml", target=target)
    assert note in read_learned(place / "c.toml", "maps")[1].note


def test_a_target_that_is_none(folder):
    place, truth, tables = folder
    with pytest.raises(InputError, match=r"expected mean-precision, expected-iou or an IoU such as 0\.5, got 'ap'"):
        learn_calibration(*tables, ground_truth=truth, output=place / "c.toml", target="ap")
