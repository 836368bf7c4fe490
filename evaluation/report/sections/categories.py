"""Figures per category, of all entries."""

from collections.abc import Mapping

from evaluation.figures import by_default, figure_named
from evaluation.measured import Measured, categories_beside
from evaluation.report.blocks import Choice, PageBlock, Sortable
from evaluation.report.material import Material
from evaluation.report.page import Section
from fusion.printed_table import PrintedColumn, PrintedTable

__all__ = ["section"]

_CELLS = 40_000  # of all tables together: the page stays small with the 1,203 categories of LVIS


def section(material: Material) -> Section | None:
    """Return a table for each figure; of a single entry one table of all figures."""
    results = material.results
    if not results:
        return None
    first = next(iter(results.values()))
    count = len(first.category_ids)
    if count < 2:
        return None
    names = by_default(first.protocol, "categories") if material.figures is None else material.figures
    names = names[: max(_CELLS // (count * len(results)), 1)]
    if len(results) == 1:
        table = first.to_table(names, per_category=True)
        block: PageBlock = Sortable(
            _right(table), bars=[head for head in table.heads if figure_named(head) is not None]
        )
        return Section("Categories", [block])
    tables = {table.title.removesuffix(" per category"): table for table in categories_beside(results, names)}
    blocks = {name: Sortable(_with_objects(table, results), bars=list(results)) for name, table in tables.items()}
    return Section("Categories", [Choice("Figure", blocks)], "Bars show the figure of each entry on one scale.")


def _with_objects(table: PrintedTable, results: Mapping[str, Measured]) -> PrintedTable:
    """Add the number of objects of each category, and how far the best entry is ahead of the worst."""
    first = next(iter(results.values()))
    lead, entries = table.columns[:2], table.columns[2:]
    spread = PrintedColumn("spread", ".4f", right=True)
    made = PrintedTable([*lead, PrintedColumn("objects", ",", right=True), *entries, spread])
    for row, category in zip(table.rows, first.per_category, strict=True):
        known = [value for value in row[2:] if isinstance(value, float) and value == value]
        made.rows.append([*row[:2], category.truths, *row[2:], max(known) - min(known) if known else None])
    return made


def _right(table: PrintedTable) -> PrintedTable:
    columns = [PrintedColumn(c.head, c.form, c.head not in ("name", "frequency"), c.none) for c in table.columns]
    return PrintedTable(columns, table.rows)
