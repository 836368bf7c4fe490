"""Tables and ground truth of one data set, and of others, through the commands."""

import json
from pathlib import Path

import numpy as np
import pytest

import quorum
from evaluation.belonging import check_belongs, origin_of
from evaluation.coco_ground_truth import read_coco
from evaluation.ground_truth import GroundTruth
from fusion.errors import InputError
from fusion.table import Metadata

NAMES = {1: "cat", 2: "dog"}


def annotations(ids=(1, 2, 3, 4), *, name="{}.jpg", categories=NAMES, reverse=False, more=0):
    images = [{"id": i, "file_name": name.format(i), "width": 64, "height": 48} for i in ids]
    objects = [
        {"id": k + 1, "image_id": i, "category_id": k % 2 + 1, "bbox": [k % 7, 5, 20, 10 + k % 3], "area": 200}
        for k, i in enumerate([*ids, *ids[:more]])
    ]
    kinds = [{"id": i, "name": text} for i, text in categories.items()]
    document = {"images": images, "annotations": objects, "categories": kinds}
    if not reverse:
        return document
    return {key: [dict(reversed(entry.items())) for entry in reversed(value)] for key, value in document.items()}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A data set (a), another with the same ids (b), other images of the first (test), and a table of each."""
    monkeypatch.chdir(tmp_path)
    documents = {
        "a": annotations(),
        "b": annotations(name="x{}.jpg"),
        "test": annotations((11, 12, 13, 14)),
        "again": annotations(reverse=True, more=2),
        "animals": annotations(categories={1: "cat", 2: "cow"}),
    }
    for name, document in documents.items():
        Path(f"{name}.json").write_text(json.dumps(document))
        results = [
            {key: entry[key] for key in ("image_id", "category_id", "bbox")} | {"score": 0.9 - entry["id"] / 100}
            for entry in document["annotations"]
        ]
        Path(f"{name}-results.json").write_text(json.dumps(results))
        run("import", f"{name}-results.json", "-g", f"{name}.json", "-o", f"{name}.parquet")
    Path("list.txt").write_text("1\n3\n")
    return tmp_path


def run(*arguments):
    try:
        quorum.main(list(map(str, arguments)))
    except SystemExit as done:
        if done.code not in (None, 0):
            raise


def refused(capsys, *arguments):
    capsys.readouterr()
    with pytest.raises(SystemExit) as done:
        quorum.main(list(map(str, arguments)))
    assert done.value.code == 2
    return capsys.readouterr().err


COMMANDS = {
    "evaluate": ("evaluate", "{}.parquet", "-g", "a.json"),
    "compare": ("compare", "a.parquet", "{}.parquet", "-g", "a.json", "--replicates", "10"),
    "leaderboard": ("leaderboard", "a.parquet", "{}.parquet", "-g", "a.json", "--replicates", "10"),
    "analyze": ("analyze", "a.parquet", "{}.parquet", "-g", "a.json", "-o", "report"),
    "learn weights": ("learn", "weights", "a.parquet", "{}.parquet", "-g", "a.json", "-o", "w.toml"),
    "learn calibration": ("learn", "calibration", "a.parquet", "{}.parquet", "-g", "a.json", "-o", "w.toml"),
    "learn scales": ("learn", "scales", "a.parquet", "{}.parquet", "-g", "a.json", "-o", "w.toml"),
    "learn experts": ("learn", "experts", "a.parquet", "{}.parquet", "-g", "a.json", "-o", "w.toml"),
    "search": ("search", "a.parquet", "{}.parquet", "-g", "a.json", "-o", "found"),
    "ablate": ("ablate", "a.parquet", "{}.parquet", "-g", "a.json", "--recipe", "megdetv2-ensemble"),
    "submit": (
        "submit",
        "{}.parquet",
        "-g",
        "a.json",
        "--format",
        "coco",
        "--split",
        "s",
        "--algorithm",
        "m",
        "-o",
        "s.json",
    ),
    "fuse": ("fuse", "a.parquet", "{}.parquet", "--method", "wbf", "-o", "f.parquet"),
}


@pytest.mark.parametrize("command", list(COMMANDS))
def test_another_data_set_is_refused(folder, capsys, command):
    before = set(folder.rglob("*"))
    told = refused(capsys, *(word.format("b") for word in COMMANDS[command]))
    assert "data set" in told
    assert "'x" in told
    assert "64 x 48" in told
    assert set(folder.rglob("*")) == before
    told = refused(capsys, *(word.format("animals") for word in COMMANDS[command]))
    assert "category 2 is 'cow'" in told or "category 2 is 'dog' in one and 'cow' in the other" in told


@pytest.mark.parametrize("command", ["evaluate", "fuse", "submit"])
def test_another_split_is_refused_where_it_is_not_right(folder, capsys, command):
    assert "of 4" in refused(capsys, *(word.format("test") for word in COMMANDS[command])) or command == "fuse"


@pytest.mark.parametrize("command", ["evaluate", "fuse", "learn weights", "submit"])
def test_the_same_data_set_written_otherwise_agrees(folder, capsys, command):
    run(*(word.format("again") for word in COMMANDS[command]))
    assert "categor" not in capsys.readouterr().err


def test_a_subset_belongs_to_its_whole(folder, capsys):
    run("evaluate", "a.parquet", "again.parquet", "-g", "a.json", "--images", "list.txt")
    assert "data set" in refused(capsys, "evaluate", "b.parquet", "-g", "a.json", "--images", "list.txt")


def test_learned_on_one_split_used_on_another(folder, capsys):
    for kind in ("weights", "calibration"):
        run("learn", kind, "a.parquet", "again.parquet", "-g", "a.json", "-o", f"{kind}.toml")
    for given in (("--weights", "weights.toml"), ("--calibration", "calibration.toml")):
        run("import", "test-results.json", "-g", "test.json", "-o", "t/a.parquet", "--member", "a")
        run("fuse", "t/a.parquet", "--method", "nms", *given, "-o", "f.parquet")
        run("import", "animals-results.json", "-g", "animals.json", "-o", "t/a.parquet", "--member", "a")
        told = refused(capsys, "fuse", "t/a.parquet", "--method", "nms", *given, "-o", "g.parquet")
        assert "was learned on other categories than the tables have: category 2 is 'dog' there, not 'cow'" in told


def test_ranks_need_no_ground_truth_but_one_data_set(folder, capsys):
    line = ("learn", "calibration", "--kind", "rank", "-o", "ranks.toml", "a.parquet")
    assert "of different data sets" in refused(capsys, *line, "b.parquet")
    run(*line, "again.parquet")
    run("import", "animals-results.json", "-g", "animals.json", "-o", "t/a.parquet", "--member", "a")
    told = refused(capsys, "fuse", "t/a.parquet", "--method", "nms", "--calibration", "ranks.toml", "-o", "g.parquet")
    assert "was learned on other categories than the tables have (ranks only)" in told


def test_relations_of_other_categories_are_refused(folder, capsys):
    run("learn", "relations", "-g", "animals.json", "-o", "r.toml")
    told = refused(capsys, "fuse", "a.parquet", "--method", "cooccurrence", "--relations", "r.toml", "-o", "g.parquet")
    assert "category 2 is 'cow'" in told


def test_the_whole_ground_truth_is_looked_through():
    """A table of 5 of 100,000 images of another data set: the sample of the many has hardly any of them."""
    ids = np.arange(100_000)
    truth = GroundTruth.from_arrays(
        image_id=ids,
        category_id=[1],
        annotation_image_id=[0],
        annotation_category_id=[1],
        xywh=[[0, 0, 5, 5]],
        file_name=[f"{i}.jpg" for i in ids],
    )
    few = truth.subset([3, 5, 7])
    assert few.image_sketch == truth.image_sketch
    other = GroundTruth.from_arrays(
        image_id=ids[10:15],
        category_id=[1],
        annotation_image_id=[10],
        annotation_category_id=[1],
        xywh=[[0, 0, 5, 5]],
        file_name=[f"y{i}.jpg" for i in ids[10:15]],
    )
    with pytest.raises(InputError, match="another data set than ground truth"):
        check_belongs("t.parquet", Metadata(**origin_of(other)), truth)
    assert check_belongs("t.parquet", Metadata(), truth) == ()


def test_old_tables_say_what_they_can(folder):
    truth = read_coco("a.json")
    assert check_belongs("t", Metadata(categories=truth.categories_fingerprint), truth) == ()
    (line,) = check_belongs("t", Metadata(categories="another"), truth)
    assert "equal ids may differ" in line
