"""`--figures`, `--score` and `--format` in every command that shows figures."""

import json
from contextlib import suppress

import pyarrow.parquet as pq
import pytest

import quorum
from evaluation import Coco, figures, prepare, read_coco
from evaluation.leaderboard import Leaderboard
from evaluation.measures import AveragePrecision
from evaluation.statistics import bootstrap
from fusion.coco_results import read_coco_results
from fusion.errors import InputError
from fusion.storage import read_table, write_table
from zoo.cards import member_card
from zoo.store import register
from zoo.synthetic.simulated import Scenario, Skill, simulate

OURS = "AP,APtall,F1,P,threshold"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    simulate(Scenario(images=30, categories=3), [Skill(name="a"), Skill(name="b", recall=0.6)], 1).write(folder)
    truth = read_coco(folder / "truth.json") if (folder / "truth.json").exists() else None
    truth = truth or read_coco(folder / "ground_truth.json")
    for name in "ab":
        write_table(read_coco_results(folder / f"{name}.json", vocabulary=truth.vocabulary), folder / f"{name}.parquet")
    return folder


@pytest.fixture
def run(data, capsys):
    def call(command, *tables, **options):
        words = [str(data / f"{table}.parquet") for table in tables] + ["-g", str(data / "ground_truth.json")]
        for name, value in options.items():
            words += [f"--{name.replace('_', '-')}", str(value)]
        capsys.readouterr()
        try:
            quorum.main([command, *words])
        except SystemExit as end:
            if end.code:
                raise InputError("command", capsys.readouterr().err) from None
        return capsys.readouterr().out

    return call


def result(data, name):
    return prepare(read_coco(data / "ground_truth.json"), Coco()).evaluate(read_table(data / f"{name}.parquet"))


def test_evaluate(run, data):
    text = run("evaluate", "a", figures=OURS)
    own = result(data, "a")
    for name in OURS.split(","):
        assert f"{getattr(own, name):.4f}"[:6] in text or name == "threshold"
    assert "AP50" not in text
    (plain,) = json.loads(run("evaluate", "a", figures=OURS, format="json"))
    assert {name: plain[name] for name in OURS.split(",")} == own.figures(OURS.split(","))
    assert set(plain["per_category"][0]) == {
        "category_id", "name", "AP", "APtall", "F1", "P", "truths", "detections", "frequency",
    }  # fmt: skip
    at = json.loads(run("evaluate", "a", figures="F1", score=0.5, format="json"))[0]
    assert at["F1@0.5"] == getattr(own, "F1@0.5")
    assert "<td>APtall</td>" in run("evaluate", "a", figures=OURS, format="html")
    assert "\n| APtall | " in run("evaluate", "a", figures=OURS, format="markdown")


def test_without_the_options_all_is_as_it_was(run, data):
    (plain,) = json.loads(run("evaluate", "a", format="json"))
    assert list(plain)[1:13] == list(result(data, "a").stats)
    row = ["category_id", "name", "AP", "AP50", "AP75", "APs", "APm", "APl", "AR", "truths", "detections", "frequency"]
    assert list(plain["per_category"][0]) == row
    assert list(json.loads(run("compare", "a", "b", replicates=20, format="json"))["figures"]) == row[2:8]


def test_compare(run, data):
    plain = json.loads(run("compare", "a", "b", figures=OURS, replicates=50, format="json"))
    a, b = (bootstrap(result(data, name), replicates=50, figures=OURS.split(",")) for name in "ab")
    assert list(plain["figures"]) == OURS.split(",")
    for name, found in plain["figures"].items():
        assert (found["a"], found["b"]) == (a.observed[name], b.observed[name])
        assert (found["low"] is None) == (name == "threshold")
    assert plain["figures"]["F1"]["low"] < plain["figures"]["F1"]["value"] < plain["figures"]["F1"]["high"]
    text = run("compare", "a", "b", figures="F1", replicates=50)
    assert f"{100 * b.observed['F1'] - 100 * a.observed['F1']:+.2f}" in text
    assert "| F1 | " in run("compare", "a", "b", figures="F1", replicates=50, format="markdown")


def test_leaderboard(run, data, tmp_path):
    board = tmp_path / "board"
    run("leaderboard", "a", "b", replicates=50, output=board)
    assert "F1_low" not in pq.read_table(tmp_path / "board.parquet").column_names
    page = run("leaderboard", "a", "b", replicates=50, output=board, figures="F1,threshold")
    assert "F1" in page
    assert "AP50" not in page
    kept = {entry.name: entry for entry in Leaderboard.read(tmp_path / "board.parquet").entries}
    for name in "ab":
        interval = bootstrap(result(data, name), replicates=50, figures=("F1",)).intervals["F1"]
        assert kept[name].bounds["F1"] == pytest.approx((interval.low, interval.high))
        assert kept[name].figures["F1"] == interval.value
        assert "AP50" in kept[name].figures  # what was known stays
    again = json.loads(run("leaderboard", "a", replicates=50, output=board, figures="F1", format="json"))
    assert [entry["name"] for entry in again["entries"]] == ["a", "b"]
    assert set(again["entries"][0]["figures"]) == {"AP", "F1"}


def test_a_board_whose_entries_know_different_figures(run, data, tmp_path):
    run("leaderboard", "a", replicates=20, output=tmp_path / "x", figures="F1")
    run("leaderboard", "b", replicates=20, output=tmp_path / "x")
    kept = {entry.name: entry for entry in Leaderboard.read(tmp_path / "x.parquet").entries}
    assert set(kept["a"].figures) == {"AP", "F1"}
    assert "F1" not in kept["b"].figures
    line = next(line for line in (tmp_path / "x.md").read_text().splitlines() if line.startswith("| b | "))
    assert " - |" in line


def test_ablate(run, data, tmp_path):
    (tmp_path / "r.toml").write_text('recipe = 1\n[nodes.output]\nstep = "nms"\ninputs = ["*"]\n')
    options = {"recipe": tmp_path / "r.toml", "figures": "F1,APwide", "replicates": 30}
    first, second = json.loads(run("ablate", "a", "b", format="json", **options))
    assert list(first["figures"]) == ["AP", "F1", "APwide"]
    assert first["gains"] == {}
    gain = second["gains"]["F1"]
    assert gain["value"] == second["figures"]["F1"] - first["figures"]["F1"]
    assert gain["low"] <= gain["value"] <= gain["high"]
    (head,) = [line for line in run("ablate", "a", "b", format="markdown", **options).splitlines() if "added" in line]
    columns = "added | AP | F1 | APwide | gain | 95 % interval | since the first row"
    assert head == f"| {columns} | gain in F1 | 95 % interval | gain in APwide | 95 % interval |"
    text = run("ablate", "a", "b", recipe=tmp_path / "r.toml", replicates=30)
    assert "AP75" in text
    assert "APs" not in text


def test_analyze(run, tmp_path):
    text = run("analyze", "a", output=tmp_path / "out", figures="AP,APsquare,R")
    assert "APsquare" in text
    assert "AP50" not in text
    assert (tmp_path / "out" / "categories.csv").read_text().splitlines()[0] == (
        "category_id,name,AP,APsquare,R,truths,detections,frequency"
    )
    assert "aspect,wide," in (tmp_path / "out" / "sizes.csv").read_text()
    assert "APsquare" in (tmp_path / "out" / "report.md").read_text()


def test_cards_show_what_was_measured(data, tmp_path, capsys):
    register(tmp_path / "runs", "mine", data / "a.parquet", truth=read_coco(data / "ground_truth.json"), split="val")
    own, words = result(data, "a"), ["zoo", "show", "mine", "--store", str(tmp_path / "runs"), "--figures"]
    with suppress(SystemExit):
        quorum.main([*words, "AP,APtall,F1,threshold"])
    out = capsys.readouterr().out
    assert "| member | split | by | images | AP | APtall | F1 | threshold |" in out
    assert f"| {100 * own.AP:.2f} | {100 * own.APtall:.2f} | {100 * own.F1:.2f} | {own.threshold:.4g} |" in out
    with pytest.raises(SystemExit):
        quorum.main([*words, "AP,AP51"])
    err = " ".join(capsys.readouterr().err.split())
    assert "option --figures: expected figures that were measured, got 'AP51'. There are AP, AP50" in err


def test_a_figure_that_is_added_to_the_list_is_in_every_command(run, data, tmp_path, monkeypatch):
    added = figures.Figure(
        name="AP55",
        title="AP at IoU .55",
        measure=AveragePrecision(iou=0.55),
        places=("stats", "categories", "entries"),
    )
    monkeypatch.setattr(figures, "FIGURES", (*figures.FIGURES, added))
    own = {name: result(data, name).figures(["AP55"])["AP55"] for name in "ab"}
    assert own["a"] == result(data, "a").best_precision[0, 1].mean() > 0
    (plain,) = json.loads(run("evaluate", "a", format="json"))
    assert plain["AP55"] == own["a"]
    assert plain["per_category"][0]["AP55"] > 0
    compared = json.loads(run("compare", "a", "b", replicates=20, format="json"))["figures"]["AP55"]
    assert (compared["a"], compared["b"]) == (own["a"], own["b"])
    assert compared["low"] < compared["value"] < compared["high"]
    board = json.loads(run("leaderboard", "a", "b", replicates=20, format="json", output=tmp_path / "board"))
    assert board["entries"][0]["figures"]["AP55"]["value"] == max(own.values())
    assert "AP55" in (tmp_path / "board.md").read_text()
    (tmp_path / "r.toml").write_text('recipe = 1\n[nodes.output]\nstep = "nms"\ninputs = ["*"]\n')
    more = {"figures": "AP55", "replicates": 20}
    assert "gain in AP55" in run("ablate", "a", "b", recipe=tmp_path / "r.toml", **more)
    assert f"{own['a']:.4f}" in run("analyze", "a", output=tmp_path / "out", figures="AP55")
    member = register(tmp_path / "runs", "a", data / "a.parquet", truth=read_coco(data / "ground_truth.json"))
    assert f"| {100 * own['a']:.2f} |" in member_card(member)


@pytest.mark.parametrize("command", ["evaluate", "leaderboard", "compare", "analyze"])
def test_a_wrong_name_is_one_error(run, command, tmp_path):
    tables = ("a", "b") if command == "compare" else ("a",)
    more = {"output": tmp_path / "out"} if command == "analyze" else {}
    with pytest.raises(InputError, match=r"option --figures: expected figures of --protocol coco, got 'AP51'"):
        run(command, *tables, figures="AP,AP51", **more)
    with pytest.raises(InputError, match="option --score: goes with F1, P or R"):
        run(command, *tables, figures="AP", score=0.3, **more)
