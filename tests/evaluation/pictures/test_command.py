"""`quorum show`: which images it draws, and what it writes and says."""

import json
import re

import numpy as np
import pytest
from PIL import Image

import quorum
from evaluation.pictures import show as judged
from evaluation.pictures import writing
from evaluation.pictures.sheet import draw_sheet
from fusion.errors import InputError
from fusion.storage import write_table
from tests.evaluation.pictures.test_pictures import table_of, truth_of

BOX = [100, 100, 50, 50]
SQUARE = [[100, 100, 150, 100, 150, 150, 100, 150]]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Three images; member a misses the object of 1 and of 2, member b that of 1, and has a wrong detection in 3."""
    truth = {
        "images": [{"id": i, "width": 320, "height": 240, "file_name": f"in/ü {i}.png"} for i in (1, 2, 3)],
        "categories": [{"id": 1, "name": "<cat>"}, {"id": 2, "name": "dog"}],
        "annotations": [
            {"id": i, "image_id": i, "category_id": 1, "bbox": BOX, "area": 2500, "iscrowd": 0, "segmentation": SQUARE}
            for i in (1, 2, 3)
        ],
    }
    (tmp_path / "gt.json").write_text(json.dumps(truth))
    a = table_of([(3, 1, 0.9, *BOX)])
    b = table_of([(2, 1, 0.9, *BOX), (3, 1, 0.9, *BOX), (3, 2, 0.8, 10, 10, 30, 30)], "b")
    for table in (a, b):
        write_table(table, tmp_path / f"{table.metadata.member}.parquet")
    (tmp_path / "images").mkdir()
    for number in (1, 2, 3):
        Image.new("RGB", (320, 240), (90, 90, 90)).save(tmp_path / "images" / f"ü {number}.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def show(*words):
    quorum.main(["show", "a.parquet", "b.parquet", "-g", "gt.json", "-o", "out", "--score", "0.5", *words])


def refused(capsys, *words):
    with pytest.raises(SystemExit) as end:
        show(*words)
    assert end.value.code == 2
    return capsys.readouterr().err


def names(folder):
    return sorted(path.name for path in (folder / "out").iterdir())


@pytest.mark.parametrize(
    ("words", "images"),
    [
        ("", ["1", "3"]),
        ("--worst 1", ["1"]),
        ("--most-improved 5", ["2"]),
        ("--image 3 --image in/ü_2.png", ["3", "2"]),
        ("--false-positives", ["3"]),
        ("--missed --worst 7", ["1"]),
        ("--category <cat>", ["1"]),
        ("--category 2 --picture-format png", ["3"]),
    ],
)
def test_which_images_are_drawn(folder, words, images, capsys):
    show("--images-folder", "images", *[word.replace("_", " ") for word in words.split()])
    ending = "png" if "png" in words and "format" in words else "jpg"
    expected = [f"{rank}-ü_{image}.{ending}" for rank, image in enumerate(images, 1)]
    assert names(folder) == [*expected, "index.html"]
    for name in expected:
        with Image.open(folder / "out" / name) as picture:
            assert picture.size[0] > 640
            assert np.abs(np.asarray(picture.convert("RGB"))[400, 20].astype(int) - 90).max() <= 3
    err = capsys.readouterr().err
    assert f"out: {len(images)} pictures" in err
    assert "note" not in err


def test_the_page_has_every_picture_with_its_words(folder):
    show()
    page = (folder / "out" / "index.html").read_text(encoding="utf-8")
    assert re.findall(r'src="([^"]*)"', page) == ["1-%C3%BC_1.jpg", "2-%C3%BC_3.jpg"]
    assert "b: 1 right, 1 wrong, 0 missed" in page
    assert page.count("alt=") == 2


def test_without_a_folder_it_says_that_frames_are_empty(folder, capsys):
    show("--image", "3")
    assert "drawn on empty frames; --images-folder says where the pictures are" in capsys.readouterr().err


def test_a_picture_that_is_missing_is_noted_and_a_folder_without_any_is_an_error(folder, capsys):
    (folder / "images" / "ü 3.png").unlink()
    show("--images-folder", "images")
    assert "1 of 2 on empty frames: image 3 has no picture in images" in capsys.readouterr().err
    (folder / "empty").mkdir()
    (folder / "out").rename(folder / "before")
    assert "has a picture of none of the 2 images, such as 'in/ü 1.png'" in refused(capsys, "--images-folder", "empty")
    assert not (folder / "out").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--worst 3 --image 1", "--image and --worst were given together"),
        ("--false-positives --missed", "--false-positives and --missed were given together"),
        ("--most-improved 3 --missed", "--most-improved and --missed were given together"),
        ("--worst 0", "option --worst: expected a number of pictures from 1 on, got 0"),
        ("--image 17", "it has no image '17'; it has such as 1, 2, 3"),
        ("--category bird", "option --category: gt.json has no category 'bird'; it has such as '<cat>', 'dog'"),
        ("--images-folder gt.json", "gt.json: expected a folder"),
        ("--iou 0.2", "option --iou: expected a number in [0.5, 1], got 0.2"),
        ("--category dog --missed", "no image is such as was asked for"),
        ("--iou-type segm --iou 2", "option --iou"),
    ],
)
def test_what_cannot_be_drawn_is_one_clear_error(folder, words, said, capsys):
    err = refused(capsys, *words.split())
    assert said in err
    assert err.count("\n") == 1
    assert not (folder / "out").exists()


def test_a_folder_is_not_overwritten(folder, capsys):
    (folder / "out").mkdir()
    assert "exists already, and a folder is not overwritten" in refused(capsys)


@pytest.mark.parametrize("threads", ["1", "3"])
def test_any_number_of_threads_writes_the_same_in_order_and_few_are_ahead(threads, folder, monkeypatch):
    monkeypatch.setenv("QUORUM_THREADS", threads)
    truth = truth_of([(1, 1, 10, 10, 50, 50)], images=40)
    chosen = list(judged([table_of([(7, 1, 0.9, 20, 20, 50, 50)])], truth, size=64).all())
    begun, ahead = [], []
    monkeypatch.setattr(writing, "draw_sheet", lambda shown: (begun.append(shown.rank), draw_sheet(shown))[1])
    (folder / "out").mkdir()
    writing.write_pictures(chosen, folder / "out", "png", lambda done: ahead.append(len(begun) - done))
    assert max(ahead) <= 2 * int(threads)
    for shown in chosen:
        with Image.open(folder / "out" / f"{shown.rank:02d}-{shown.image_id}.png") as picture:
            assert picture.tobytes() == shown.draw().tobytes()


def test_an_error_while_drawing_ends_all_and_leaves_nothing(folder, monkeypatch):
    def broken(shown):
        raise InputError("here", "cannot be drawn")

    monkeypatch.setattr(writing, "draw_sheet", broken)
    with pytest.raises(SystemExit):
        show()
    assert not (folder / "out").exists()
