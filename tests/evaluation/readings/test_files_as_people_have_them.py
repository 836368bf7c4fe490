"""Files that do not mean what they seem to mean are read rightly, or refused with the options that read them."""

import importlib.util
import json
import re
import shlex
from pathlib import Path

import pytest

from tests.evaluation.readings.cases import READ, WRONG, results, write

MAKE = Path(__file__).parents[4] / "shared" / "cases" / "make.py"
needs_cases = pytest.mark.skipif(not MAKE.is_file(), reason="the cases are not beside the checkout (../shared/cases)")
SEEDS = range(16)


def options_of(message):
    """The options that a message says to read a file with."""
    return shlex.split(re.search(r"Read it with (--.*?); or as it stands", message)[1])


def precision(run, table, truth):
    code, out, err = run("evaluate", table, "-g", truth, "--format", "json")
    assert code == 0, err
    return json.loads(out)[0]["AP"]


def as_meant(run, truth, table):
    """AP of the same detections in a plain file."""
    path = table.with_name("plain.json")
    path.write_text(json.dumps(results(json.loads(truth.read_text()))))
    assert run("import", path, "-g", truth, "-o", table.with_name("plain.parquet"))[0] == 0
    return precision(run, table.with_name("plain.parquet"), truth)


@pytest.fixture(scope="module")
def shared_cases(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cases")
    spec = importlib.util.spec_from_file_location("make_cases", MAKE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.main(folder)
    return folder, {case["case"]: case for case in json.loads((folder / "cases.json").read_text())}


CASES = [
    *("image-ordinal-with-file-name", "image-stem-text", "image-stem-int-and-text", "image-path", "image-unicode"),
    *("image-permuted-with-file-name", "image-off-by-one", "category-permuted-with-name", "category-permuted"),
    *("category-name-disagrees", "category-contiguous", "category-names-case", "boxes-normalised"),
    *("boxes-normalised-centre", "boxes-xyxy", "boxes-centre-pixels", "boxes-other-size", "boxes-half-size"),
    *("scores-percent-and-unit", "scores-null", "member-empty", "other-data-set", "truth-gz", "wrong-kind", "huge-id"),
]


@needs_cases
def test_no_case_is_forgotten(shared_cases):
    assert set(CASES) == set(shared_cases[1])


@needs_cases
@pytest.mark.parametrize("name", CASES)
def test_a_case(shared_cases, tmp_path, run, name):
    folder, cases = shared_cases[0] / name, shared_cases[1]
    case = cases[name]
    truth = folder / case["truth"]
    tables, words = [], []
    for file in case["results"]:
        table = tmp_path / Path(file).with_suffix(".parquet").name
        # the member of another data set was imported against that one
        own = folder / "other_gt.json" if name == "other-data-set" and file == "b.json" else truth
        code, _, err = run("import", folder / file, "-g", own, "-o", table)
        assert (code == 0) == table.exists()
        assert code in (0, 2), err
        if code == 0:
            tables.append(table)
        else:
            assert "quorum: " in err
            words.append(err)
    if name.startswith(("boxes", "image-off", "category-permuted", "category-contiguous")) and "name" not in name:
        (message,) = words
        table = tmp_path / "again.parquet"
        code, _, err = run("import", folder / "a.json", "-g", truth, "-o", table, *options_of(message))
        assert code == 0, err
        # the file has no detections of one of the six images
        assert precision(run, table, truth) == (pytest.approx(84 / 101) if name == "image-off-by-one" else 1.0)
        assert run("import", folder / "a.json", "-g", truth, "-o", table, "--as-is")[0] in (0, 2)
    elif name == "other-data-set":
        code, _, err = run("fuse", *tables, "--method", "wbf", "-o", tmp_path / "fused.parquet")
        assert code == 2
        assert "data set" in err
    elif name == "scores-percent-and-unit":
        code, _, err = run("fuse", *tables, "--method", "wbf", "-o", tmp_path / "fused.parquet")
        assert "quorum learn calibration" in err
    elif "ap1" in case["expect"]:
        full = [table for table in tables if not (name == "member-empty" and table.stem == "b")]
        assert full
        assert [precision(run, table, truth) for table in full] == [1.0] * len(full)
        if len(tables) > 1:
            assert run("fuse", *tables, "--method", "wbf", "-o", tmp_path / "fused.parquet")[0] == 0
            assert precision(run, tmp_path / "fused.parquet", truth) == 1.0
    else:
        assert len(words) == len(case["results"])


@pytest.mark.parametrize("kind", WRONG, ids=lambda kind: kind.__name__)
def test_wrong_files_are_refused_with_the_options_that_read_them(kind, tmp_path, run):
    for seed in SEEDS:
        truth, path = write(tmp_path / str(seed), *kind(seed))
        table = tmp_path / str(seed) / "a.parquet"
        code, _, err = run("import", path, "-g", truth, "-o", table)
        assert code == 2, (seed, err)
        assert not table.exists()
        code, _, again = run("import", path, "-g", truth, "-o", table, *options_of(err))
        assert code == 0, (seed, err, again)
        whole = kind.__name__ != "image_ids_off_by_one" or seed % 2  # else one image is left out
        assert precision(run, table, truth) > as_meant(run, truth, table) - (0.01 if whole else 0.2), (seed, err)


@pytest.mark.parametrize("kind", READ, ids=lambda kind: kind.__name__)
def test_names_are_read_rightly(kind, tmp_path, run):
    for seed in SEEDS:
        truth, path = write(tmp_path / str(seed), *kind(seed))
        table = tmp_path / str(seed) / "a.parquet"
        code, _, err = run("import", path, "-g", truth, "-o", table)
        assert code == 0, (seed, err)
        assert precision(run, table, truth) == as_meant(run, truth, table), (seed, err)
