"""Slices: read from files and fields, and measured by the commands as the images alone are."""

import json

import numpy as np
import pytest

from evaluation import Coco, evaluate, prepare, read_coco
from evaluation.comparison import compare
from evaluation.on_slices import bootstrap_slices, compare_slices
from evaluation.slices import Slices, read_slices
from evaluation.statistics import bootstrap
from fusion.errors import InputError
from fusion.storage import read_table
from zoo.synthetic.simulated import Scenario, Skill, simulate


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two members and ground truth whose images have a camera; tables made by the command."""
    import quorum

    folder = tmp_path_factory.mktemp("slices")
    simulate(Scenario(images=30, categories=3), [Skill(name="a"), Skill(name="b", separation=1.5)], 1).write(folder)
    gt = folder / "ground_truth.json"
    document = json.loads(gt.read_text())
    for number, image in enumerate(document["images"]):
        image |= {"camera": ("left", "right")[number % 2], "day": 10 - number % 3}
    gt.write_text(json.dumps(document))
    for name in "ab":
        quorum.main(["import", f"{folder / name}.json", "-g", str(gt), "-o", f"{folder / name}.parquet"])
    return folder


@pytest.fixture
def truth(folder):
    return read_coco(folder / "ground_truth.json")


def write_slices(path, rows):
    path.write_text("image,name\n" + "".join(f"{image},{name}\n" for image, name in rows))
    return path


def list_of(path, ids):
    path.write_text("".join(f"{i}\n" for i in ids))
    return path


def test_every_command_gives_what_it_gives_on_the_images_alone(folder, truth, tmp_path, run):
    ids = truth.image_id.tolist()
    own = {"night": ids[3:20], "rain": ids[10:25]}  # some are in both, some in none
    csv = write_slices(tmp_path / "slices.csv", [(i, name) for name, images in own.items() for i in images])
    a, b, gt = folder / "a.parquet", folder / "b.parquet", folder / "ground_truth.json"
    for command in (
        ("evaluate", a, b, "--figures", "AP,APs,AR100,F1,P"),
        ("compare", a, b, "--replicates", 40, "--figures", "AP,AP50,F1"),
        ("leaderboard", a, b, "--replicates", 40, "--figures", "AP75"),
    ):
        code, out, err = run(*command, "-g", gt, "--slices", csv, "--format", "json")
        assert code == 0, err
        assert "8 of 30 images are in no slice" in err
        whole = json.loads(out)
        for name, images in own.items():
            chosen = list_of(tmp_path / f"{name}.txt", images)
            code, out, err = run(*command, "-g", gt, "--images", chosen, "--format", "json")
            assert code == 0, err
            alone = json.loads(out)
            if command[0] == "evaluate":
                for table, wanted in zip(whole, alone, strict=True):
                    part = table["slices"][name]
                    assert part.pop("images") == len(images)
                    assert part | {"table": wanted["table"]} == wanted
                continue
            if command[0] == "leaderboard":
                for entry in (*whole["slices"][name]["entries"], *alone["entries"]):
                    del entry["bytes"]
            assert whole["slices"][name] == alone


def test_the_text_says_slices_by_a_field_of_the_images(folder, run, tmp_path):
    a, b, gt = folder / "a.parquet", folder / "b.parquet", folder / "ground_truth.json"
    code, out, err = run("compare", a, b, "-g", gt, "--slices", "camera", "--replicates", 20, "--format", "markdown")
    assert code == 0, err
    assert "| left | 15 | AP |" in out
    assert "| right | 15 | AP |" in out
    code, out, err = run("evaluate", a, "-g", gt, "--slices", "day", "--format", "markdown")
    assert code == 0, err
    rows = [line for line in out.splitlines() if line.startswith(("| day", "| all images"))]
    assert [row.split(" | ")[0] for row in rows] == ["| all images", "| day 8", "| day 9", "| day 10"]
    code, out, err = run(
        "leaderboard", a, b, "-g", gt, "--slices", "camera", "--replicates", 20, "-o", tmp_path / "board"
    )
    assert code == 0, err
    assert "## By slice" in (tmp_path / "board.md").read_text()
    assert "right" in out


def test_replicates_are_those_of_the_images_alone(folder, truth):
    tables = [read_table(folder / f"{name}.parquet") for name in "ab"]
    ready = prepare(truth, Coco())
    groups = np.array([f"scene {n // 3}" for n in range(30)], dtype=object)
    slices = Slices.of({"part": truth.image_id[5:21], "one": truth.image_id[:1]}, truth)
    found = [
        bootstrap_slices(ready.evaluate(table), slices, groups=groups, replicates=30, figures=("F1",))
        for table in tables
    ]
    ids = truth.image_id[5:21]
    alone = [
        bootstrap(
            evaluate(table.select_images(ids), truth.subset(ids), Coco()),
            groups=groups[5:21],
            replicates=30,
            figures=("F1",),
        )
        for table in tables
    ]
    for one, wanted in zip(found, alone, strict=True):
        assert one["part"].intervals == wanted.intervals
    compared = compare_slices(*found)
    assert compared["part"].to_dict() == compare(*alone).to_dict()
    # a single image has figures, and nothing can be drawn
    single = compared["one"].figures["AP"]
    assert np.isnan([single.low, single.p]).all()
    first = truth.image_id[:1]
    assert single.b == evaluate(tables[1].select_images(first), truth.subset(first), Coco()).AP


def test_images_by_file_name_and_what_is_noted(truth, tmp_path):
    names = truth.file_name.tolist()
    slices = read_slices(write_slices(tmp_path / "s.csv", [(names[4], "x"), (names[2], "x"), (names[2], "x")]), truth)
    assert slices.images["x"].tolist() == [2, 4]
    assert slices.notes == ("28 of 30 images are in no slice",)
    part = truth.subset(truth.image_id[:3])
    rows = [(truth.image_id[1], "kept"), (truth.image_id[9], "gone")]
    slices = read_slices(write_slices(tmp_path / "s.csv", rows), part, partial=True)
    assert list(slices.images) == ["kept"]
    assert "1 images of the slices are not among those measured" in slices.notes[0]
    assert "slice 'gone'" in slices.notes[1]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "an empty file"),
        ("image_id,name\n1,a\n", "got image_id, name"),
        ("image,name\n", "no line below the head"),
        ("image,name\n1\n", "line 2, field 'name'"),
        ("image,name\n,a\n", "line 2, field 'image'"),
        ("image,name\nnowhere.png,a\n", "1 of 1 images are not in the ground truth"),
    ],
)
def test_files_that_are_no_slices(truth, tmp_path, text, words):
    path = tmp_path / "slices.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=words) as caught:
        read_slices(path, truth)
    assert "slices.csv" in str(caught.value)


def test_slices_that_are_not_there(truth, tmp_path):
    with pytest.raises(InputError, match=r"they have .*camera, day"):
        read_slices("weather", truth)
    with pytest.raises(InputError, match="columns image and name"):
        read_slices(tmp_path / "none.csv", truth)
    with pytest.raises(InputError, match="slice 'x' has no image"):
        Slices.of({"x": []}, truth)
    with pytest.raises(InputError, match="not in the ground truth"):
        Slices.of({"x": [10**9]}, truth)
