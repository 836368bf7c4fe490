"""Cards as one HTML page: the card's own words and tables, and of a member every category that was measured."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import groupby
from typing import TYPE_CHECKING

from evaluation.figures import figure_of
from evaluation.report import Choice, Page, Section, Sortable, Words
from evaluation.report.blocks import PageBlock
from fusion.printed_table import PrintedColumn, PrintedTable

if TYPE_CHECKING:
    from zoo.store import Member

__all__ = ["card_page"]

_CELL = re.compile(r"(?<!\\)\|")


def card_page(card: str, member: Member | None = None) -> Page:
    """Make a page of a card.

    Args:
        card: As `member_card` and `variant_card` write it.
        member: Whose it is; its figures are shown at full precision, by category too.
    """
    head, *parts = re.split(r"^## ", card, flags=re.MULTILINE)
    title, _, subject = head.strip().removeprefix("# ").partition("\n")
    sections = [] if member is None or not member.figures else [_measured(member)]
    for part in parts:
        name, _, body = part.partition("\n")
        if not (sections and name == "Measured here"):
            sections.append(Section(name, list(_blocks(body))))
    return Page(title, _plain(" ".join(subject.split())), sections)


def _measured(member: Member) -> Section:
    found = member.figures
    names = list(dict.fromkeys(name for figures in found.values() for name in figures.stats))
    heads = [PrintedColumn(head) for head in ("split", "by", "protocol")]
    heads += [PrintedColumn(head, ",", right=True) for head in ("images", "detections")]
    table = PrintedTable([*heads, *(PrintedColumn(name, figure_of(name).text, right=True) for name in names)])
    for (split, kind), one in found.items():
        own = [one.stats.get(name) for name in names]
        table.rows.append([split, kind, one.protocol, one.images, one.detections, *own])
    categories: dict[str, PageBlock] = {}
    for (split, kind), one in found.items():
        columns = [PrintedColumn("category_id"), PrintedColumn("name"), PrintedColumn("AP", ".4f", right=True)]
        rows = PrintedTable(columns, [[row.category_id, row.name, row.AP] for row in one.categories])
        if len(rows.rows) > 1:
            categories[f"{split}, {kind}"] = Sortable(rows, f"Categories of {split}, {kind}", bars=("AP",))
    return Section("Measured here", [Sortable(table), *([Choice("Split", categories)] if categories else [])])


def _blocks(body: str) -> Iterator[PageBlock]:
    """Yield tables and lists of a card's part."""
    lines = [line for line in body.splitlines() if line.strip()]
    for tabular, group in groupby(lines, key=lambda line: line.startswith("|")):
        if tabular:
            heads, _, *rows = ([_plain(cell) for cell in _CELL.split(line.strip())[1:-1]] for line in group)
            yield Sortable(PrintedTable.of(heads, rows))
        else:
            yield Words([_plain(line.removeprefix("- ")) for line in group])


def _plain(text: str) -> str:
    return text.replace("`", "").replace("\\|", "|").strip()
