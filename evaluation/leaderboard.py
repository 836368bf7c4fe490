"""The local leaderboard: entries ranked by AP."""

from collections.abc import Sequence
from typing import NamedTuple

from rich.table import Table

from evaluation.result import CocoResult

__all__ = ["Entry", "leaderboard_table"]

_FIGURES = ("AP", "AP50", "AP75", "APs", "APm", "APl")


class Entry(NamedTuple):
    """One line of a leaderboard.

    Attributes:
        name: Of the table.
        result: Its figures.
        detections: Number of its detections.
        size: Of its files, in bytes.
    """

    name: str
    result: CocoResult
    detections: int
    size: int


def leaderboard_table(entries: Sequence[Entry], title: str) -> Table:
    """Return the entries for the terminal, the highest AP first."""
    printed = Table(title=title, title_justify="left")
    printed.add_column("#", justify="right")
    printed.add_column("table")
    for name in (*_FIGURES, "detections", "MB"):
        printed.add_column(name, justify="right")
    for rank, entry in enumerate(sorted(entries, key=lambda entry: -entry.result.AP), 1):
        figures = [f"{getattr(entry.result, figure):.4f}" for figure in _FIGURES]
        counts = [f"{entry.detections:,}", f"{entry.size / 1e6:.2f}"]
        printed.add_row(str(rank), entry.name, *figures, *counts, style="bold" if rank == 1 else None)
    return printed
