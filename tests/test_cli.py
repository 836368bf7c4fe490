"""The commands as a user runs them, in process."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from zoo.synthetic.simulated import Scenario, Skill, simulate

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    skills = [Skill(name="a"), Skill(name="b", separation=1.5, low=0.0, high=50.0), Skill(name="c", recall=0.6)]
    simulate(Scenario(images=60, categories=5), skills, 1).write(folder)
    return folder


@pytest.fixture
def tables(data, tmp_path, run):
    paths = []
    for name in "abc":
        paths.append(tmp_path / "tables" / f"{name}.parquet")
        code, _, err = run("import", data / f"{name}.json", "-g", data / "ground_truth.json", "-o", paths[-1])
        assert code == 0, err
    return paths


HEAVY = {"numba", "numpy", "pyarrow", "pandas", "scipy", "torch", "matplotlib", "msgspec", "optuna"}


def test_help_loads_nothing_heavy():
    # how long that takes depends on the machine: benchmarks/start_up.py shows it as a ratio
    code = f"""
import sys, quorum
try:
    quorum.main(["--help"])
except SystemExit:
    pass
print({HEAVY!r} & set(sys.modules))"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "leaderboard" in done.stdout
    assert done.stdout.endswith("\nset()\n")


@pytest.mark.parametrize(
    "command",
    [
        "import",
        "evaluate",
        "leaderboard",
        "fuse",
        "export",
        "learn weights",
        "learn calibration",
        "learn relations",
        "learn scales",
        "learn experts",
        "ablate",
        "compare",
        "check",
        "analyze",
        "submit",
        "search",
        "split",
        "demo",
    ],
)
def test_every_command_has_help(run, command):
    code, out, err = run(*command.split(), "--help")
    assert code == 0, err
    assert "Usage: quorum" in out


def test_the_whole_way(data, tables, tmp_path, run):
    truth = data / "ground_truth.json"
    assert run("split", truth, "-o", tmp_path / "half")[0] == 0
    learn, verify = tmp_path / "half" / "part-0.txt", tmp_path / "half" / "part-1.txt"
    assert len(learn.read_text().split()) == len(verify.read_text().split()) == 30
    weights, maps = tmp_path / "weights.toml", tmp_path / "maps.toml"
    assert run("learn", "weights", *tables, "-g", truth, "--images", learn, "-o", weights)[0] == 0
    assert run("learn", "calibration", *tables, "-g", truth, "--images", learn, "-o", maps)[0] == 0

    fused, recipe = tmp_path / "fused.parquet", tmp_path / "recipe.toml"
    options = ["--weights", weights, "--calibration", maps, "--max-per-image", 50, "--save-recipe", recipe]
    code, _, err = run("fuse", *tables, "--method", "wbf", "--iou", 0.6, *options, "-o", fused)
    assert code == 0, err
    again = tmp_path / "again.parquet"
    assert run("fuse", *reversed(tables), "--recipe", recipe, "-o", again)[0] == 0
    assert "images = 30" in recipe.read_text()

    code, out, err = run("evaluate", *tables, fused, again, "-g", truth, "--images", verify, "--format", "json")
    assert code == 0, err
    results = json.loads(out)
    assert [row["table"] for row in results] == [str(path) for path in [*tables, fused, again]]
    names = ["AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl"]
    assert all(isinstance(row[name], float) for row in results for name in names)
    assert len(results[0]["per_category"]) == 5
    assert results[3]["AP"] > max(row["AP"] for row in results[:3])

    code, out, _ = run("leaderboard", *tables, fused, "-g", truth, "--images", verify)
    assert code == 0
    assert out.index("│ fused") < min(out.index(f"│ {name} ") for name in "abc")

    exported, back = tmp_path / "results.json", tmp_path / "back.parquet"
    assert run("export", "coco", fused, "-o", exported)[0] == 0
    assert run("import", exported, "-g", truth, "-o", back)[0] == 0
    code, out, _ = run("evaluate", fused, back, "-g", truth, "--format", "json")
    one, two = json.loads(out)
    assert {**one, "table": ""} == {**two, "table": ""}


@pytest.mark.parametrize(
    "method", ["nms", "soft_nms", "adj_nms", "nms_then_soft", "wbf", "nmw", "vote", "consensus", "concat"]
)
def test_every_method_runs(tables, tmp_path, run, method):
    code, _, err = run("fuse", *tables, "--method", method, "-o", tmp_path / "fused.parquet")
    assert code == 0, err


def test_options_of_a_method(tables, tmp_path, run):
    options = ["--iou", 0.6, "--decay", "linear", "--soft-iou", 0.3, "--floor", 0.01]
    recipe = tmp_path / "recipe.toml"
    code, _, err = run(
        "fuse", *tables, "--method", "nms_then_soft", *options, "--save-recipe", recipe, "-o", tmp_path / "f.parquet"
    )
    assert code == 0, err
    for line in ('method = "linear"', "iou = 0.6", "soft_iou = 0.3", "floor = 0.01"):
        assert line in recipe.read_text()
    options = ["--conf-type", "max", "--member-weights", "a=2", "--member-weights", "b=1", "--member-weights", "c=0"]
    options += ["--save-recipe", recipe]
    code, _, err = run("fuse", *tables, "--method", "wbf", *options, "-o", tmp_path / "f.parquet")
    assert code == 0, err
    assert "a = 2.0" in recipe.read_text()
    code, _, err = run("fuse", *tables, "--method", "wbf", "--member-weights", "a", "-o", tmp_path / "f.parquet")
    assert code == 2
    assert "name=number" in err


def test_prob_fusion_asks_for_calibration(tables, tmp_path, run):
    code, _, err = run("fuse", *tables, "--method", "prob_fusion", "-o", tmp_path / "fused.parquet")
    assert code == 2
    assert "Calibrate first" in err
    assert run("fuse", tables[0], tables[2], "--method", "prob_fusion", "-o", tmp_path / "fused.parquet")[0] == 0


def test_folders_of_parts_are_fused_part_by_part(data, tables, tmp_path, run):
    folders = []
    for name in "abc":
        folders.append(tmp_path / "parts" / name)
        options = ["-g", data / "ground_truth.json", "--parts", 3, "-o", folders[-1]]
        assert run("import", data / f"{name}.json", *options)[0] == 0
    code, _, err = run("fuse", *folders, "--method", "wbf", "-o", tmp_path / "fused")
    assert code == 0, err
    assert sorted([path.name for path in (tmp_path / "fused").iterdir()]) == [f"part-0000{i}.parquet" for i in range(3)]
    assert run("fuse", *tables, "--method", "wbf", "-o", tmp_path / "whole.parquet")[0] == 0
    code, out, _ = run(
        "evaluate", tmp_path / "fused", tmp_path / "whole.parquet", "-g", data / "ground_truth.json", "--format", "json"
    )
    parts, whole = json.loads(out)
    assert parts["AP"] == whole["AP"]


def test_text_evaluation(data, tables, run):
    code, out, _ = run("evaluate", tables[0], "-g", data / "ground_truth.json")
    assert code == 0
    assert "AP75" in out
    assert "category-001" in out


def test_other_caps(data, tables, run):
    truth = data / "ground_truth.json"
    code, out, err = run("evaluate", tables[0], "-g", truth, "--max-dets", "1,5,20", "--format", "json")
    assert code == 0
    assert {"AR1", "AR5", "AR20"} <= set(json.loads(out)[0])
    assert "at most 20" in err
    assert run("evaluate", tables[0], "-g", truth, "--max-dets", "1,x")[0] == 2


def test_options_of_the_protocol_where_entries_are_compared(data, tables, tmp_path, run):
    truth, caps = data / "ground_truth.json", ("--max-dets", "1,2")
    found = [
        json.loads(run("evaluate", tables[0], "-g", truth, "--format", "json", *options)[1])[0]["AP"]
        for options in ((), caps)
    ]
    assert found[0] != found[1]
    for options, ap in zip(((), caps), found, strict=True):
        shared = ("-g", truth, "--replicates", 20, *options)
        code, out, err = run("compare", tables[1], tables[0], *shared, "--format", "json")
        assert code == 0, err
        assert json.loads(out)["figures"]["AP"]["b"] == ap
        code, out, err = run("leaderboard", tables[0], *shared, "-o", tmp_path / ("capped" if options else "board"))
        assert code == 0, err
        assert f"{ap:.4f}" in out
    code, _, err = run("leaderboard", tables[0], "-g", truth, "--replicates", 20, *caps, "-o", tmp_path / "board")
    assert code == 2
    assert "protocol coco, not coco --max-dets 1,2" in err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["fuse", "a", "-o", "x"], ["--method or --recipe"]),
        (["fuse", "nothing.parquet", "--method", "nms", "-o", "x.parquet"], ["nothing.parquet", "no such file"]),
        (["fuse", "--method", "nms", "-o", "x.parquet"], ["no table"]),
        (["fuse", "a", "--method", "wfb", "-o", "x.parquet"], ["wfb", "did you mean 'wbf'"]),
        (["fuse", "a", "--method", "nms", "--sigma", "0.5", "-o", "x.parquet"], ["take --sigma", "takes --iou"]),
        (["fuse", "a", "--method", "nms", "--iou", "1.5", "-o", "x.parquet"], ["iou", "[0, 1]", "1.5"]),
        (["fuse", __file__, "--method", "nms", "-o", "x.parquet"], ["expected a Parquet file", "`quorum import`"]),
        (["fuse", "a", "--recipe", "none.toml", "-o", "x.parquet"], ["none.toml", "cannot be read"]),
        (["evaluate", "a", "-g", "none.json"], ["none.json"]),
        (["evaluate", "-g", "none.json"], ["no table"]),
        (["evaluate", "a", "-g", "g.json", "--fixed-ap"], ["--fixed-ap", "--protocol coco"]),
        (["evaluate", "a", "-g", "."], ["folder of annotations"]),
        (["evaluate", "a"], ["--ground-truth"]),
        (["export", "coco", ".", "-o", "x.json"], ["folder without any"]),
        (["import", "none.json", "-o", "x.parquet"], ["none.json"]),
        (["import", ".", "-o", "x.parquet"], ["folder of results"]),
        (["learn", "calibration", "a", "-o", "x.toml"], ["needs --ground-truth"]),
        (["leaderbord", "a"], ["leaderboard"]),
    ],
)
def test_errors_are_one_message_and_code_2(run, tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    code, out, err = run(*arguments)
    assert code == 2
    assert all(word in (out + err).replace("\n", " ") for word in words), out + err
    assert "Traceback" not in out + err
    assert [path.name for path in (tmp_path).iterdir()] == []


def test_tables_of_another_data_set(data, tables, tmp_path, run):
    other = json.loads((data / "ground_truth.json").read_text())
    for image in other["images"]:
        image["id"] += 10_000
    for annotation in other["annotations"]:
        annotation["image_id"] += 10_000
    (tmp_path / "other.json").write_text(json.dumps(other))
    for arguments in (["evaluate", tables[0]], ["leaderboard", tables[0]]):
        code, _, err = run(*arguments, "-g", tmp_path / "other.json")
        assert code == 2
        assert "data set" in err
    # the boxes fit the objects of the pictures of the same name; with other names, those of ids that lie apart
    importing = ["import", data / "a.json", "-g", tmp_path / "other.json", "-o", tmp_path / "x.parquet"]
    code, _, err = run(*importing)
    assert code == 0
    assert "60 images joined" in err
    for number, image in enumerate(other["images"]):
        image["file_name"] = f"night_{number}.jpg"
    (tmp_path / "other.json").write_text(json.dumps(other))
    code, _, err = run(*importing[:-1], tmp_path / "y.parquet")
    assert code == 2
    assert "--image-offset 10000" in err
    for annotation in other["annotations"]:
        annotation["bbox"] = [0, 0, 2, 2]
    (tmp_path / "other.json").write_text(json.dumps(other))
    code, _, err = run(*importing[:-1], tmp_path / "y.parquet")
    assert code == 2
    assert "data set" in err
    assert not (tmp_path / "y.parquet").exists()


def test_interrupt(monkeypatch, run, data, tables):
    import evaluation.prepared

    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(evaluation.prepared.Prepared, "evaluate", interrupted)
    code, _, err = run("evaluate", tables[0], "-g", data / "ground_truth.json")
    assert code == 130
    assert "interrupted" in err


def test_threads_do_not_change_the_answer(tables, tmp_path, run):
    from fusion.storage import read_table

    for threads in (1, 3):
        assert (
            run("fuse", *tables, "--method", "soft_nms", "--threads", threads, "-o", tmp_path / f"{threads}.parquet")[0]
            == 0
        )
    assert read_table(tmp_path / "1.parquet").arrow.equals(read_table(tmp_path / "3.parquet").arrow)
