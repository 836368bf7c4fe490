"""Entries by AP, with intervals."""

from evaluation.comparison import p_text
from evaluation.figures import figure_of
from evaluation.leaderboard import Leaderboard
from evaluation.report.blocks import Intervals, Sortable
from evaluation.report.material import Material
from evaluation.report.page import Section
from fusion.printed_table import Cell, PrintedColumn, PrintedTable

__all__ = ["section"]


def section(material: Material) -> Section | None:
    """Return the entries of the leaderboard."""
    board = material.board
    if board is None or not board.lines:
        return None
    split = board.split
    drawn = "images" if split.units == split.images else f"{split.units:,} groups of images"
    lead = f"95 % intervals from {split.replicates:,} bootstrap replicates over {drawn}; differences to the first "
    lead += "entry are paired."
    rows = [(line.entry.name, line.ap.value, line.ap.low, line.ap.high) for line in board.lines]
    chart = Intervals("AP of the entries, with 95 % intervals", "AP", rows)
    return Section("Ranking", (chart, Sortable(_table(board, material.figures), bars=("AP",))), lead)


def _table(board: Leaderboard, figures: tuple[str, ...] | None) -> PrintedTable:
    names = [name for name in (board.figures if figures is None else figures) if name != "AP"]
    shares = [PrintedColumn(head, ".4f", right=True) for head in ("AP", "AP low", "AP high")]
    gaps = [PrintedColumn(head, "+.4f", right=True) for head in ("to 1st", "to 1st low", "to 1st high")]
    others = [PrintedColumn(name, figure_of(name).text, right=True) for name in names]
    table = PrintedTable(
        [PrintedColumn("rank"), PrintedColumn("table"), *shares, *gaps, PrintedColumn("p", p_text, right=True)]
    )
    table.columns += [*others, PrintedColumn("detections", ",", right=True), PrintedColumn("MB", ".2f", right=True)]
    table.bold = {0}
    for line in board.lines:
        ap, gap, entry = line.ap, line.to_best, line.entry
        own: list[Cell] = [None] * 4 if line.rank == 1 else [gap.value, gap.low, gap.high, gap.p]
        known = [entry.figures.get(name) for name in names]
        table.rows.append(
            [line.rank, entry.name, ap.value, ap.low, ap.high, *own, *known, entry.detections, entry.size / 1e6]
        )
    return table
