"""What the answer is worth beside its rivals, on every split and for each category."""

from __future__ import annotations

from evaluation.comparison import p_text
from evaluation.figures import figure_of
from evaluation.report import Choice, Intervals, Section, Sortable, Words
from evaluation.report.blocks import PageBlock
from fusion.printed_table import Cell, PrintedColumn, PrintedTable
from search.answer import Answer, Rival

__all__ = ["section"]


def section(answer: Answer) -> Section:
    """Return AP with intervals, paired gains and figures."""
    honest = list(answer.rivals)[-1]
    found = [(rival.name, rival.replicates.intervals["AP"]) for rival in answer.rivals[honest]]
    rows = [(name, one.value, one.low, one.high) for name, one in found]
    blocks: list[PageBlock] = [Intervals(f"AP on the {honest} split, with 95 % intervals", "AP", rows)]
    if answer.alarm:
        blocks.insert(0, Words([f"Over-fitting suspected: {answer.alarm}."]))
    splits = reversed(answer.rivals)  # the one to quote first
    blocks.append(Choice("Split", {split: Sortable(_gains(answer, split), bars=("AP",)) for split in splits}))
    blocks.append(
        Choice("Split of the figures", {split: _figures(answer.rivals[split]) for split in reversed(answer.rivals)})
    )
    rivals = answer.rivals[honest]
    if len(rivals[0].replicates.category_ids) > 1:
        blocks.append(_categories(rivals, honest))
    lead = "Gains are those of the answer over each rival: 95 % intervals of the paired bootstrap over images."
    return Section("Gains", blocks, lead)


def _gains(answer: Answer, split: str) -> PrintedTable:
    shares = [PrintedColumn(head, ".4f", right=True) for head in ("AP", "AP low", "AP high")]
    gaps = [PrintedColumn(head, "+.4f", right=True) for head in ("answer's gain", "gain low", "gain high")]
    table = PrintedTable([PrintedColumn("candidate"), *shares, *gaps, PrintedColumn("p", p_text, right=True)], bold={0})
    for place, rival in enumerate(answer.rivals[split]):
        ap = rival.replicates.intervals["AP"]
        own: list[Cell] = [None] * 4
        if place:
            gain = answer.gain(rival.name, split)
            own = [gain.value, gain.low, gain.high, gain.p]
        table.rows.append([rival.name, ap.value, ap.low, ap.high, *own])
    return table


def _figures(rivals: tuple[Rival, ...]) -> Sortable:
    names = list(rivals[0].replicates.observed)
    table = PrintedTable(
        [PrintedColumn("candidate"), *(PrintedColumn(name, figure_of(name).text, right=True) for name in names)]
    )
    table.rows = [[rival.name, *(rival.replicates.observed[name] for name in names)] for rival in rivals]
    return Sortable(table, "Figures")


def _categories(rivals: tuple[Rival, ...], split: str) -> Sortable:
    first, heads = rivals[0].replicates, [rival.name for rival in rivals]
    table = PrintedTable([PrintedColumn("category"), *(PrintedColumn(head, ".4f", right=True) for head in heads)])
    values = [rival.replicates.category_observed.tolist() for rival in rivals]
    table.rows = [list(row) for row in zip(first.category_names, *values, strict=True)]
    return Sortable(table, f"AP per category on the {split} split", bars=heads)
