"""How the answer was found: AP of the trials, one after the other."""

from __future__ import annotations

import numpy as np

from evaluation.report import Chart, Section, Series, Sortable, Words
from fusion.printed_table import PrintedColumn, PrintedTable
from search.answer import Answer, front
from search.genome import used_members
from search.study import Study
from search.telling import history_sentences

__all__ = ["section"]


def section(answer: Answer, study: Study) -> Section:
    """Return trial against AP by phase, the best so far, and AP against the number of members."""
    done = [trial for trial in study.trials if not trial.outcome.pruned]
    number = np.array([trial.number for trial in done], dtype=float)
    ap = np.array([trial.outcome.value for trial in done])
    best = Series("best so far", number, np.maximum.accumulate(ap) if len(ap) else ap)
    phases = dict.fromkeys(trial.phase for trial in done)
    points = []
    for phase in phases:
        own = np.array([trial.phase == phase for trial in done])
        points.append(Series(phase, number[own], ap[own], marks=True, line=False))
    chart = Chart("AP of the trials on the search split", "trial", "AP", [best, *points], y_range=None)
    table = PrintedTable([PrintedColumn("members"), PrintedColumn("AP on the search split", ".4f", right=True)])
    table.rows = [[len(used_members(trial.genome)), trial.outcome.value] for trial in front(study)]
    blocks = [chart, Words(history_sentences(answer, study)), Sortable(table, "The best of so many members")]
    return Section("The search", blocks, "Trials that were given up early are left out.")
