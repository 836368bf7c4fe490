"""The leaderboard and the commands that measure entries against each other."""

import json
import re

import numpy as np
import pyarrow.parquet as pq
import pytest

from evaluation import Coco, prepare, read_coco
from evaluation.cli.compare import compare
from evaluation.cli.fuse import fuse
from evaluation.cli.image_lists import read_groups
from evaluation.cli.leaderboard import leaderboard
from evaluation.cli.truth import OpenImagesFiles
from evaluation.comparison import compare as compare_entries
from evaluation.leaderboard import Entry, Leaderboard, Split
from evaluation.statistics import bootstrap
from fusion.coco_results import read_coco_results
from fusion.errors import InputError
from fusion.method_plan import MethodOptions
from fusion.storage import read_table, write_table
from fusion.table import DetectionTable, Metadata
from tests.evaluation.cases import arrays
from tests.evaluation.test_lvis import federated_case
from zoo.synthetic.simulated import Scenario, Skill, simulate


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    skills = [Skill(name="a"), Skill(name="b", separation=1.5), Skill(name="c", recall=0.6)]
    simulate(Scenario(images=40, categories=5), skills, 1).write(folder)
    truth = read_coco(folder / "ground_truth.json")
    for name in "abc":
        write_table(read_coco_results(folder / f"{name}.json", vocabulary=truth.vocabulary), folder / f"{name}.parquet")
    return folder


@pytest.fixture
def options(data):
    return {"ground_truth": data / "ground_truth.json", "replicates": 60}


def names_of(path):
    return pq.read_table(path)["name"].to_pylist()


def test_the_board_is_kept_and_later_entries_join(data, options, tmp_path, capsys):
    board = tmp_path / "boards" / "val"
    leaderboard(data / "a.parquet", data / "c.parquet", output=board, **options)
    first = pq.read_table(tmp_path / "boards" / "val.parquet")
    capsys.readouterr()
    leaderboard(data / "a.parquet", data / "b.parquet", output=board, **options)
    err = capsys.readouterr().err
    assert "a.parquet: is on the board already" in err
    both = Leaderboard.read(tmp_path / "boards" / "val.parquet")
    assert sorted(names_of(tmp_path / "boards" / "val.parquet")) == ["a", "b", "c"]
    ap = [line.ap.value for line in both.lines]
    assert ap == sorted(ap, reverse=True)
    # an entry that came later is paired as if all had come together
    together = tmp_path / "together.parquet"
    leaderboard(*(data / f"{name}.parquet" for name in "cba"), output=together, **options)
    assert pq.read_table(together).equals(pq.read_table(tmp_path / "boards" / "val.parquet"))
    assert first.num_rows == 2
    page = (tmp_path / "boards" / "val.md").read_text()
    assert page == both.to_markdown()
    first_name, _, last_name = (line.entry.name for line in both.lines)
    assert page.index(f"| {first_name} |") < page.index(f"| {last_name} |")


def test_lines_are_what_the_bootstrap_says(data, options, tmp_path):
    leaderboard(*(data / f"{name}.parquet" for name in "abc"), output=tmp_path / "x", **options)
    truth = read_coco(data / "ground_truth.json")
    ready = prepare(truth, Coco())
    results = {name: ready.evaluate(read_table(data / f"{name}.parquet")) for name in "abc"}
    entries = {name: bootstrap(result, replicates=60) for name, result in results.items()}
    rows = pq.read_table(tmp_path / "x.parquet").to_pylist()
    best = rows[0]["name"]
    for row in rows:
        interval = entries[row["name"]].intervals["AP"]
        assert (row["AP"], row["AP_low"], row["AP_high"]) == pytest.approx(interval[:3])
        difference = compare_entries(entries[best], entries[row["name"]]).figures["AP"]
        assert (row["to_best"], row["to_best_low"]) == pytest.approx((difference.value, difference.low))
        for figure in ("AP50", "AP75", "APm", "APl"):
            assert row[figure] == pytest.approx(getattr(results[row["name"]], figure))
        assert len(row["replicate_AP"]) == 60


def test_a_changed_table_replaces_its_entry(data, options, tmp_path, capsys):
    mine = tmp_path / "a.parquet"
    mine.write_bytes((data / "a.parquet").read_bytes())
    leaderboard(mine, output=tmp_path / "x", **options)
    before = Leaderboard.read(tmp_path / "x.parquet").find("a")
    mine.unlink()
    write_table(read_table(data / "c.parquet"), mine)
    capsys.readouterr()
    leaderboard(mine, output=tmp_path / "x", **options)
    assert "replaces the entry" in capsys.readouterr().err
    after = Leaderboard.read(tmp_path / "x.parquet").find("a")
    assert names_of(tmp_path / "x.parquet") == ["a"]
    assert after.content != before.content
    assert after.figures["AP"] != before.figures["AP"]


def test_without_output_nothing_is_written(data, options, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    leaderboard(data / "a.parquet", data / "b.parquet", **options)
    assert "40 images" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_compared_is_refused(data, options, tmp_path):
    leaderboard(data / "a.parquet", output=tmp_path / "x", **options)
    before = (tmp_path / "x.parquet").read_bytes()
    some, groups = tmp_path / "some.txt", tmp_path / "groups.csv"
    ids = read_coco(data / "ground_truth.json").image_id.tolist()
    some.write_text("\n".join(str(i) for i in ids[:20]))
    groups.write_text("image_id,group\n" + "".join(f"{i},{n // 2}\n" for n, i in enumerate(ids)))
    for change, words in (
        ({"images": some}, "another ground truth or choice of images"),
        ({"seed": 3}, "another seed or other groups"),
        ({"groups": groups}, "another seed or other groups"),
        ({"replicates": 50}, "60 replicates, not 50"),
    ):
        with pytest.raises(InputError, match=words):
            leaderboard(data / "b.parquet", output=tmp_path / "x", **(options | change))
    split = Leaderboard.read(tmp_path / "x.parquet").split
    for field, words in (("protocol", "protocol lvis"), ("iou_type", "iou type segm")):
        other = Split(**{name: getattr(split, name) for name in Split.__struct_fields__} | {field: words.split()[-1]})
        entry = Entry("a", "", 1, 1, {"AP": 0.5}, np.zeros(60))
        Leaderboard(other, (entry,)).write(tmp_path / "y.parquet")
        with pytest.raises(InputError, match=words):
            leaderboard(data / "b.parquet", output=tmp_path / "y", **options)
    assert (tmp_path / "x.parquet").read_bytes() == before


def test_files_that_are_no_leaderboard(data, options, tmp_path):
    for text in (b"nothing", (data / "a.parquet").read_bytes()):
        (tmp_path / "x.parquet").write_bytes(text)
        with pytest.raises(InputError, match=r"is no leaderboard"):
            leaderboard(data / "b.parquet", output=tmp_path / "x", **options)


def test_a_newer_leaderboard(tmp_path):
    split = {"ground_truth": "g", "images": 3, "units": 3, "protocol": "coco", "iou_type": "bbox"}
    board = Leaderboard(
        Split(version=2, **split, replicates=2, draws="d"), (Entry("a", "", 1, 1, {"AP": 0.5}, np.ones(2)),)
    )
    board.write(tmp_path / "x.parquet")
    with pytest.raises(InputError, match="version 2"):
        Leaderboard.read(tmp_path / "x.parquet")


def test_equal_entries_and_entries_without_ap():
    split = Split(ground_truth="g", images=9, units=9, protocol="coco", iou_type="bbox", replicates=4, draws="d")
    values = np.array([0.4, 0.5, 0.6, 0.5])
    rows = [Entry(name, "", 1, 1, {"AP": 0.5}, values) for name in ("z", "y")]
    nothing = Entry("none|", "", 0, 0, {"AP": np.nan}, np.full(4, np.nan))
    board = Leaderboard(split, (nothing, *rows))
    assert [line.entry.name for line in board.lines] == ["y", "z", "none|"]
    assert board.lines[1].to_best.p == 1
    assert np.isnan(board.lines[2].ap.low)
    assert "none\\|" in board.to_markdown()


def test_compare_in_words_and_as_json(data, options, capsys):
    pair = (data / "c.parquet", data / "a.parquet")
    compare(*pair, **options)
    words = capsys.readouterr().out
    assert words.startswith("a is better than c by ")
    assert "category-001" in words
    assert "APm" in words
    compare(*pair, **options, as_format="json")
    plain = json.loads(capsys.readouterr().out)
    assert words.replace("\n", " ").startswith(plain["sentence"])
    truth = read_coco(data / "ground_truth.json")
    ready = prepare(truth, Coco())
    c, a = (ready.evaluate(read_table(path)).AP for path in pair)
    assert plain["figures"]["AP"]["value"] == pytest.approx(a - c, abs=1e-13)
    assert len(plain["per_category"]) == 5


def test_compare_with_groups_and_on_some_images(data, options, tmp_path, capsys):
    ids = read_coco(data / "ground_truth.json").image_id.tolist()
    groups, some = tmp_path / "groups.csv", tmp_path / "some.txt"
    groups.write_text("group,image_id,camera\n" + "".join(f"video {n // 4},{i},x\n" for n, i in enumerate(ids)))
    some.write_text("\n".join(str(i) for i in ids[:20]))
    compare(data / "a.parquet", data / "c.parquet", **options, groups=groups)
    assert "40 images in 10 groups" in capsys.readouterr().out
    compare(data / "a.parquet", data / "c.parquet", **options, groups=groups, images=some)
    assert "20 images in 5 groups" in capsys.readouterr().out
    truth = read_coco(data / "ground_truth.json")
    assert read_groups(groups, truth)[:5].tolist() == ["video 0"] * 4 + ["video 1"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("image_id,video\n1,a\n", "columns image_id and group"),
        ("image_id,group\n1,a\n", "images have no group"),
        ("image_id,group\n1,a\n1,b\n", "'1' is listed twice"),
        (None, "columns image_id and group"),
    ],
)
def test_groups_that_cannot_be_used(data, tmp_path, text, words):
    path = tmp_path / "groups.csv"
    if text is not None:
        path.write_text(text)
    with pytest.raises(InputError, match=words):
        read_groups(path, read_coco(data / "ground_truth.json"))


def test_lvis_and_open_images_from_their_files(tmp_path, capsys):
    dataset, results = federated_case(4, images=12, categories=6, truths=80, results=400)
    (tmp_path / "lvis.json").write_text(json.dumps(dataset))
    for name, rows in (("a", results[::2]), ("b", results)):
        columns = arrays(rows)
        known = np.isin(columns["category_id"], [category["id"] for category in dataset["categories"]])
        table = DetectionTable.from_arrays(**{name: column[known] for name, column in columns.items()})
        write_table(table, tmp_path / f"{name}.parquet")
    pair = (tmp_path / "a.parquet", tmp_path / "b.parquet")
    compare(*pair, ground_truth=tmp_path / "lvis.json", protocol="lvis", replicates=40)
    assert {"APr", "APc", "APf"} <= set(capsys.readouterr().out.split())
    with pytest.raises(InputError, match="Open Images boxes"):
        compare(*pair, ground_truth=tmp_path / "lvis.json", open_images=OpenImagesFiles(masks=tmp_path / "masks.csv"))

    rng = np.random.default_rng(0)
    corner, side = rng.random((60, 2)) * 0.5, 0.1 + 0.3 * rng.random((60, 2))
    lines = ["ImageID,LabelName,XMin,XMax,YMin,YMax,IsGroupOf"]
    for n, ((x, y), (w, h)) in enumerate(zip(corner.tolist(), side.tolist(), strict=True)):
        lines.append(f"i{n // 3:02},/m/{n % 2},{x},{x + w},{y},{y + h},0")
    (tmp_path / "boxes.csv").write_text("\n".join(lines) + "\n")
    for name, noise in (("good", 0.02), ("bad", 0.08)):
        table = DetectionTable.from_arrays(
            image_id=[f"i{n // 3:02}" for n in range(60)],
            category_id=np.arange(60) % 2 + 1,
            score=rng.random(60),
            xywh=np.hstack((corner + rng.normal(0, noise, (60, 2)), side)),
            metadata=Metadata(unit="normalized"),
        )
        write_table(table, tmp_path / f"{name}.parquet")
    options = {"ground_truth": tmp_path / "boxes.csv", "protocol": "openimages", "replicates": 40}
    compare(tmp_path / "bad.parquet", tmp_path / "good.parquet", **options)
    assert capsys.readouterr().out.startswith("good is better than bad by ")
    some = tmp_path / "some.txt"
    some.write_text("\n".join(f"i{n:02}" for n in range(10)))
    leaderboard(tmp_path / "bad.parquet", tmp_path / "good.parquet", **options, images=some, output=tmp_path / "x")
    assert names_of(tmp_path / "x.parquet") == ["good", "bad"]
    assert "openimages, bbox, 10 images" in (tmp_path / "x.md").read_text()


def test_a_fused_table_that_is_no_better_than_its_best_input(data, options, tmp_path, capsys):
    a, b = data / "a.parquet", data / "b.parquet"
    worse, same = tmp_path / "worse.parquet", tmp_path / "same.parquet"
    fuse(a, b, method="nms", options=MethodOptions(iou=0.1), output=worse)
    (tmp_path / "one.toml").write_text('recipe = 1\n[nodes.output]\nstep = "concat"\ninputs = ["a"]\n')
    fuse(a, b, recipe=str(tmp_path / "one.toml"), output=same)
    capsys.readouterr()
    leaderboard(a, b, worse, same, **options)
    err = " ".join(capsys.readouterr().err.split())
    truth = prepare(read_coco(data / "ground_truth.json"), Coco())
    ap = {path: truth.evaluate(read_table(path)).AP for path in (a, b, worse)}
    best = max((a, b), key=ap.get)
    gain = 100 * (ap[worse] - ap[best])
    verdict = "may be no better" if gain > 0 else "is not better"
    assert f"worse.parquet: {verdict} than the best of its inputs, {best.stem} ({gain:+.2f} AP" in err
    assert "same.parquet: is not better than the best of its inputs, a (+0.00 AP, 95 % interval +0.00 to +0.00)" in err
    assert "warning: " in err
    # fuse says the same, if it has a ground truth
    fuse(a, b, method="nms", options=MethodOptions(iou=0.1), output=worse, ground_truth=options["ground_truth"])
    said = " ".join(capsys.readouterr().err.split())
    assert f"warning: {worse}: {verdict} than the best of its inputs, {best.stem} ({gain:+.2f} AP" in said
    leaderboard(worse, **options)
    assert "is not better" not in capsys.readouterr().err


def test_fuse_says_that_a_table_is_better_and_of_which_images(data, tmp_path, run):
    members = [data / f"{name}.parquet" for name in "abc"]
    truth = data / "ground_truth.json"
    ids = read_coco(truth).image_id
    (tmp_path / "some.txt").write_text("".join(f"{i}\n" for i in ids[::2]))
    command = ["fuse", *members, "--method", "wbf", "--iou", "0.55", "-o", tmp_path / "f.parquet"]
    code, _, err = run(*command, "-g", truth, "--images", tmp_path / "some.txt")
    assert code == 0
    prepared = prepare(read_coco(truth).subset(ids[::2]), Coco())
    ap = {
        path: prepared.evaluate(read_table(path).select_images(ids[::2])).AP
        for path in (*members, tmp_path / "f.parquet")
    }
    best = max(members, key=ap.get)
    gain = 100 * (ap[tmp_path / "f.parquet"] - ap[best])
    assert gain > 0
    told = f"better than the best of its inputs, {best.stem} ({gain:+.2f} AP, 95 % interval"
    assert told in " ".join(err.split()).replace("may be no better", "is better")
    code, _, err = run(*command, "--images", tmp_path / "some.txt")
    assert (code, "Give --ground-truth as well" in err) == (2, True)
    # what cannot be measured is said before anything is written
    (tmp_path / "f.parquet").unlink()
    (tmp_path / "bad.json").write_text("{}")
    assert run(*command, "-g", tmp_path / "bad.json")[0] == 2
    assert not (tmp_path / "f.parquet").exists()


def test_quiet_commands_print_results_and_warnings_alone(data, tmp_path, run, monkeypatch):
    a, b, truth = data / "a.parquet", data / "b.parquet", data / "ground_truth.json"
    command = ["fuse", a, b, "--method", "nms", "--iou", "0.05", "-o", tmp_path / "f.parquet", "-g", truth]
    loud = run(*command)[2]
    assert "detections from" in loud
    for words in (["--quiet", *command], [*command, "--quiet"]):
        code, _, err = run(*words)
        assert code == 0
        assert err.startswith("warning: ")
        assert "detections from" not in err
    monkeypatch.setenv("QUORUM_QUIET", "1")
    assert "detections from" not in run(*command)[2]
    code, out, err = run("leaderboard", a, "-g", truth, "--replicates", "20")
    assert (code, err) == (0, "")
    assert " AP " in out


def test_eighty_columns_keep_what_matters(data, options, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "80")
    long = tmp_path / "a_detector_of_a_long_name.parquet"
    write_table(read_table(data / "a.parquet"), long)
    leaderboard(long, data / "b.parquet", **options)
    out = capsys.readouterr().out
    head = re.sub("\x1b\\[[0-9;]*m", "", next(line for line in out.splitlines() if "AP50" in line))
    assert [cell.strip() for cell in head.strip("┃").split("┃")] == [
        "table",
        "AP",
        "to the first (95 %)",
        "AP50",
        "AP75",
    ]
    assert long.stem in out
    assert re.search(r"[+-]0\.\d{4} ± 0\.\d{4}", out)


def test_evaluate_prints_several_tables_side_by_side(data, run):
    tables = [data / f"{name}.parquet" for name in "abc"]
    code, out, _ = run("evaluate", *tables, "-g", data / "ground_truth.json", "--format", "markdown")
    assert code == 0
    truth = prepare(read_coco(data / "ground_truth.json"), Coco())
    results = [truth.evaluate(read_table(path)) for path in tables]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in out.splitlines() if line.startswith("|")]
    assert rows[0] == ["figure", "a", "b", "c"]
    assert ["AP", *(f"{one.AP:.4f}" for one in results)] in rows
    assert ["AR100", *(f"{one.AR100:.4f}" for one in results)] in rows
    at = rows.index(["category_id", "name", "a", "b", "c"])
    for place, row in enumerate(rows[at + 2 :]):
        assert row[2:] == [f"{one.per_category[place].AP:.4f}" for one in results]
    assert len(rows[at + 2 :]) == 5
    code, out, _ = run("evaluate", *tables, "-g", data / "ground_truth.json", "--figures", "F1,AP75")
    assert (code, "F1 per category" in out, "AP75 per category" in out, "AR100" in out) == (0, True, True, False)
    code, out, _ = run("evaluate", *tables[:2], "-g", data / "ground_truth.json", "--no-per-category")
    assert "per category" not in out
