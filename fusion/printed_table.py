"""Tables as the commands print them: for the terminal, as Markdown, as HTML and as plain records for JSON."""

import html
import math
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from fusion.errors import Warned

if TYPE_CHECKING:
    from rich.table import Table

__all__ = [
    "Cell",
    "PrintedColumn",
    "PrintedTable",
    "TableForm",
    "notebook_html",
    "print_heading",
    "print_json",
    "print_line",
    "print_table",
]

Cell = str | int | float | None
"""Text stands as it is; of numbers NaN and None are none."""

_UNBOUNDED = 2000  # characters: wider than any table
_RIGHT = ' style="text-align: right"'
_NUMBER = re.compile(r"[+-]?[0-9][0-9,]*(\.[0-9]+)?")

TableForm = Literal["text", "markdown", "html", "json"]


@dataclass(frozen=True)
class PrintedColumn:
    """A column.

    Attributes:
        head: What stands above it.
        form: How a number is printed, as for `format`, or a function of it.
        right: Whether it is aligned to the right.
        none: What stands for no value.
        dim: Whether lines after a cell's first are dimmed in a terminal.
        kept: Whether a narrow terminal gets it all the same, with names folded.
    """

    head: str
    form: str | Callable[[Any], str] = ""
    right: bool = False
    none: str = "-"
    dim: bool = False
    kept: bool = False

    def text(self, cell: Cell) -> str:
        """Return a cell as it is printed."""
        if isinstance(cell, str):
            return cell
        if cell is None or math.isnan(cell):
            return self.none
        return self.form(cell) if callable(self.form) else format(cell, self.form)


@dataclass
class PrintedTable:
    """Columns and rows; what is printed is made from them.

    Attributes:
        columns: The columns.
        rows: A cell for each column.
        title: What stands above the table in a terminal and in HTML.
        bold: Numbers of the rows that stand out.
        styles: Styles of Rich by column and text, for the terminal.
        lines: Whether rows are told apart by lines in the terminal.
        lead: Where columns are things side by side: how many columns say what a row is. In a terminal that is too
            narrow for all the things, the others follow below, beside these columns again.
    """

    columns: list[PrintedColumn]
    rows: list[list[Cell]] = field(default_factory=list)
    title: str = ""
    bold: set[int] = field(default_factory=set)
    styles: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    lines: bool = False
    lead: int = 0

    @classmethod
    def of(cls, heads: Iterable[str], rows: Iterable[Iterable[Cell]], *, left: int | None = None) -> "PrintedTable":
        """Make a table of text, columns of numbers aligned to the right; with `left`, all but that many are."""
        columns = [PrintedColumn(head, right=left is not None and place >= left) for place, head in enumerate(heads)]
        return cls(columns, [list(row) for row in rows])

    @property
    def heads(self) -> list[str]:
        """What stands above the columns."""
        return [column.head for column in self.columns]

    @property
    def cells(self) -> list[list[str]]:
        """The rows as they are printed."""
        return [[column.text(cell) for column, cell in zip(self.columns, row, strict=True)] for row in self.rows]

    @property
    def rights(self) -> list[bool]:
        """Whether each column is aligned to the right: those that say so, and those of numbers alone."""
        return [
            column.right or _all_numbers(cells) for column, cells in zip(self.columns, self._by_column(), strict=True)
        ]

    def _by_column(self) -> list[Sequence[str]]:
        """The cells of each column as they are printed."""
        return list(zip(*self.cells, strict=True)) if self.rows else [()] * len(self.columns)

    def only(self, places: Iterable[int]) -> "PrintedTable":
        """Return the table of some of its columns, by their numbers."""
        kept = list(places)
        return replace(
            self, columns=[self.columns[n] for n in kept], rows=[[row[n] for n in kept] for row in self.rows]
        )

    def to_rich(self) -> "Table":
        """Return the table for the terminal."""
        from rich.table import Table
        from rich.text import Text

        table = Table(title=self.title or None, title_justify="left", show_lines=self.lines)
        made = []
        for column, right, cells in zip(self.columns, self.rights, self._by_column(), strict=True):
            table.add_column(Text(column.head, justify="right" if right else None), no_wrap=right)
            made.append(_at_the_point(column.head, cells) if right else cells)
        for number, row in enumerate(zip(*made, strict=True)):
            styled = []
            for column, cell in zip(self.columns, row, strict=True):
                first, line_end, others = cell.partition("\n")
                text = Text(first, self.styles.get(column.head, {}).get(cell, ""))
                styled.append(text.append(line_end + others, "dim" if column.dim else None))
            table.add_row(*styled, style="bold" if number in self.bold else None)
        return table

    def to_markdown(self) -> str:
        """Return the table as Markdown, a line for each row."""
        rule = "|".join("---:" if right else "---" for right in self.rights)
        lines = [_markdown_row(self.heads), f"|{rule}|", *map(_markdown_row, self.cells)]
        return "".join(f"{line}\n" for line in lines)

    def to_html(self) -> str:
        """Return the table as an HTML element."""
        rights = self.rights

        def row(cells: Iterable[str], tag: str, *, bold: bool = False) -> str:
            tagged = [
                f"<{tag}{_RIGHT if right else ''}>{_html(cell, bold=bold)}</{tag}>"
                for right, cell in zip(rights, cells, strict=True)
            ]
            return f"<tr>{''.join(tagged)}</tr>"

        caption = f"<caption>{html.escape(self.title)}</caption>\n" if self.title else ""
        body = [row(cells, "td", bold=number in self.bold) for number, cells in enumerate(self.cells)]
        head = row(self.heads, "th")
        return (
            f"<table>\n{caption}<thead>\n{head}\n</thead>\n<tbody>\n"
            + "".join(f"{line}\n" for line in body)
            + ("</tbody>\n</table>\n")
        )

    def to_records(self) -> list[dict[str, Cell]]:
        """Return a record for each row, ready for JSON at full precision; None where there is no value.

        A head that stands above several columns is preceded by that of the column before.
        """
        heads = self.heads
        keys = [f"{heads[n - 1]}, {head}" if n and heads.count(head) > 1 else head for n, head in enumerate(heads)]
        return [
            {
                key: None if isinstance(cell, float) and math.isnan(cell) else cell
                for key, cell in zip(keys, row, strict=True)
            }
            for row in self.rows
        ]


def notebook_html(thing: object, table: PrintedTable) -> str:
    """Return what a notebook shows of something: its repr, and a table below."""
    return f"<p>{html.escape(repr(thing))}</p>\n{table.to_html()}"


def print_table(table: PrintedTable, form: TableForm = "text") -> None:
    """Print a table on standard output.

    Args:
        table: The table; columns for which a terminal is too narrow are named instead.
        form: As a table for people, as Markdown or HTML, or as a JSON list of records.
    """
    if form == "json":
        print_json(table.to_records())
    elif form == "text":
        _print_fitting(table)
    else:
        sys.stdout.write(table.to_markdown() + "\n" if form == "markdown" else table.to_html())


def print_heading(text: str, form: TableForm = "text") -> None:
    """Print what stands above the tables of one thing; nothing as JSON."""
    if form == "markdown":
        sys.stdout.write(f"## {text}\n\n")
    elif form == "html":
        sys.stdout.write(f"<h2>{html.escape(text)}</h2>\n")
    elif form == "text":
        print_line(text)


def print_line(text: str, form: TableForm = "text") -> None:
    """Print a sentence: as it stands, or as a paragraph of Markdown or HTML; nothing as JSON."""
    if form == "html":
        sys.stdout.write(f"<p>{html.escape(text)}</p>\n")
    elif form == "markdown":
        sys.stdout.write(f"{text}\n\n")
    elif form == "text":
        from fusion.terminal import stdout

        stdout().print(text, highlight=False, soft_wrap=True)


def print_json(document: object) -> None:
    """Print something on standard output as JSON, indented."""
    sys.stdout.write(
        msgspec.json.format(msgspec.json.encode(document, enc_hook=Warned.plain), indent=2).decode() + "\n"
    )


def _print_fitting(table: PrintedTable) -> None:
    from rich.measure import Measurement

    from fusion.terminal import stderr, stdout

    console = stdout()
    unbounded = console.options.update(width=_UNBOUNDED)

    def fits(places: Iterable[int]) -> bool:
        return Measurement.get(console, unbounded, table.only(places).to_rich()).maximum <= console.width

    places = list(range(len(table.columns)))
    if table.lead and not fits(places):
        lead, rest = places[: table.lead], places[table.lead :]
        while rest:
            many = next((n for n in range(len(rest), 1, -1) if fits([*lead, *rest[:n]])), 1)
            console.print(table.only([*lead, *rest[:many]]).to_rich())
            del rest[:many]
        return
    left_out: list[str] = []
    while not fits(places):
        spare = [n for n in places[2:] if not table.columns[n].kept]
        if not spare:
            break
        places.remove(spare[-1])
        left_out.insert(0, table.columns[spare[-1]].head)
    console.print(table.only(places).to_rich())
    if left_out:
        stderr.print(f"a wider terminal, or a file, also gets: {', '.join(left_out)}", style="dim", highlight=False)


def _all_numbers(cells: Sequence[str]) -> bool:
    """Whether a column has numbers, and nothing else but dashes and gaps."""
    told = [cell for cell in cells if cell not in ("", "-")]
    return bool(told) and all(map(_NUMBER.fullmatch, told))


def _at_the_point(head: str, cells: Sequence[str]) -> list[str]:
    """Add spaces before and behind a column's one-line cells so that they end at the right, with points in a line."""
    from rich.cells import cell_len

    if any("\n" in cell for cell in cells):
        return list(cells)
    found = [_NUMBER.fullmatch(cell) for cell in cells]
    behind = max((len(one[1] or "") for one in found if one), default=0)
    ended = [cell + " " * (behind - len(one[1] or "")) if one else cell for cell, one in zip(cells, found, strict=True)]
    width = max(map(cell_len, (head, *ended)))
    return [" " * (width - cell_len(cell)) + cell for cell in ended]


def _markdown_row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(" ".join(cell.split("\n")).replace("|", "\\|") for cell in cells) + " |"


def _html(text: str, *, bold: bool) -> str:
    escaped = html.escape(text).replace("\n", "<br>")
    return f"<strong>{escaped}</strong>" if bold and escaped else escaped
