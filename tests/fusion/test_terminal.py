"""What the commands print."""

import pytest

from fusion.printed_table import PrintedTable, print_table


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
