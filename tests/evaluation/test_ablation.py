"""Road maps."""

import pytest

from evaluation import Coco, prepare
from evaluation.ablation import road_map, stages_of
from evaluation.cli.ablate import ablate
from fusion.errors import InputError
from fusion.ready import READY, Learned
from fusion.recipe import ALL, OUTPUT, Node, Recipe
from fusion.steps.nms import Nms
from fusion.steps.reweight import Reweight
from fusion.steps.soft_nms import SoftNms
from tests.search.members import make_members, make_truth

TRUTH = make_truth(3, images=20, objects=120)
TABLES = make_members(3, 3, TRUTH)


def test_rows_are_plain_evaluations_and_their_paired_differences():
    prepared = prepare(TRUTH, Coco())
    stages = READY["alibaba-tta"].stages(Learned())
    rows = road_map(stages, TABLES, prepared, replicates=50).rows
    alone = [prepared.evaluate(table).AP for table in TABLES]
    staged = [prepared.evaluate(stage.recipe.fuse(TABLES)).AP for stage in stages]
    figures = [row.replicates.observed["AP"] for row in rows]
    assert figures == pytest.approx([max(alone), *staged])
    assert rows[0].added == "best member: member0"
    assert rows[0].gain is None
    assert rows[2].gain.value == pytest.approx(staged[1] - staged[0])
    assert rows[2].total.value == pytest.approx(staged[1] - max(alone))
    assert rows[2].gain.low < rows[2].gain.value < rows[2].gain.high


def test_both_prints_have_every_row():
    rows = road_map(READY["lvistraveler-tta"].stages(Learned()), TABLES, prepare(TRUTH, Coco()), replicates=20)
    text = rows.to_table().to_markdown()
    assert text.count("\n") == 2 + len(rows.rows)
    assert "+ NMS 0.7, soft-NMS" in text
    assert len(rows.to_table().rows) == len(rows.rows)


def test_a_chain_is_cut_after_each_node():
    weights = {f"member{number}": 1.0 for number in range(3)}
    recipe = Recipe.chain([Reweight(weights=weights), Nms(iou=0.5), SoftNms()])
    stages = stages_of(recipe)
    assert [stage.added for stage in stages] == ["reweight", "nms", "softnms"]
    assert [len(stage.recipe.nodes) for stage in stages] == [1, 2, 3]
    assert stages[-1].recipe.fuse(TABLES).arrow.equals(recipe.fuse(TABLES).arrow)
    assert stages[1].recipe.fuse(TABLES).score.max() <= 1


def test_a_tree_has_no_stages():
    nodes = {"x": Node(Nms(iou=0.5), ("member0",)), OUTPUT: Node(SoftNms(), ("x", ALL))}
    with pytest.raises(InputError, match="only a chain"):
        stages_of(Recipe(nodes), "tree.toml")


def test_nothing_to_measure():
    with pytest.raises(InputError, match="at least one stage"):
        road_map([], TABLES, prepare(TRUTH, Coco()))


def test_options_that_a_file_would_not_use_are_refused(tmp_path):
    (tmp_path / "r.toml").write_text('recipe = 1\n[nodes.output]\nstep = "nms"\ninputs = ["*"]\n')
    table, truth = tmp_path / "t.parquet", tmp_path / "gt.json"
    with pytest.raises(InputError, match="go with its name"):
        ablate(table, ground_truth=truth, recipe=(str(tmp_path / "r.toml"),), weights=tmp_path / "w.toml")
    with pytest.raises(InputError, match=r"'mmfruit': is no file and no recipe of this name. Those ready are mmfruit-"):
        ablate(table, ground_truth=truth, recipe=("mmfruit",))
