"""Tables for terminals, Markdown, HTML and JSON."""

import json
import re
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fusion.printed_table import PrintedColumn, PrintedTable, print_heading, print_line, print_table

CELLS = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Zl", "Zp", "Cs")), max_size=8)


class Cells(HTMLParser):
    """Collects the cells of a page."""

    def __init__(self):
        super().__init__()
        self.rows = []
        self.inside = False

    def handle_starttag(self, tag, attrs):
        if tag == "tr":
            self.rows.append([])
        elif tag in ("th", "td"):
            self.rows[-1].append("")
            self.inside = True
        elif tag == "br":
            self.rows[-1][-1] += "\n"

    def handle_endtag(self, tag):
        self.inside = self.inside and tag not in ("th", "td")

    def handle_data(self, data):
        if self.inside:
            self.rows[-1][-1] += data


def figures():
    columns = [PrintedColumn("name"), PrintedColumn("AP", ".2f", right=True), PrintedColumn("n", ",", right=True)]
    return PrintedTable(columns, [["a|b", 0.125, 1234], ["<c>", float("nan"), None]], title="x & y", bold={0})


def test_markdown():
    assert figures().to_markdown().splitlines() == [
        "| name | AP | n |", "|---|---:|---:|", "| a\\|b | 0.12 | 1,234 |", "| <c> | - | - |",
    ]  # fmt: skip


def test_html_is_escaped():
    text = figures().to_html()
    assert "<caption>x &amp; y</caption>" in text
    assert "<td>&lt;c&gt;</td>" in text
    assert '<td style="text-align: right"><strong>0.12</strong></td>' in text


def test_records_have_numbers_and_none():
    rows = json.loads(json.dumps(figures().to_records(), allow_nan=False))
    assert rows == [{"name": "a|b", "AP": 0.125, "n": 1234}, {"name": "<c>", "AP": None, "n": None}]


def test_heads_that_stand_twice_are_told_apart_in_records():
    table = PrintedTable.of(("gain", "interval", "F1", "interval"), [("1", "2", "3", "4")])
    assert table.to_records() == [{"gain": "1", "gain, interval": "2", "F1": "3", "F1, interval": "4"}]


@given(rows=st.lists(st.tuples(CELLS, CELLS), max_size=5))
def test_markdown_and_html_have_every_cell(rows):
    table = PrintedTable.of(("a", "b"), rows)
    lines = table.to_markdown().splitlines()
    assert len(lines) == 2 + len(rows)
    for line, row in zip(lines[2:], rows, strict=True):
        assert line == "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |"
    parser = Cells()
    parser.feed(table.to_html())
    assert parser.rows == [["a", "b"], *map(list, rows)]


@pytest.mark.parametrize("form", ["text", "markdown", "html", "json"])
def test_printing(form, capsys):
    print_heading("heading & more", form)
    print_line("a sentence", form)
    print_table(figures(), form)
    out = capsys.readouterr().out
    wanted = {
        "text": ["heading & more", "a sentence", "1,234"],
        "markdown": ["## heading & more\n\n", "a sentence\n\n", "| 1,234 |"],
        "html": ["<h2>heading &amp; more</h2>", "<p>a sentence</p>", "<table>"],
        "json": ['"n": 1234'],
    }[form]
    assert all(words in out for words in wanted)
    if form == "json":
        assert json.loads(out)[1]["AP"] is None


def lines_of(table, monkeypatch, capsys, width):
    """The lines of a table on a terminal of some width, without frames, and what was said of it."""
    monkeypatch.setenv("FORCE_COLOR", "1")  # a terminal
    monkeypatch.setenv("COLUMNS", str(width))
    print_table(table)
    out, err = capsys.readouterr()
    plain = re.sub("\x1b\\[[0-9;]*m", "", out).splitlines()
    assert max(map(len, plain)) <= width
    return [line for line in plain if "│" in line or "┃" in line], err


def test_numbers_stand_point_under_point(monkeypatch, capsys):
    rows = [("a", "0.5", "7", "x"), ("b", "1,234.5678", "-", "1"), ("c", "-0.25", "12", "2")]
    lines, _ = lines_of(PrintedTable.of(("name", "value", "count", "mixed"), rows), monkeypatch, capsys, 80)
    assert len({line.index(".") for line in lines[1:]}) == 1
    cells = [line.strip("│").split("│") for line in lines[1:]]
    assert [row[2] for row in cells] == ["     7 ", "     - ", "    12 "]
    assert [row[3] for row in cells] == [" x     ", " 1     ", " 2     "]  # not of numbers alone


def test_things_side_by_side_go_on_below(monkeypatch, capsys):
    names = [f"detector-{n}" for n in range(5)]
    table = PrintedTable([PrintedColumn("figure"), *(PrintedColumn(name, ".4f") for name in names)], lead=1)
    table.rows = [["AP", *(n / 7 for n in range(5))], ["AR", *(n / 9 for n in range(5))]]
    lines, err = lines_of(table, monkeypatch, capsys, 50)
    assert err == ""
    heads = [line for line in lines if "┃" in line]
    assert len(heads) > 1
    assert [word for line in heads for word in line.replace("┃", " ").split() if word != "figure"] == names
    assert all(line.split("┃")[1].strip() == "figure" for line in heads)
    whole, _ = lines_of(table, monkeypatch, capsys, 120)
    assert len(whole) == 3


def test_what_is_kept_stays_and_names_are_folded(monkeypatch, capsys):
    columns = [PrintedColumn("table", kept=True), PrintedColumn("AP", kept=True), PrintedColumn("interval")]
    columns += [PrintedColumn("AP50", kept=True), PrintedColumn("MB")]
    table = PrintedTable(columns, [["a name that is by far too long", "0.1", "0.0 to 0.2", "0.3", "7.5"]])
    lines, err = lines_of(table, monkeypatch, capsys, 36)
    assert "interval, MB" in err
    assert [word.strip() for word in lines[0].strip("┃").split("┃")] == ["table", "AP", "AP50"]
    assert len(lines) > 2
