"""Rows of many text files, read at once, beside Python's own splitting of each."""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation.files.text_rows import TextRows
from fusion.arrow_arrays import numpy_array
from fusion.errors import InputError

NUMBER = st.floats(allow_nan=False, allow_infinity=False).map(repr)
BLANK = st.sampled_from([" ", "  ", "\t", " \t "])
END = st.sampled_from(["\n", "\r\n", "\n\n", " \n", "\r\n \r\n"])


@st.composite
def files(draw):
    """Texts of lines of a word and two numbers, with all kinds of blanks, and what they say."""
    texts, rows = [], []
    for number in range(draw(st.integers(1, 4))):
        text = draw(st.sampled_from(["", "\ufeff", "\n", " "]))
        for _ in range(draw(st.integers(0, 4))):
            words = [draw(st.sampled_from(["0", "dog", "größer", "a,b", '"x'])), draw(NUMBER), draw(NUMBER)]
            text += draw(BLANK).join(words) + draw(END)
            rows.append((number, words[0], float(words[1]), float(words[2])))
        texts.append(text.rstrip() if draw(st.booleans()) else text)
    return texts, rows


@settings(deadline=None)
@given(files())
def test_what_is_read_at_once_is_what_python_reads(case):
    texts, expected = case
    with TemporaryDirectory() as name:
        for number, text in enumerate(texts):
            (Path(name) / f"{number}.txt").write_bytes(text.encode())
        rows = TextRows(Path(name), [f"{number}.txt" for number in range(len(texts))], "text")
        word, *numbers = rows.columns([pa.string(), pa.float64(), pa.float64()])
        columns = [numpy_array(column).tolist() for column in numbers]
        found = list(zip(rows.file.tolist(), word.to_pylist(), *columns, strict=True))
        assert found == expected
        slow = [(words[0], float(words[1]), float(words[2])) for _, words in rows.rows()]
        assert slow == [row[1:] for row in expected]
        for row, (file, *_) in enumerate(expected):
            place, _, line = rows.within(row).partition(", line ")
            assert place == f"{file}.txt"
            text = texts[file].replace("\r\n", "\n").split("\n")[int(line) - 1]
            assert text.split()[0].strip("\ufeff") in (expected[row][1], "")


def test_rows_of_other_lengths_are_told(tmp_path):
    (tmp_path / "a.txt").write_text("1 2 3\n1 2\n")
    rows = TextRows(tmp_path, ["a.txt"], "text")
    assert rows.columns([pa.float64()] * 3) is None
    assert [len(words) for _, words in rows.rows()] == [3, 2]


def test_a_word_that_is_no_number_is_named(tmp_path):
    (tmp_path / "a.txt").write_text("\n1 2 3\n\n1 x 3\n")
    with pytest.raises(InputError, match=r"a\.txt, line 4, word 2: expected a number, got 'x'"):
        TextRows(tmp_path, ["a.txt"], "text").columns([pa.float64()] * 3)


def test_no_rows(tmp_path):
    (tmp_path / "a.txt").write_text("\n \n")
    rows = TextRows(tmp_path, ["a.txt"], "text")
    assert len(rows) == 0
    assert np.array_equal(rows.count, [0])
    assert [len(column) for column in rows.columns([pa.float64()] * 3)] == [0, 0, 0]
