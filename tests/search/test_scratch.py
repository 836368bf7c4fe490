"""Folders for the time of a search: what a killed process leaves, the next one removes."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from fusion.errors import InputError
from search.scratch import scratch_folder

HOLD = "import sys\nfrom search.scratch import scratch_folder\n" + (
    "with scratch_folder('quorum-test-') as folder:\n    print(folder, flush=True)\n    sys.stdin.read()\n"
)


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


def test_folders_of_the_dead_go_and_those_of_the_living_stay(place):
    environment = os.environ | {"TMPDIR": str(place)}
    holders = [
        subprocess.Popen(
            [sys.executable, "-c", HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True
        )
        for _ in range(2)
    ]
    try:
        living, dead = (Path(holder.stdout.readline().strip()) for holder in holders)
        (dead / "arrays.bin").write_text("columns")
        holders[1].send_signal(signal.SIGKILL)
        holders[1].wait()
        (place / "quorum-test-file").write_text("no folder")
        (place / "quorum-test-link").symlink_to(living)
        with scratch_folder("quorum-test-") as own:
            assert not dead.exists()
            assert living.is_dir()
            assert own.is_dir()
        assert not own.exists()
        assert {path.name for path in place.iterdir()} == {living.name, "quorum-test-file", "quorum-test-link"}
    finally:
        for holder in holders:
            holder.communicate()
    assert not living.exists()


def test_many_at_once_never_take_each_others_folder(place):
    failures = []

    def work():
        for _ in range(50):
            with scratch_folder("quorum-test-") as folder:
                (folder / "file").write_text("x")
                if not (folder / "file").exists():
                    failures.append(folder)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert list(place.iterdir()) == []


def test_no_room_for_a_folder(place, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(place / "none"))
    with pytest.raises(InputError, match=r"none: no folder could be made there: No such file .* set TMPDIR"):
        scratch_folder("quorum-test-").__enter__()
