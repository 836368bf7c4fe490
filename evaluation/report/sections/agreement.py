"""What entries share, and what each brings."""

import numpy as np

from evaluation.report.blocks import Choice, Matrix, PageBlock, Sortable, Words, table_of_frame
from evaluation.report.material import Material
from evaluation.report.page import Section

__all__ = ["section"]


def section(material: Material) -> Section | None:
    """Return sentences, contributions to the fusion, who finds what with whom, and the best member per category."""
    together = material.ensemble
    if together is None:
        return None
    members = together.members
    _, jaccard, misses = members.agreement()
    names = members.names
    shown = np.where(np.eye(len(names), dtype=bool), np.nan, jaccard)
    tables: dict[str, PageBlock] = {
        "contributions": Sortable(table_of_frame(together.contributions.to_frame()), bars=("leave_one_out",)),
        "found by both, of what either finds": Matrix("Jaccard index of what is found", names, names, shown),
        "correlation of what is missed": Matrix(
            "Correlation of misses", names, names, np.where(np.eye(len(names), dtype=bool), np.nan, misses)
        ),
        "members": Sortable(table_of_frame(members.to_frame()), bars=("AP",)),
        "pairs": Sortable(table_of_frame(members.to_pair_frame()), bars=("jaccard",)),
        "objects by number of finders": Sortable(table_of_frame(members.to_finder_frame()), bars=("share",)),
    }
    if len(members.results[0].category_ids) > 1:
        tables["best member per category"] = Sortable(table_of_frame(members.to_category_frame()))
    return Section("Agreement and complementarity", [Words(together.sentences()), Choice("Show", tables)])
