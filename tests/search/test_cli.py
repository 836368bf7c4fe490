"""The commands, as a user runs them."""

import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from evaluation import prepare
from evaluation.coco_ground_truth import read_coco
from evaluation.open_images_csv import read_open_images
from evaluation.protocol import Coco, Lvis, OpenImages
from fusion.recipe_file import read_recipe
from fusion.storage import read_table, write_table
from fusion.table import DetectionTable, Metadata
from tests.search.members import make_members, make_truth
from zoo.synthetic.simulated import simulate
from zoo.synthetic.skills import Scenario, demo_members

pytestmark = pytest.mark.filterwarnings("ignore:module 'sre_constants':DeprecationWarning")

OUTPUTS = {"best.toml", "report.html", "report.md", "tree.svg", "trials.parquet", "categories.csv", "trials.journal"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("zoo")
    simulation = simulate(Scenario(images=60, categories=6), demo_members(6)[:4], 0)
    simulation.write(place)
    for member in simulation.members:
        write_table(member.table(), place / f"{member.skill.name}.parquet")
    return place


@pytest.fixture
def run(run):
    def call(*arguments):
        code, out, err = run(*arguments)
        return code, out, " ".join(err.split())

    return call


def call_of(folder, output, *more):
    return ("search", *sorted(folder.glob("*.parquet")), "-g", folder / "ground_truth.json", "-o", output, *more)


def test_a_search_is_written_resumed_and_replayed(folder, tmp_path, run):
    output = tmp_path / "run"
    code, out, err = run(*call_of(folder, output, "--budget", 45))
    assert code == 0, err
    assert {path.name for path in output.iterdir()} >= OUTPUTS
    assert "on the verify split (95 % interval" in out
    assert "search split: 30 images" in err

    code, _, err = run(*call_of(folder, output, "--budget", 45))
    assert code == 2
    assert "holds the trials of a search Go on with --resume" in err.replace(".", "").replace(":", "")

    first = pd.read_parquet(output / "trials.parquet")
    code, _, err = run(*call_of(folder, output, "--budget", 60, "--resume"))
    assert code == 0, err
    trials = pd.read_parquet(output / "trials.parquet")
    assert (len(first), len(trials)) == (45, 60)

    tables = [read_table(path) for path in sorted(folder.glob("*.parquet"))]
    fused = read_recipe(output / "best.toml").fuse(tables)
    truth = read_coco(folder / "ground_truth.json")
    result = prepare(truth, Coco()).evaluate(fused)
    categories = pd.read_csv(output / "categories.csv")
    assert len(categories) == len(result.category_ids)
    assert {"search: answer", "verify: naive ensemble"} <= set(categories.columns)

    code, _, err = run(*call_of(folder, output, "--budget", 60, "--resume", "--learn", "calibration"))
    assert code == 2
    assert "holds trials of another search: learned differ" in err


@pytest.mark.slow
def test_two_workers_give_the_answer_of_one(folder, tmp_path, run):
    outs = []
    for workers in (1, 2):
        code, out, err = run(*call_of(folder, tmp_path / f"run{workers}", "--budget", 30, "--workers", workers))
        assert code == 0, err
        outs.append(out.partition("Replay")[0])
    assert outs[0] == outs[1]
    one, two = (pd.read_parquet(tmp_path / f"run{workers}" / "trials.parquet") for workers in (1, 2))
    pd.testing.assert_frame_equal(one.drop(columns="seconds"), two.drop(columns="seconds"))


def test_lists_of_images(folder, tmp_path, run):
    lists = tmp_path / "lists"
    shares = "search=0.4,verify=0.3,test=0.3"
    code, _, err = run("split", folder / "ground_truth.json", "-o", lists, "--shares", shares)
    assert code == 0, err
    more = ("--splits", lists, "--split", "search,verify,test", "--budget", 30)
    code, out, err = run(*call_of(folder, tmp_path / "run", *more))
    assert code == 0, err
    assert "on the test split" in out

    code, _, err = run(*call_of(folder, tmp_path / "x", "--splits", lists, "--split", "search,nowhere"))
    assert code == 2
    assert "nowhere.txt" in err
    (lists / "again.txt").write_text((lists / "search.txt").read_text())
    code, _, err = run(*call_of(folder, tmp_path / "x", "--splits", lists, "--split", "search,again"))
    assert code == 2
    assert "is in 'search' and in 'again'" in err
    code, _, err = run(*call_of(folder, tmp_path / "x", "--split", "search"))
    assert code == 2
    assert "expected at least two" in err
    code, _, err = run("search", "-g", folder / "ground_truth.json", "-o", tmp_path / "x")
    assert code == 2
    assert "no table was given" in err


def test_lvis_and_its_errors(folder, tmp_path, run):
    code, _, err = run(*call_of(folder, tmp_path / "run", "--protocol", "lvis", "--budget", 10))
    assert code == 2
    assert "LVIS" in err or "neg_category_ids" in err


@pytest.mark.parametrize("iou_type", ["bbox", "segm"])
def test_lvis(tmp_path, run, iou_type):
    simulation = simulate(Scenario(images=60, categories=6, masks=iou_type == "segm"), demo_members(6)[:3], 0)
    truth = simulation.ground_truth()
    rng = np.random.default_rng(0)
    for image in truth["images"]:
        present = {a["category_id"] for a in truth["annotations"] if a["image_id"] == image["id"]}
        absent = [c["id"] for c in truth["categories"] if c["id"] not in present]
        image["neg_category_ids"] = [c for c in absent if rng.random() < 0.5]
        image["not_exhaustive_category_ids"] = [c for c in present if rng.random() < 0.3]
    for place, category in enumerate(truth["categories"]):
        category["frequency"] = "rcf"[place % 3]
    path = tmp_path / "lvis.json"
    path.write_text(json.dumps(truth))
    lists, output = tmp_path / "lists", tmp_path / "run"
    code, _, err = run("split", path, "-o", lists, "--shares", "search=0.5,verify=0.5")
    assert code == 0, err
    tables = []
    for member in simulation.members:
        write_table(member.table(), place := tmp_path / f"{member.skill.name}.parquet")
        tables.append(place)
    options = ("--splits", lists, "--protocol", "lvis", "--iou-type", iou_type, "--budget", 25, "--learn", "nothing")
    code, out, err = run("search", *tables, "-g", path, *options, "-o", output)
    assert code == 0, err
    assert "on the verify split" in out
    fused = read_recipe(output / "best.toml").fuse([read_table(table) for table in tables])
    searched = read_coco(path).subset(np.loadtxt(lists / "search.txt", dtype=int))
    found = prepare(searched, Lvis(iou_type=iou_type)).evaluate(fused.select_images(searched.image_id)).AP
    trials = pd.read_parquet(output / "trials.parquet")
    # the mean over categories, taken in another order
    assert np.isclose(trials.loc[~trials["pruned"], "AP"], found, rtol=0, atol=1e-14).any()


def test_open_images(tmp_path, run):
    truth = make_truth(0, images=24, categories=4, objects=120)
    boxes = truth.xywh / 160
    rows = {
        "ImageID": [f"{truth.image_id[i]:016x}" for i in truth.image],
        "LabelName": [f"/m/{truth.category_id[c]}" for c in truth.category],
        "XMin": boxes[:, 0],
        "XMax": boxes[:, 0] + boxes[:, 2],
        "YMin": boxes[:, 1],
        "YMax": boxes[:, 1] + boxes[:, 3],
        "IsGroupOf": (truth.category % 2 == 1).astype(int) * 0,
    }
    pd.DataFrame(rows).to_csv(tmp_path / "boxes.csv", index=False)
    pd.DataFrame([(f"/m/{c}", f"name{c}") for c in truth.category_id]).to_csv(
        tmp_path / "names.csv", index=False, header=False
    )
    own = read_open_images(boxes=tmp_path / "boxes.csv", class_descriptions=tmp_path / "names.csv")
    number = {label: int(i) for label, i in zip(own.category_label, own.category_id, strict=True)}
    paths = []
    for table in make_members(0, 3, truth):
        write_table(
            DetectionTable.from_arrays(
                image_id=[f"{i:016x}" for i in table.image_id],
                category_id=[number[f"/m/{c}"] for c in table.category_id],
                score=table.score,
                xywh=table.xywh / 160,
                metadata=Metadata(member=table.metadata.member, unit="normalized"),
            ),
            path := tmp_path / f"{table.metadata.member}.parquet",
        )
        paths.append(path)
    truth_options = ("-g", tmp_path / "boxes.csv", "--class-descriptions", tmp_path / "names.csv")
    options = ("--protocol", "openimages", "--budget", 30)
    code, out, err = run("search", *paths, *truth_options, *options, "-o", tmp_path / "run")
    assert code == 0, err
    assert "on the verify split" in out
    trials = pd.read_parquet(tmp_path / "run" / "trials.parquet")
    found = trials[~trials["pruned"]]["AP"].max()
    prepared = prepare(own.subset(own.image_id), OpenImages())
    whole = prepared.evaluate(read_recipe(tmp_path / "run" / "best.toml").fuse([read_table(path) for path in paths]))
    assert abs(whole.AP - found) < 0.15


def test_unlike_scales_are_noted_where_nothing_is_calibrated(folder, tmp_path, run):
    tables = sorted(folder.glob("*.parquet"))[:2]
    percent = read_table(tables[1]).arrow
    score = pa.array(100 * percent["score"].to_numpy())
    percent = percent.set_column(percent.column_names.index("score"), "score", score)
    write_table(DetectionTable.from_arrow(percent, Metadata(member="percent")), tmp_path / "percent.parquet")
    given = ("search", tables[0], tmp_path / "percent.parquet", "-g", folder / "ground_truth.json", "--budget", 5)
    code, _, err = run(*given, "-o", tmp_path / "raw", "--learn", "nothing")
    assert code == 0, err
    assert "scores are on unlike scales: the best score of an image is" in err
    assert "for percent (the median)" in err
    code, _, err = run(*given, "-o", tmp_path / "calibrated", "--learn", "calibration")
    assert code == 0, err
    assert "unlike" not in err
