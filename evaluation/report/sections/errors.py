"""Kinds of errors and what they cost (TIDE)."""

from evaluation.analysis.errors import MAIN_ERRORS, SPECIAL_ERRORS
from evaluation.report.blocks import Choice, PageBlock, Sortable
from evaluation.report.material import Material
from evaluation.report.page import Section
from fusion.printed_table import PrintedColumn, PrintedTable

__all__ = ["section"]


def section(material: Material) -> Section | None:
    """Return what each kind of error costs each entry, how often it occurs, and where."""
    errors = {name: analysis.errors for name, analysis in material.analyses.items()}
    if not errors:
        return None
    heads = [PrintedColumn("error"), PrintedColumn("meaning")]
    costs = PrintedTable([*heads, *(PrintedColumn(name, ".4f", right=True) for name in errors)])
    counts = PrintedTable([*heads, *(PrintedColumn(name, ",", right=True) for name in errors)])
    for kind, meaning in (MAIN_ERRORS | SPECIAL_ERRORS).items():
        costs.rows.append([kind, meaning, *(one.costs[kind] for one in errors.values())])
        if kind in MAIN_ERRORS:
            counts.rows.append([kind, meaning, *(one.counts[kind] for one in errors.values())])
    blocks: dict[str, PageBlock] = {
        "AP that would be gained without it": Sortable(costs, bars=list(errors)),
        "how often": Sortable(counts, bars=list(errors)),
    }
    first = next(iter(errors.values()))
    if len(first.category_ids) > 1 and len(first.category_ids) * len(errors) <= 1000:
        for name, one in errors.items():
            columns = [PrintedColumn("category"), PrintedColumn("AP", ".4f", right=True)]
            columns += [PrintedColumn(kind, "+.4f", right=True) for kind in one.costs]
            table = PrintedTable(columns)
            for k, category in enumerate(one.category_names):
                table.rows.append([category, float(one.category_AP[k]), *one.category_costs[:, k].tolist()])
            blocks[f"by category: {name}"] = Sortable(table)
    return Section("Errors", [Choice("Show", blocks)], f"TIDE's kinds of errors, at IoU {first.iou:g}.")
