"""Writing all or nothing."""

import pytest

from fusion.atomic import replacing
from fusion.errors import InputError


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
