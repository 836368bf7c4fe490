"""A search that is killed, or whose disk is full: what it leaves, and how it goes on."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.fusion.test_appending import files_of_at_most
from tests.search.test_cli import call_of, folder, run

__all__ = ["folder", "run"]

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.filterwarnings("ignore:module 'sre_constants':DeprecationWarning")


def until(condition):
    for _ in range(6000):  # some machines are five times slower
        if found := condition():
            return found
        time.sleep(0.1)
    raise AssertionError("waited ten minutes in vain")


def children(pid):
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(child) for child in text.split()]


def semaphores(pid):
    return {line.split()[-1] for line in Path(f"/proc/{pid}/maps").read_text().splitlines() if "/dev/shm/sem." in line}


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="looks for processes in /proc")
def test_workers_end_with_their_parent_and_the_next_search_removes_what_it_left(folder, tmp_path, monkeypatch, run):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    call = call_of(folder, tmp_path / "run", "--budget", 40, "--workers", 2)
    search = subprocess.Popen(
        [sys.executable, "-m", "quorum", *map(str, call)],
        cwd=ROOT,
        env=os.environ | {"TMPDIR": str(scratch)},
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    journal = tmp_path / "run" / "trials.journal"
    until(lambda: journal.exists() and journal.read_bytes().count(b'"op_code":4') > 2)
    helpers = children(search.pid)
    assert len(helpers) >= 3  # two workers, and what looks after their semaphores
    shared = set().union(*map(semaphores, helpers))
    assert shared
    search.send_signal(signal.SIGKILL)
    search.wait()
    until(lambda: not any(Path(f"/proc/{helper}").exists() for helper in helpers))
    assert not [name for name in shared if Path(name).exists()]
    assert len(list(scratch.glob("quorum-search-*"))) == 1
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    code, _, err = run(*call, "--resume")
    assert code == 0, err
    assert list(scratch.iterdir()) == []


def test_a_full_disk_in_mid_search_names_the_file_and_loses_no_trial(folder, tmp_path, run):
    output = tmp_path / "run"
    call = call_of(folder, output, "--budget", 20)
    with files_of_at_most(16_000):
        code, _, err = run(*call)
    assert code == 2
    assert f"{output / 'trials.journal'}: could not be written: File too large." in err
    assert "free some room and go on with --resume" in err
    kept = (output / "trials.journal").read_bytes()
    assert kept.endswith(b"\n")
    assert kept.count(b'"op_code":4') > 2
    (output / "trials.journal").write_bytes(kept + b'{"op_code":4,"wor')  # as a power cut leaves it
    code, _, err = run(*call, "--resume")
    assert code == 0, err
    assert "trials.journal: a line was not whole" in err
    assert (output / "trials.journal").read_bytes().startswith(kept)
    code, _, err = run(*call_of(folder, tmp_path / "whole", "--budget", 20))
    assert (tmp_path / "whole" / "best.toml").read_bytes() == (output / "best.toml").read_bytes()


def test_no_room_for_what_workers_share(folder, tmp_path, monkeypatch, run):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr("search.evaluators._share", full)
    code, _, err = run(*call_of(folder, tmp_path / "run", "--budget", 20, "--workers", 2))
    assert code == 2
    assert "could not be written there for the workers: No space left on device" in err
    assert "or leave out --workers" in err
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def full(*_):
    raise OSError(28, "No space left on device")
