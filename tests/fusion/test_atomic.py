"""Writing all or nothing."""

import os
import stat
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from fusion.atomic import keep_inputs, replacing
from fusion.errors import InputError

ROOT = Path(__file__).parents[2]


def test_a_parent_that_is_a_file_is_one_clear_error(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="could not be written"), replacing(tmp_path / "file" / "new.txt") as temporary:
        temporary.write_text("y")
    assert (tmp_path / "file").read_text() == "x"


def test_an_error_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")

    def half_written():
        with replacing(path) as temporary:
            temporary.write_text("new")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        half_written()
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.txt"]


@pytest.mark.parametrize("folder", [False, True])
def test_what_a_killed_process_left_is_removed_by_the_next(tmp_path, folder):
    write = """
        import os, signal, sys
        from fusion.atomic import replacing
        with replacing(sys.argv[1], folder=sys.argv[2] == "True") as temporary:
            (temporary / "a" if temporary.is_dir() else temporary).write_text("half")
            print("written", flush=True)
            signal.pause()
    """
    others = [tmp_path / name for name in (".x.tmp", ".x.notes.tmp", ".x.parquet.0123abcd.tmp", ".y.0123abcd.tmp")]
    for other in others:
        other.write_text("of somebody else")
    path = tmp_path / "x"
    command = [sys.executable, "-c", textwrap.dedent(write), str(path), str(folder)]
    living, dead = (subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(2))
    try:
        for process in (living, dead):
            assert process.stdout.readline() == "written\n"
        dead.kill()
        dead.wait()
        assert len(list(tmp_path.glob(".x.????????.tmp"))) == 2
        with replacing(path) as temporary:
            temporary.write_text("new")
        (left,) = tmp_path.glob(".x.????????.tmp")  # of the process that lives
        assert (left / "a" if folder else left).read_text() == "half"
        assert path.read_text() == "new"
    finally:
        for process in (living, dead):
            process.kill()
            process.wait()
            process.stdout.close()
    with replacing(path) as temporary:
        temporary.write_text("newer")
    assert sorted(tmp_path.iterdir()) == sorted([*others, path])


def test_a_link_is_followed(tmp_path):
    (tmp_path / "deep").mkdir()
    real, link, new = tmp_path / "deep" / "real", tmp_path / "link", tmp_path / "new"
    real.write_text("old")
    link.symlink_to(real)
    new.symlink_to("deep/fresh")
    for path in (link, new):
        with replacing(path) as temporary:
            temporary.write_text("x")
        assert path.is_symlink()
    assert real.read_text() == (tmp_path / "deep" / "fresh").read_text() == "x"
    assert sorted(path.name for path in (tmp_path / "deep").iterdir()) == ["fresh", "real"]
    circle = tmp_path / "circle"
    circle.symlink_to(circle)
    with pytest.raises(InputError, match="could not be written"), replacing(circle) as temporary:
        temporary.write_text("x")
    assert circle.is_symlink()


def test_a_pipe_is_written_through(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with subprocess.Popen(["cat", pipe], stdout=subprocess.PIPE) as reader:
        with replacing(pipe) as temporary:
            temporary.write_bytes(b"through")
        assert reader.stdout.read() == b"through"
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert list(tmp_path.iterdir()) == [pipe]


def test_devices_stay_devices():
    with replacing("/dev/null") as temporary:
        temporary.write_bytes(b"nothing")
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)
    with pytest.raises(InputError, match="/dev/full: could not be written"), replacing("/dev/full") as temporary:
        temporary.write_bytes(b"much")


@pytest.mark.parametrize("kind", ["same", "symbolic", "hard", "dotted", "folder", "inside"])
def test_inputs_are_kept(tmp_path, kind):
    source = tmp_path / "in.parquet"
    if kind in ("folder", "inside"):
        source.mkdir()
        (source / "part-00000.parquet").write_text("x")
    else:
        source.write_text("x")
    output = tmp_path / "out"
    if kind == "symbolic":
        output.symlink_to(source)
    elif kind == "hard":
        output.hardlink_to(source)
    elif kind == "dotted":
        output = tmp_path / "." / "deep" / ".." / "in.parquet"
        (tmp_path / "deep").mkdir()
    else:
        output = source / "part-00009.parquet" if kind == "inside" else source
    with pytest.raises(InputError, match="one of the inputs"):
        keep_inputs({"output": output}, [tmp_path / "other", source])
    keep_inputs({"output": tmp_path / "new", "save_recipe": tmp_path / "new.toml"}, [source, Path("-")])
    keep_inputs({"output": Path("/dev/null")}, [Path("/dev/null")])
    with pytest.raises(InputError, match="options output and save_recipe: both name"):
        keep_inputs({"output": tmp_path / "new", "save_recipe": tmp_path / "." / "new"}, [source])
