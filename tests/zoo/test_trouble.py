"""What a training does when pictures are damaged, the disk is full or a process dies: one clear error, nothing lost."""

# ruff: noqa: E402

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
pytest.importorskip("timm", reason="timm is not installed")

import quorum
from fusion.errors import InputError
from tests.fusion.test_appending import files_of_at_most
from tests.search.test_killed import children, until
from tests.zoo.test_train import (
    Failing,
    assert_same_bits,
    coco_scenes,
    data,
    launch,
    log_of,
    small,
    weights,
    whole,
)
from zoo.checkpoint import latest, read_state, write_checkpoint
from zoo.data import epoch_order, open_data
from zoo.predict import predict
from zoo.runs import Run, read_json
from zoo.train import train

__all__ = ["data", "whole"]

ROOT = Path(__file__).parents[2]


@pytest.fixture
def spec(tmp_path):
    return coco_scenes(tmp_path)


def picture(tmp_path, number):
    return sorted((tmp_path / "set" / "images").iterdir())[number]


@pytest.mark.parametrize("workers", [0, 1])
def test_a_damaged_picture_is_named_and_nothing_is_lost(tmp_path, spec, whole, workers):
    target, settings = tmp_path / "run", small(checkpoint_steps=100)
    train(settings, open_data(spec), tmp_path / "intact")
    assert_same_bits(weights(tmp_path / "intact"), weights(whole))
    stream = settings.data.step(settings.train.batch)[0]
    order = [image for image, _ in epoch_order(open_data(spec), stream, settings.train.seed, 0)]
    bad = picture(tmp_path, order[5])  # of the second step
    content = bad.read_bytes()
    bad.write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError) as caught:
        train(settings, open_data(spec), target, workers=workers)
    assert str(caught.value).startswith(f"{bad}: cannot be read as an image")
    remedy = "Fetch or write it again; skip_broken leaves such images out; go on from step 1 with resume"
    assert caught.value.remedy == remedy
    assert latest(target).name == "checkpoint-00000001"
    bad.write_bytes(content)
    train(settings, open_data(spec), target, resume=True)
    assert_same_bits(weights(target), weights(whole))


def test_broken_pictures_are_skipped_if_asked(tmp_path, spec, capsys):
    for number in (2, 3):
        picture(tmp_path, number).write_bytes(b"no picture")
    picture(tmp_path, 5).unlink()
    run = train(small(), open_data(spec), tmp_path / "run", skip_broken=True)
    assert run.finished
    assert len(run.notes) == 3
    said = capsys.readouterr().err
    for number in (2, 3):
        (note,) = [note for note in run.notes if str(picture(tmp_path, number)) in note]
        assert note.startswith("left out, since it cannot be used: ")
        assert said.count(note) == 1
    assert read_json(tmp_path / "run" / "run.json", Run).notes == run.notes
    again = train(small(), open_data(spec), tmp_path / "again", skip_broken=True, workers=1)
    assert set(again.notes) == set(run.notes)
    assert_same_bits(weights(tmp_path / "again"), weights(tmp_path / "run"))


def test_where_no_picture_can_be_read_skipping_ends(tmp_path, spec):
    for number in range(7):
        picture(tmp_path, number).write_bytes(b"no picture")
    with pytest.raises(InputError, match="cannot be read as an image"):
        train(small(), open_data(spec), tmp_path / "run", skip_broken=True)


def test_the_option_of_the_command(tmp_path, spec, capsys):
    picture(tmp_path, 2).write_bytes(b"no picture")
    call = ["train", "md18_r50_base", "--scale", "tiny", "--data", spec, "-o", str(tmp_path / "run"), "--set"]
    call += ["train.steps=4", "--set", "train.batch=2", "--set", "data.short=[64]", "--workers", "0"]
    with pytest.raises(SystemExit):
        quorum.main(call)
    said = capsys.readouterr().err
    assert f"{picture(tmp_path, 2)}: cannot be read as an image" in said
    assert "--skip-broken leaves such images out; go on from step" in said
    quorum.main([*call, "--resume", "--skip-broken"])
    assert "left out, since it cannot be used" in capsys.readouterr().err


@pytest.mark.parametrize("workers", [0, 1])
def test_a_prediction_names_a_damaged_picture_and_keeps_what_is_done(tmp_path, spec, monkeypatch, workers):
    monkeypatch.setattr("zoo.predict._CHUNK", 2)
    train(small(steps=1), open_data(spec), tmp_path / "run")
    bad = picture(tmp_path, 5)
    content = bad.read_bytes()
    bad.write_bytes(content[:100])
    with pytest.raises(InputError, match=r"cannot be read as an image .* the same call goes on with what is done"):
        predict(tmp_path / "run", open_data(spec), tmp_path / "x.parquet", workers=workers)
    bad.write_bytes(content)
    assert predict(tmp_path / "run", open_data(spec), tmp_path / "x.parquet").resumed == 2


def full_at(data, image, size):
    """A data set during which the disk becomes full at an image; a context to undo it."""
    limit = files_of_at_most(size)

    def fill(*sample):
        limit.__enter__()
        return sample

    return Failing(data, image, fill), limit


def test_a_full_disk_while_a_checkpoint_is_written_leaves_the_one_before(data, whole, tmp_path):
    filling, limit = full_at(data, 14, 20_000)
    try:
        with pytest.raises(InputError) as caught:
            train(small(), filling, tmp_path)
    finally:
        limit.__exit__(None, None, None)
    place = tmp_path / "checkpoint-00000004"
    assert str(caught.value) == (
        f"{place}: could not be written: File too large. checkpoint-00000002 is whole; free some room and go on with "
        "resume."
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint-00000002", "config.json", "log.csv"]
    train(small(), data, tmp_path, resume=True)
    assert_same_bits(weights(tmp_path), weights(whole))


def test_every_file_of_a_checkpoint_may_be_the_one_that_does_not_fit(tmp_path):
    few, many = {"w": torch.zeros(1)}, {"w": torch.zeros(10_000)}
    write_checkpoint(tmp_path, 1, few, None, {"step": 1}, "{}")
    for step, parts in enumerate(
        ((many, None, {}, ""), (few, many, {}, ""), (few, None, many, ""), (few, None, {}, "x" * 40_000)), 2
    ):
        with (
            files_of_at_most(20_000),
            pytest.raises(InputError, match=r"File too large\. checkpoint-00000001 is whole"),
        ):
            write_checkpoint(tmp_path, step, *parts)
        assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-00000001"]
        assert read_state(tmp_path / "checkpoint-00000001")[2] == {"step": 1}


def test_a_log_that_cannot_be_written_costs_no_step(data, whole, tmp_path, monkeypatch):
    monkeypatch.setattr("zoo.training_log._EVERY", 1)

    def full(log):
        if log._step == 3:
            raise InputError(log._path, "could not be written: No space left on device", "Free some room")

    with monkeypatch.context() as patch:
        patch.setattr("zoo.training_log.TrainingLog._write", full)
        with pytest.raises(InputError, match=r"log\.csv: could not be written.* go on from step 3 with resume"):
            train(small(checkpoint_steps=100), data, tmp_path)
    assert latest(tmp_path).name == "checkpoint-00000003"
    train(small(checkpoint_steps=100), data, tmp_path, resume=True)
    assert_same_bits(weights(tmp_path), weights(whole))
    assert [row["step"] for row in log_of(tmp_path)] == ["4"]


def kill_this_process(*_):
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_loading_process_that_dies_costs_no_step(data, whole, tmp_path):
    settings = small(checkpoint_steps=100)
    with pytest.raises(InputError, match=r"workers: a process that loads images has died.* go on from step [0-2]"):
        train(settings, Failing(data, 10, kill_this_process), tmp_path, workers=1)  # some images ahead of the training
    train(settings, data, tmp_path, resume=True)
    assert_same_bits(weights(tmp_path), weights(whole))


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="looks for processes in /proc")
def test_processes_that_load_images_end_with_a_training_that_is_killed(tmp_path, spec):
    call = ["train", "md18_r50_base", "--scale", "tiny", "--data", spec, "-o", str(tmp_path / "run"), "--workers", "2"]
    call += ["--set", "train.steps=100000", "--set", "train.batch=2", "--set", "data.short=[64]"]
    training = subprocess.Popen(
        [sys.executable, "-m", "quorum", *call], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    until((tmp_path / "run" / "log.csv").exists)
    helpers = children(training.pid)
    helpers += [grandchild for child in helpers for grandchild in children(child)]
    assert len(helpers) >= 4  # two that load images, their fork server, and what looks after semaphores
    training.send_signal(signal.SIGKILL)
    training.wait()
    until(lambda: not any(Path(f"/proc/{helper}").exists() for helper in helpers))


class In:
    """Does something in the second of two processes."""

    def __init__(self, act):
        self.act = act

    def __call__(self, image, target):
        return self.act(image, target) if os.environ["RANK"] == "1" else (image, target)


def cannot_be_read(image, target):
    raise InputError("images/a.png", "cannot be read as an image", "Fetch or write it again")


def train_in_two(folder, trouble):
    act = {"dies": kill_this_process, "damaged": cannot_be_read}[trouble]
    train(small(checkpoint_steps=100), Failing(open_data("scenes:7,64,0,categories=4"), 6, In(act)), folder)


SCRIPT = """
import sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from fusion.errors import InputError
from tests.zoo.test_trouble import train_in_two
try:
    train_in_two(Path(sys.argv[1]), Path(sys.argv[1]).joinpath("trouble").read_text())
except InputError as error:
    sys.exit(f"quorum: {error}")
"""


@pytest.mark.parametrize("trouble", ["dies", "damaged"])
def test_trouble_in_one_of_two_processes_is_one_clear_error_and_costs_no_step(tmp_path, trouble):
    (tmp_path / "script.py").write_text(SCRIPT)
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "trouble").write_text(trouble)
    done = launch(tmp_path / "script.py", folder, 2)
    assert done.returncode != 0
    said = {
        "dies": "process 0: another of the 2 processes has ended. What it said or the system's log tells why; the "
        "same call goes on, a training with resume.",
        "damaged": "images/a.png: cannot be read as an image. Fetch or write it again; skip_broken leaves such images "
        "out; go on from step 2 with resume.",
    }[trouble]
    assert 0 < done.stderr.count(f"quorum: {said}") == done.stderr.count("quorum: ")
    assert "RuntimeError" not in done.stderr
    assert latest(folder).name == "checkpoint-00000002"
    run = train(small(checkpoint_steps=100), open_data("scenes:7,64,0,categories=4"), folder, resume=True)
    why = "after a process had died" if trouble == "dies" else "with another number of processes"
    assert run.notes == (f"resumed at step 2 {why}",)
