"""Text files are read whatever they are compressed by, in UTF-8 and UTF-16, and refused in words."""

import bz2
import gzip
import lzma

import pyarrow as pa
import pytest

from fusion.class_descriptions import read_class_descriptions
from fusion.errors import InputError
from fusion.source import Source
from fusion.text import open_text

FORMS = {
    "plain": lambda text: text.encode(),
    "byte order mark": lambda text: text.encode("utf-8-sig"),
    "UTF-16": lambda text: text.encode("utf-16"),
    "UTF-16, other order": lambda text: b"\xfe\xff" + text.encode("utf-16-be"),
    "gzip": lambda text: gzip.compress(text.encode()),
    "gzip of UTF-16": lambda text: gzip.compress(text.encode("utf-16")),
    "zstd": lambda text: pa.compress(text.encode(), codec="zstd", asbytes=True),
    "bzip2": lambda text: bz2.compress(text.encode()),
    "xz": lambda text: lzma.compress(text.encode()),
}


@pytest.mark.parametrize("form", FORMS)
def test_all_forms(tmp_path, form):
    text = "".join(f"/m/{number},Größe {number}\r\n" for number in range(20_000))
    path = tmp_path / "classes.csv"
    path.write_bytes(FORMS[form](text))
    with open_text(path, "a text") as file:
        assert file.read() == text
    names = read_class_descriptions(path)
    assert (len(names), names["/m/19999"]) == (20_000, "Größe 19999")
    source = Source(path, "a text")
    assert len(source.read(3)) == 3  # what is left can be read at once
    assert source.read()
    source.close()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (gzip.compress(b"/m/a,A\n" * 9, mtime=0)[:-9], "compressed by gzip and damaged or cut off"),
        ("/m/a,Größe\n".encode("latin-1"), "expected class descriptions"),
        ("/m/a,A\n".encode("utf-16")[:-1], "expected class descriptions"),
    ],
)
def test_what_cannot_be_read(tmp_path, content, words):
    (tmp_path / "classes.csv").write_bytes(content)
    with pytest.raises(InputError, match=words):
        read_class_descriptions(tmp_path / "classes.csv")
    with pytest.raises(InputError, match="there is no such file"):
        read_class_descriptions(tmp_path / "absent.csv")
