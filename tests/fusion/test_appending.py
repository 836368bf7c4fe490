"""Files that grow line by line, on a disk that is full and after a power cut."""

import resource
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fusion.appending import append_lines, cut_torn_line
from fusion.errors import InputError


@contextmanager
def files_of_at_most(size):
    """A disk that is full after so many bytes of a file; Python ignores the signal and sees an error."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@given(st.lists(st.binary(max_size=30).map(lambda line: line.replace(b"\n", b"")), max_size=4), st.binary(max_size=9))
def test_whole_lines_stay_and_what_is_torn_goes(tmp_path_factory, lines, torn):
    path = tmp_path_factory.mktemp("a") / "log"
    whole, torn = b"".join(line + b"\n" for line in lines), torn.replace(b"\n", b"")
    path.write_bytes(whole + torn)
    append_lines(path, b"next\n", "")
    assert path.read_bytes() == whole + b"next\n"
    path.write_bytes(whole + torn)
    assert cut_torn_line(path) == len(torn)
    assert path.read_bytes() == whole


def test_a_long_torn_line_is_cut_too(tmp_path):
    path = tmp_path / "log"
    path.write_bytes(b"first\n" + b"x" * 200_000)
    assert cut_torn_line(path) == 200_000
    assert path.read_bytes() == b"first\n"
    path.write_bytes(b"\0" * 70_000)
    assert cut_torn_line(path) == 70_000
    assert path.read_bytes() == b""


def test_a_full_disk_leaves_the_lines_before_and_is_named(tmp_path):
    path = tmp_path / "log"
    append_lines(path, b"first\n", "")
    with files_of_at_most(10), pytest.raises(InputError, match=r"log: could not be written: .* Do this"):
        append_lines(path, b"second\n", "Do this")
    assert path.read_bytes() == b"first\n"
    append_lines(path, b"second\n", "")
    assert path.read_bytes() == b"first\nsecond\n"
    with pytest.raises(InputError, match="could not be written"):
        append_lines(tmp_path / "none" / "log", b"", "")
