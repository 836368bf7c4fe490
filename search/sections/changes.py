"""What each member and each gene of the answer brings."""

from __future__ import annotations

from collections.abc import Sequence

from evaluation.report import Section, Sortable
from fusion.printed_table import Cell, PrintedColumn, PrintedTable
from search.answer import Answer
from search.dissection import Change

__all__ = ["section"]


def section(answer: Answer) -> Section | None:
    """Return what is lost without each of them."""
    found = {"member left out": answer.without_member, "gene at its default": answer.genes}
    blocks = [_table(what, changes) for what, changes in found.items() if changes]
    split = list(answer.rivals)[1]
    return Section("What each part adds", blocks, f"Measured on the {split} split.") if blocks else None


def _table(what: str, changes: Sequence[Change]) -> Sortable:
    numbers = [PrintedColumn(head, form, right=True) for head, form in (("AP", ".4f"), ("loss", "+.4f"))]
    ordered = sorted(changes, key=lambda change: -change.loss)
    rows: list[list[Cell]] = [[change.what, change.ap, change.loss] for change in ordered]
    return Sortable(PrintedTable([PrintedColumn(what), *numbers], rows), bars=("loss",))
