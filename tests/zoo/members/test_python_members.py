"""Functions of one's own as members."""

# ruff: noqa: E402

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
pytest.importorskip("timm", reason="timm is not installed")

from fusion.errors import InputError
from fusion.storage import read_table
from tests.zoo.members.cases import SCENES, pictures, rows, table
from zoo.data import View
from zoo.data.masks import unpack
from zoo.store import hash_of, list_members

CODE = '''
import numpy as np

def bright(images, least=128):
    """Two boxes in each picture: that of its bright pixels, and all of it."""
    answers = []
    for image in images:
        assert image.dtype == np.uint8 and image.shape[2] == 3
        y, x = np.nonzero(image[..., 0] >= least)
        height, width = image.shape[:2]
        boxes = [[0, 0, width, height], [x.min(), y.min(), x.max() + 1, y.max() + 1]]
        answers.append({"boxes": boxes, "scores": [0.25, 0.5], "labels": ["checked violet star", "Red_Disc"]})
    return answers

def numbered(images):
    return [{"boxes": [[0, 0, 4, 4]], "scores": [1.0], "labels": [2]} for _ in images]

def masked(images):
    answers = bright(images)
    for image, answer in zip(images, answers):
        red = image[..., 0] >= 128
        answer["masks"] = np.stack([~red, red])
    return answers

masked.has_masks = True

def nothing(images):
    return [{"boxes": [], "scores": [], "labels": []} for _ in images]

def other(images):
    return [{"boxes": [[0, 0, 4, 4]] * 2, "scores": [1, 0.5], "labels": ["red disc", "unicorn"]} for _ in images]

def uneven(images):
    return [{"boxes": [[0, 0, 4, 4]], "scores": [], "labels": [2]} for _ in images]

def infinite(images):
    return [{"boxes": [[0, 0, float("inf"), 4]], "scores": [1], "labels": [2]} for _ in images]

def few(images):
    return []

def odd(images):
    return [{"boxes": [], "score": [], "labels": []} for _ in images]

number = 3
'''


@pytest.fixture(autouse=True)
def module(tmp_path, monkeypatch):
    """The working directory has the module, as where `quorum predict` is called."""
    (tmp_path / "own_finders.py").write_text(CODE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [p for p in __import__("sys").path if p != str(tmp_path)])
    monkeypatch.delitem(__import__("sys").modules, "own_finders", raising=False)


def test_the_table_has_what_the_function_answers(tmp_path):
    data, pixels = pictures()
    found = table("python:own_finders:bright", tmp_path / "t.parquet")
    for index, picture in enumerate(pixels):
        y, x = np.nonzero(picture[..., 0] >= 128)
        boxes, scores, categories, masks = rows(found, data, index)
        assert boxes.tolist() == [[x.min(), y.min(), x.max() + 1, y.max() + 1], [0, 0, *picture.shape[1::-1]]]
        assert (scores.tolist(), categories.tolist(), masks) == ([0.5, 0.25], [1, 3], None)
    assert "checkpoint" in found.metadata.made_by


def test_settings_masks_and_ids(tmp_path):
    data, pixels = pictures()
    least = int(pixels[0][..., 0].max())
    boxes, *_ = rows(table("python:own_finders:bright", tmp_path / "t.parquet", least=least), data, 0)
    y, x = np.nonzero(pixels[0][..., 0] >= least)
    assert boxes[0].tolist() == [x.min(), y.min(), x.max() + 1, y.max() + 1]
    *_, masks = rows(table("python:own_finders:masked", tmp_path / "m.parquet"), data, 1)
    assert np.array_equal(unpack(masks[0]), pixels[1][..., 0] >= 128)
    _, _, categories, _ = rows(table("python:own_finders:numbered", tmp_path / "n.parquet"), data, 1)
    assert categories.tolist() == [2]
    assert len(table("python:own_finders:nothing", tmp_path / "0.parquet")) == 0


def test_views_are_shown_and_boxes_brought_back(tmp_path):
    data, pixels = pictures()
    views = (View(32, 100), View(None, None, True))
    found = table("python:own_finders:masked", tmp_path / "t.parquet", views=views)
    height, width = pixels[0].shape[:2]
    small, _, _, masks = rows(found, data, 0, "32")
    assert small[1].tolist() == pytest.approx([0, 0, width, height], abs=1e-4)
    assert masks[0]["size"] == [height, width]
    mirrored, _, _, masks = rows(found, data, 0, "own-flip")
    y, x = np.nonzero(pixels[0][..., 0] >= 128)
    assert mirrored[0].tolist() == [x.min(), y.min(), x.max() + 1, y.max() + 1]
    assert np.array_equal(unpack(masks[0]), pixels[0][..., 0] >= 128)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("own_finders", "expected a module, a colon and a function"),
        ("own_finders:absent", "cannot be imported"),
        ("no_such_finders:x", "cannot be imported"),
        ("own_finders:number", "expected a function, number is a int"),
        ("own_finders:other", "1 of its 2 categories are not in scenes-3-64-5: unicorn"),
        ("own_finders:uneven", "1 boxes, 0 scores and 1 labels"),
        ("own_finders:infinite", "no finite number"),
        ("own_finders:few", "was shown 1 pictures, and answered 0"),
        ("own_finders:odd", "expected answers with boxes, scores, labels, got boxes, score, labels"),
    ],
)
def test_errors(name, said, tmp_path):
    with pytest.raises(InputError, match=said):
        table(f"python:{name}", tmp_path / "t.parquet")
    assert not (tmp_path / "t.parquet").exists()


def test_unknown_categories_are_dropped_where_asked(tmp_path):
    found = table("python:own_finders:other", tmp_path / "t.parquet", drop=True)
    assert set(found.category_id.tolist()) == {1}


def test_the_command_line(tmp_path, run):
    call = ("predict", "python:own_finders:other", "--data", SCENES, "-o", tmp_path / "t.parquet")
    code, _, said = run(*call[:4])
    assert code == 2
    assert "needs --output or --member" in said
    code, _, said = run(*call)
    assert code == 2
    assert "--label-map" in said
    assert "--unknown-categories drop" in said
    code, _, said = run(*call, "--label-map", "unicorn=2,red disc=3", "--flip")
    assert code == 0
    assert "3 images, 2 views" in said
    found = read_table(tmp_path / "t.parquet")
    assert set(found.category_id.tolist()) == {2, 3}
    assert found.metadata.member == "t"
    code, _, said = run("predict", tmp_path, "--data", SCENES, "--member", tmp_path / "m")
    assert code == 2
    assert "is for models of other frameworks" in said
    bright = ("predict", "python:own_finders:bright", "--data", SCENES, "-o", tmp_path / "b", "--set")
    assert run(*bright, "least=1")[0] == 0
    code, _, said = run(*bright, "least")
    assert code == 2
    assert "expected field=value" in said
    assert run(*call, "--boxes", tmp_path / "t.parquet")[0] == 2


def test_a_folder_in_the_store(tmp_path, run):
    """With a card, where it came from and AP, as a training has them; of another model it is refused."""
    folder = tmp_path / "runs" / "bright"
    call = ("predict", "python:own_finders:bright", "--data", SCENES, "--member", folder)
    assert run(*call)[0] == 0
    [member] = list_members(tmp_path / "runs")
    assert (member.name, member.identity) == ("bright", None)
    [(split, table)] = member.tables.items()
    assert member.origin.source == "python:own_finders:bright"
    assert member.origin.sha256 == hash_of(tmp_path / "own_finders.py")
    assert read_table(table).metadata.member == "bright"
    assert set(member.figures) == {(split, "bbox")}
    card = (folder / "card.md").read_text()
    assert "`python:own_finders:bright`, trained elsewhere" in card
    assert "AP50" in card
    assert run(*call)[0] == 0  # it is there already
    for other, problem in (
        ("masked", "is a member already, of python:own_finders:bright"),
        ("bright", "other weights"),
    ):
        (tmp_path / "own_finders.py").write_text(CODE + "\n")
        (folder / "tables" / table.name).unlink(missing_ok=True)
        code, _, said = run("predict", f"python:own_finders:{other}", *call[2:])
        assert code == 2
        assert problem in said
