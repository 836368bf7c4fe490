"""Two entries beside one another: what they differ in, and how surely."""

from collections.abc import Iterable

from evaluation.comparison import LEVEL, Difference, p_text
from evaluation.figures import figure_of
from evaluation.report.blocks import Intervals, Sortable, Words
from evaluation.report.material import Material
from evaluation.report.page import Section
from fusion.printed_table import PrintedColumn, PrintedTable

__all__ = ["section"]


def section(material: Material) -> Section | None:
    """Return the comparison."""
    found = material.comparison
    if found is None:
        return None
    words = [found.sentence]
    if found.wilcoxon == found.wilcoxon:
        words.append(f"Wilcoxon's signed-rank test over categories: p = {found.wilcoxon:.2g}.")
    drawn = [(name, d) for name, d in found.figures.items() if figure_of(name).drawn and d.low == d.low]
    chart = Intervals(
        f"{found.name_b} minus {found.name_a}, with 95 % intervals",
        "difference",
        [(name, d.value, d.low, d.high) for name, d in drawn],
    )
    names = found.name_a, found.name_b
    figures = _table("figure", *names, ((name, d, d.p < LEVEL) for name, d in found.figures.items()))
    categories = _table("category", *names, ((c.name, c.difference, c.told) for c in found.per_category))
    blocks = [Words(words), chart, Sortable(figures, "By figure"), Sortable(categories, "By category")]
    return Section("Comparison", blocks, f"{found.name_b} minus {found.name_a}; rows in bold are told apart.")


def _table(what: str, a: str, b: str, rows: Iterable[tuple[str, Difference, bool]]) -> PrintedTable:
    values = [PrintedColumn(name, ".4f", right=True) for name in (a, b)]
    gaps = [PrintedColumn(name, "+.4f", right=True) for name in ("difference", "low", "high")]
    last = [PrintedColumn("p", p_text, right=True), PrintedColumn("b better in", ".1%", right=True)]
    table = PrintedTable([PrintedColumn(what), *values, *gaps, *last])
    for name, d, told in rows:
        if told:
            table.bold.add(len(table.rows))
        table.rows.append([name, d.a, d.b, d.value, d.low, d.high, d.p, d.share])
    return table
