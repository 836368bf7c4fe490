"""`quorum evaluate --shard`: each process matches its parts, and whoever finds all matched prints what one would."""

import json
from contextlib import suppress
from pathlib import Path

import pytest

from evaluation import prepare
from evaluation.cli import measure
from evaluation.runs import SharesLeft
from evaluation.stored import evaluate_stored
from fusion.errors import InputError
from fusion.shards import Shard
from fusion.storage import write_table
from tests.evaluation.cases import ground_truth, random_case
from tests.evaluation.test_stored import table_of


@pytest.fixture
def tables(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    dataset, results = random_case(9, images=8, results=150)
    Path("truth.json").write_text(json.dumps(dataset))
    for name, rows in (("a", results), ("b", results[::2])):
        write_table(table_of(rows), name, parts=3)
    return dataset, results


@pytest.mark.parametrize("protocol", ["coco", "openimages"])
def test_shares_print_what_one_process_prints(tables, protocol, run):
    call = ["evaluate", "a", "b", "-g", "truth.json", "--protocol", protocol, "--format", "json"]
    code, out, err = run(*call, "--shard", "2/2")
    assert (code, out) == (0, "")
    for name in "ab":
        assert f"{name}: 1 of 3 parts are matched; whoever makes the last of the others prints" in err
        assert [path.name for path in Path(name).glob(".quorum/*/*")] == ["part-00001.parquet.run"]
    kept = {path: path.stat().st_mtime_ns for path in Path().glob("*/.quorum/*/*")}
    code, printed, _ = run(*call, "--shard", "1/2")
    assert code == 0
    assert kept.items() <= {path: path.stat().st_mtime_ns for path in Path().glob("*/.quorum/*/*")}.items()
    for name, rows in (("a", tables[1]), ("b", tables[1][::2])):
        write_table(table_of(rows), Path("fresh") / name, parts=3)
    expected = run("evaluate", "fresh/a", "fresh/b", *call[3:])[1]
    assert json.loads(printed) == json.loads(expected.replace("fresh/", ""))


def test_a_table_that_others_finish_meanwhile_is_looked_at_again(tables, monkeypatch, run):
    real, other = measure.evaluate_by_parts, []

    def meanwhile(path, truth, prepared, images, shard):
        try:
            return real(path, truth, prepared, images, shard)
        except SharesLeft:
            with suppress(SharesLeft):
                other.append(path)
                real(path, truth, prepared, images, Shard(1, 2))
            raise

    monkeypatch.setattr(measure, "evaluate_by_parts", meanwhile)
    code, out, err = run("evaluate", "a", "b", "-g", "truth.json", "--format", "json", "--shard", "1/2")
    assert (code, len(json.loads(out)), [path.name for path in other]) == (0, 2, ["a", "b"]), err


def test_what_cannot_be_shared_is_refused(tables, run):
    prepared = prepare(ground_truth(tables[0]))
    Path("a/.quorum").touch()  # no folder can be made here
    with pytest.raises(InputError, match="nothing can be written there"):
        evaluate_stored(prepared, "a", shard=Shard(0, 2))
    write_table(table_of(tables[1]), "one.parquet")
    code, _, err = run("evaluate", "one.parquet", "-g", "truth.json", "--shard", "1/2")
    assert code == 2
    assert "--shard" in err
    assert "quorum repart" in err
