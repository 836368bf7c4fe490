"""What the commands print."""

import io
import json
import re
import time

import numba
import pytest
from rich.console import Console

from fusion import compilation, said, terminal
from fusion.errors import Warned
from fusion.printed_table import PrintedTable, print_json, print_table
from fusion.storage import read_table, write_table
from fusion.table import DetectionTable, Metadata
from fusion.terminal import notes, quiet, stderr


def table():
    return PrintedTable.of(("name", "first", "second"), [("[bird]", "0.12345678", "0.87654321")])


@pytest.mark.parametrize(
    ("width", "seen", "left_out"), [(80, ["0.12345678", "0.87654321"], ""), (30, ["0.12345678"], "second")]
)
def test_a_narrow_terminal_gets_whole_columns(monkeypatch, capsys, width, seen, left_out):
    monkeypatch.setenv("FORCE_COLOR", "1")  # a terminal
    monkeypatch.setenv("COLUMNS", str(width))
    print_table(table())
    out, err = capsys.readouterr()
    assert [value for value in ("0.12345678", "0.87654321") if value in out] == seen
    assert "[bird]" in out
    assert left_out in err
    assert bool(err) == bool(left_out)


def test_a_file_gets_all(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "30")
    print_table(table())
    assert "0.87654321" in capsys.readouterr().out


@pytest.fixture
def memory(monkeypatch, tmp_path):
    """Notes are remembered in a place of the test's own; what the process knows of them can be forgotten."""
    monkeypatch.delenv("QUORUM_NOTES", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in ("here", "there", "work", "elsewhere"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "work")
    said._known.cache_clear()
    return said._known.cache_clear


def printed(capsys, where, *lines):
    notes(where, lines)
    return " ".join(capsys.readouterr().err.split())


def test_a_note_is_printed_once_for_a_folder(memory, monkeypatch, capsys, tmp_path):
    a, b, c = tmp_path / "here" / "a.json", tmp_path / "here" / "b.json", tmp_path / "there" / "c.json"
    for path in (a, b, c):
        path.write_text("{}")
    assert printed(capsys, a, "areas are missing", "texts") == f"note: {a}: areas are missing note: {a}: texts"
    assert printed(capsys, a, "areas are missing") == ""
    memory()  # as the next command, which reads what the first has left
    assert printed(capsys, a, "areas are missing", "texts") == ""
    assert printed(capsys, b, "areas are missing", "others") == f"note: {b}: others"
    assert printed(capsys, c, "areas are missing") == f"note: {c}: areas are missing"
    assert printed(capsys, "auto", "groups were found") == "note: auto: groups were found"
    assert printed(capsys, "auto", "groups were found") == ""
    # who changes a file to be rid of a note hears whether it is still true
    a.write_text('{"more": 1}')
    memory()
    assert printed(capsys, a, "areas are missing") == f"note: {a}: areas are missing"
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert printed(capsys, a, "areas are missing") == f"note: {a}: areas are missing"
    monkeypatch.setenv("QUORUM_NOTES", "always")
    assert printed(capsys, a, "areas are missing") == f"note: {a}: areas are missing"


def test_a_memory_that_cannot_be_kept_or_is_torn(memory, monkeypatch, capsys, tmp_path):
    assert printed(capsys, "x", "one") == "note: x: one"
    [kept] = (tmp_path / "cache" / "quorum" / "notes").iterdir()
    kept.write_text("torn\n" + kept.read_text()[:-8])
    memory()
    assert printed(capsys, "x", "one", "two") == "note: x: one note: x: two"
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert printed(capsys, "x", "one") == "note: x: one"
    assert printed(capsys, "x", "one") == ""


def test_warnings_are_told_from_notes_and_are_always_printed(memory, capsys):
    warning = Warned("boxes meet no object")
    for _ in range(2):
        assert printed(capsys, "t", warning) == "warning: t: boxes meet no object"
    with quiet():
        assert printed(capsys, "t", "a note", warning) == "warning: t: boxes meet no object"
        stderr.print("a word on what was done")
        assert capsys.readouterr().err == ""
    assert printed(capsys, "t", "a note") == "note: t: a note"


def test_a_warning_in_a_file_is_text(capsys, tmp_path):
    table = DetectionTable.from_arrays(
        image_id=[1],
        category_id=[1],
        score=[0.5],
        xywh=[[1, 2, 3, 4]],
        metadata=Metadata(made_by={"notes": [Warned("x")]}),
    )
    write_table(table, tmp_path / "t.parquet")
    assert read_table(tmp_path / "t.parquet").metadata.made_by["notes"] == ["x"]
    print_json({"notes": (Warned("y"),)})
    assert json.loads(capsys.readouterr().out) == {"notes": ["y"]}
    with pytest.raises(TypeError, match="object"):
        print_json({"notes": [object()]})


def test_compilation_is_said_with_its_seconds(monkeypatch, capsys):
    monkeypatch.setattr(terminal, "_said", [])
    monkeypatch.setattr(terminal, "_timers", [])
    with terminal.announcing_compilation(), terminal.announcing_compilation():
        compilation.tell()
        numba.njit(lambda x: x + 1)(1)
    said = capsys.readouterr().err.splitlines()
    assert said[0].startswith("Compiling kernels for this machine; this happens once")
    assert re.fullmatch(r"Compiled in \d+\.\d s; kept for later commands", said[1])
    assert len(said) == 2
    with terminal.announcing_compilation():
        pass
    assert capsys.readouterr().err == ""


def test_progress_names_the_step_and_moves(monkeypatch):
    shown = io.StringIO()
    monkeypatch.setattr(terminal, "stderr", Console(file=shown, force_terminal=True, width=80))

    def plain():
        return re.sub("\x1b\\[[0-9;?]*[a-zA-Z]", "", shown.getvalue())

    steps = {("reading",): "reading", ("part 1", 3, 4): "75%", (2, 8): "25%", ("search", 1, 2, 0.5): "50%"}
    with terminal.showing_progress() as progress:
        for told, words in steps.items():
            progress(*told)
            while words not in plain():  # it is drawn ten times a second
                time.sleep(0.01)
    assert "part 1" in plain()
    assert "search" in plain()
    monkeypatch.setattr(terminal, "stderr", Console(file=shown, force_terminal=False))
    shown.truncate(0)
    with terminal.showing_progress() as progress:
        progress("reading", 1, 2)
    assert shown.getvalue().strip("\0") == ""
