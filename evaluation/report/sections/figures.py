"""The official figures of each entry."""

from evaluation.figures import by_default, figure_of
from evaluation.report.blocks import Sortable, Words
from evaluation.report.material import Material
from evaluation.report.page import Section
from fusion.printed_table import PrintedColumn, PrintedTable

__all__ = ["section"]


def section(material: Material) -> Section | None:
    """Return a line for each entry, a column for each figure."""
    if not material.results:
        return None
    first = next(iter(material.results.values()))
    names = by_default(first.protocol, "stats") if material.figures is None else material.figures
    columns = [PrintedColumn(name, figure_of(name).text, right=True) for name in names]
    table = PrintedTable([PrintedColumn("table"), *columns])
    for entry, result in material.results.items():
        table.rows.append([entry, *result.figures(names).values()])
    titles = [f"{name}: {figure_of(name).title}" for name in names]
    return Section("Figures", [Sortable(table), Words(titles, folded="What the figures are")])
