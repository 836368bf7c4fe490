"""Result files where a command means a table: imported once, into a table beside them."""

import json
import shutil

import pytest

from evaluation import imported
from fusion.storage import read_table
from zoo.synthetic.simulated import Scenario, Skill, simulate


@pytest.fixture
def data(tmp_path):
    skills = [Skill(name="a"), Skill(name="b", separation=1.5), Skill(name="c", recall=0.6)]
    simulate(Scenario(images=40, categories=4), skills, 1).write(tmp_path)
    return tmp_path


@pytest.fixture
def good(run):
    def call(*arguments):
        code, out, err = run(*arguments)
        assert code == 0, err
        return out, err

    return call


def test_every_command_takes_them(good, data):
    truth, files = data / "ground_truth.json", [data / f"{name}.json" for name in "abc"]
    for name in "abc":
        good("import", data / f"{name}.json", "-g", truth, "-o", data / "tables" / f"{name}.parquet")
    tables = [data / "tables" / f"{name}.parquet" for name in "abc"]
    weights = ("learn", "weights", "-g", truth, "-o", data / "w.toml")
    for command in (
        ("evaluate", "-g", truth, "--format", "json"),
        ("leaderboard", "-g", truth, "--replicates", "50"),
        ("analyze", "-g", truth, "-o", data / "analysis"),
        weights,
        ("fuse", "--method", "wbf", "-g", truth, "-o", data / "fused.parquet"),
    ):
        expected, _ = good(*command, *tables)
        written = (data / "w.toml").read_text() if command is weights else None
        shutil.rmtree(data / "analysis", ignore_errors=True)
        found, _ = good(*command, *files)
        assert ".quorum" not in found, command
        for path, table in zip(files, tables, strict=True):
            found = found.replace(str(path), str(table))
        assert found == expected, command
        assert written is None or (data / "w.toml").read_text() == written
    assert (
        good("compare", *tables[:2], "-g", truth, "--replicates", "50")[0]
        == (good("compare", *files[:2], "-g", truth, "--replicates", "50")[0])
    )
    good("export", "coco", files[0], "-g", truth, "-o", data / "again.json")
    assert len(json.loads((data / "again.json").read_text())) == len(json.loads(files[0].read_text()))


def test_what_is_imported_once_is_kept_until_something_changes(good, data):
    truth, file = data / "ground_truth.json", data / "a.json"
    place = data / ".quorum" / "a.json" / "a.parquet"
    command = ("evaluate", file, "-g", truth, "--format", "json")
    first, said = good(*command)
    assert f"imported (coco) into {place}" in " ".join(said.split())
    written = place.stat().st_mtime_ns
    assert read_table(place).metadata.images is not None
    again, said = good(*command)
    assert again == first
    assert "imported (" not in said
    assert place.stat().st_mtime_ns == written
    records = json.loads(file.read_text())
    file.write_text(json.dumps(records[: len(records) // 2]))
    fewer, said = good(*command)
    assert "imported (" in said
    assert fewer != first
    assert len(read_table(place)) == len(records) // 2
    document = json.loads(truth.read_text())
    document["categories"][0]["name"] += " other"
    truth.write_text(json.dumps(document))
    assert "imported (" in good(*command)[1]
    place.write_bytes(b"damaged")
    assert "imported (" in good(*command)[1]


def test_a_folder_of_text_files(good, data):
    truth = data / "ground_truth.json"
    good("import", data / "a.json", "-g", truth, "-o", data / "a.parquet")
    good("export", "yolo", data / "a.parquet", "-g", truth, "-o", data / "found")
    one, two = (json.loads(good("evaluate", path, "-g", truth, "--format", "json")[0])[0] for path in
                (data / "a.parquet", data / "found"))  # fmt: skip
    assert {**one, "table": ""} == {**two, "table": ""}
    next((data / "found" / "labels").glob("*.txt")).unlink()
    assert "imported (yolo)" in " ".join(good("evaluate", data / "found", "-g", truth)[1].split())


def test_where_nothing_can_be_written_tables_lie_among_the_caches(good, data, monkeypatch):
    monkeypatch.setattr(imported, "_writable", lambda folder: False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(data / "cache"))
    command = ("evaluate", data / "a.json", "-g", data / "ground_truth.json", "--format", "json")
    (data / "cache").mkdir()
    first, said = good(*command)
    assert str(data / "cache" / "quorum" / "tables") in said.replace("\n", "")
    assert not (data / ".quorum").exists()
    again, said = good(*command)
    assert (again, "imported (" in said) == (first, False)


def test_what_has_to_be_said_of_a_file_is_said_with_the_command_that_takes_it(run, data):
    truth, file = data / "ground_truth.json", data / "a.json"
    records = json.loads(file.read_text())
    for record in records:
        x, y, w, h = record["bbox"]
        record["bbox"] = [x, y, x + w, y + h]
    file.write_text(json.dumps(records))
    code, _, err = run("evaluate", file, "-g", truth)
    assert code == 2
    assert "--box-format xyxy" in err
    assert "`quorum import`" in err
    assert not (data / ".quorum").exists()


def test_a_ground_truth_that_cannot_be_read_is_the_fault_that_is_named(run, data):
    (data / "bad.json").write_text("{")
    code, _, err = run("evaluate", data / "a.json", "-g", data / "bad.json")
    assert code == 2
    assert "bad.json" in err
    shutil.rmtree(data / ".quorum", ignore_errors=True)
