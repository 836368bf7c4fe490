"""Lists of images of one deal: all are written or none, and none is used beside one of another deal."""

import json

import numpy as np
import pytest

from evaluation.lists import check_siblings, write_lists
from fusion.errors import InputError
from tests.fusion.test_appending import files_of_at_most

IMAGES = 400


@pytest.fixture
def truth(tmp_path):
    document = {
        "images": [{"id": 10_000 + i, "width": 9, "height": 9} for i in range(IMAGES)],
        "annotations": [
            {"id": i + 1, "image_id": 10_000 + i, "category_id": 1, "bbox": [0, 0, 5, 5], "area": 25, "iscrowd": 0}
            for i in range(IMAGES)
        ],
        "categories": [{"id": 1, "name": "a"}],
    }
    (tmp_path / "gt.json").write_text(json.dumps(document))
    (tmp_path / "found.json").write_text(
        json.dumps([{"image_id": 10_000 + i, "category_id": 1, "bbox": [0, 0, 5, 5], "score": 0.5} for i in range(9)])
    )
    return tmp_path / "gt.json"


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_full_disk_leaves_all_lists_of_the_deal_before(tmp_path, truth, run):
    folder = tmp_path / "lists"
    assert run("split", truth, "-o", folder, "--shares", "search=0.5,verify=0.5")[0] == 0
    before = contents(folder)
    assert before.keys() == {"search.txt", "verify.txt", "splits.toml"}
    with files_of_at_most(1000):  # room for the short list alone
        code, _, err = run("split", truth, "-o", folder, "--shares", "search=0.1,verify=0.9", "--seed", 3)
    assert code == 2
    assert "verify.txt: could not be written" in err
    assert "All lists of the folder are as they were" in err
    assert contents(folder) == before
    assert run("split", truth, "-o", folder, "--shares", "search=0.1,verify=0.9", "--seed", 3)[0] == 0
    assert contents(folder).keys() == before.keys()
    assert contents(folder)["search.txt"] != before["search.txt"]


def test_lists_of_two_deals_are_not_used_together(tmp_path, truth, run):
    folder, table = tmp_path / "lists", tmp_path / "found.parquet"
    assert run("import", tmp_path / "found.json", "-g", truth, "-o", table)[0] == 0
    shares = ("--shares", "search=0.5,verify=0.5")
    assert run("split", truth, "-o", folder, *shares)[0] == 0
    calls = [
        ("evaluate", table, "-g", truth, "--images", folder / "search.txt"),
        ("learn", "weights", table, "-g", truth, "--images", folder / "search.txt", "-o", tmp_path / "w.toml"),
        ("search", table, table, "-g", truth, "--splits", folder, "-o", tmp_path / "run", "--budget", 2),
        ("submit", "--check", tmp_path / "found.json", "-g", folder / "search.txt"),
    ]
    for call in calls[:2]:
        code, _, err = run(*call)
        assert code == 0, err
    other = tmp_path / "other"
    assert run("split", truth, "-o", other, *shares, "--seed", 5)[0] == 0
    (folder / "verify.txt").write_bytes((other / "verify.txt").read_bytes())
    for call in calls:
        code, _, err = run(*call)
        assert code == 2, call
        assert "verify.txt: is not the list that was dealt together with search.txt" in " ".join(err.split())
        assert "`quorum split`" in err


def test_what_does_no_harm(tmp_path):
    lists = {"a": np.array([1, 2]), "b": np.array(["x", "y"], dtype=object)}
    write_lists(tmp_path, lists, "of")
    (tmp_path / "a.txt").write_bytes(b"1\r\n2\r\n")  # other line ends
    (tmp_path / "mine.txt").write_text("7\n")
    for name in ("a", "b", "mine"):
        check_siblings(tmp_path / f"{name}.txt")
    (tmp_path / "b.txt").unlink()
    check_siblings(tmp_path / "a.txt")
    check_siblings(tmp_path / "absent" / "a.txt")


def test_lists_that_would_stay_from_another_deal(tmp_path):
    three = {name: np.array([number]) for number, name in enumerate("abc")}
    write_lists(tmp_path, three, "of")
    with pytest.raises(InputError, match=r"lists of an earlier deal that are not dealt now: c\.txt"):
        write_lists(tmp_path, {name: three[name] for name in "ab"}, "of")
    (tmp_path / "c.txt").unlink()
    write_lists(tmp_path, {name: three[name] for name in "ab"}, "of")


@pytest.mark.parametrize("text", ["splits = 7", "[splits]\na = 1", "[", b"\xff"])
def test_a_damaged_description_is_named(tmp_path, text):
    (tmp_path / "splits.toml").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InputError, match=r"splits\.toml: expected the description of a split"):
        check_siblings(tmp_path / "a.txt")
