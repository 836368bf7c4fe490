"""Choosing which categories to give to which expert, and not on noise."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from evaluation.comparison import LEVEL, Difference, compare
from evaluation.statistics import Replicates
from fusion.errors import InputError

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["ExpertChoice", "LearnedExperts", "learn_experts"]

_MOST_WEIGHT = 10.0


class ExpertChoice(NamedTuple):
    """The expert whose AP in a category is furthest above the base's.

    Attributes:
        category_id: As in the data set.
        name: As in the data set.
        expert: Name of the expert.
        difference: AP of the expert (b) minus that of the base (a), with its 95 % interval.
        told: Whether the expert is told to be better when all categories and experts are looked at.
        given: Whether the category goes to it.
    """

    category_id: int
    name: str
    expert: str
    difference: Difference
    told: bool
    given: bool


@dataclass(frozen=True, eq=False)
class LearnedExperts:
    """The choice, and what it was made from.

    Attributes:
        base: Name of the base.
        categories: Name of each expert -> ids of the categories given to it, ascending; for step `select_experts`.
        weights: Name of each expert -> category id -> its AP over the base's, at most 10, for mode "weigh".
        rows: A line per category in which any expert has a positive AP, the largest gain first.
    """

    base: str
    categories: Mapping[str, Sequence[int]]
    weights: Mapping[str, Mapping[int, float]]
    rows: tuple[ExpertChoice, ...]

    def to_rich(self) -> "Table":
        """Return a table for the terminal: a line per category; those that are given away are bold."""
        from rich.table import Table

        table = Table("category", "best expert", title=f"AP of the best expert beside {self.base}'s, in points")
        for name in ("base", "expert", "difference", "95 % interval", "given"):
            table.add_column(name, justify="right")
        for row in self.rows:
            d = row.difference
            interval = "-" if d.low != d.low else f"{100 * d.low:+.2f} to {100 * d.high:+.2f}"
            cells = [f"{100 * d.a:.2f}", f"{100 * d.b:.2f}", f"{100 * d.value:+.2f}", interval]
            table.add_row(row.name, row.expert, *cells, "yes" if row.given else "", style="bold" if row.given else None)
        return table


def learn_experts(base: tuple[str, Replicates], experts: Mapping[str, Replicates]) -> LearnedExperts:
    """Give each category to the expert that is told to be better there than the base, if there is one.

    The reports take the categories of lowest AP (mmfruit-openimages2019, sec. 5.4 and 7.3), which says nothing of
    the expert; and where only the larger AP counts, a category with few objects changes hands by luck. Here
    images are drawn anew for base and experts alike (the paired bootstrap of `evaluation.statistics`), and a
    category is given away only where the expert's gain stands out: p-values of "it is no better", by
    Benjamini and Hochberg's procedure at 5 % over all pairs of an expert and a category in which it finds
    anything. So of the categories given away at most 1 in 20 is expected to be given by luck. One in less than
    about five images has no p-value and stays with the base. Of several experts that are told to be better the
    one of largest gain gets the category, of equals the first.

    Args:
        base: Name and replicates of the member that knows all categories.
        experts: Name -> replicates with the same draws.

    Returns:
        The choice. Its figures are of the split it was made on, where the chosen look better than they are.

    Raises:
        InputError: If there is no expert, or the replicates do not belong together.
    """
    name, drawn = base
    if not experts:
        raise InputError("learn experts", "no expert was given", "Name the base first, then the experts")
    compared = [compare(drawn, other, name_a=name, name_b=expert).per_category for expert, other in experts.items()]
    told = _told([[row.difference for row in rows] for rows in compared])
    categories: dict[str, list[int]] = {expert: [] for expert in experts}
    weights: dict[str, dict[int, float]] = {expert: {} for expert in experts}
    rows: list[ExpertChoice] = []
    names = list(experts)
    for k, category in enumerate(compared[0]):
        gains = np.array([of_expert[k].difference.value for of_expert in compared])
        if np.isnan(gains).all() or not any(of_expert[k].difference.b > 0 for of_expert in compared):
            continue
        better = told[:, k]
        best = int(np.nanargmax(np.where(better, gains, -np.inf) if better.any() else gains))
        difference = compared[best][k].difference
        given = bool(better.any())
        if given:
            categories[names[best]].append(category.category_id)
            weights[names[best]][category.category_id] = min(difference.b / max(difference.a, 1e-9), _MOST_WEIGHT)
        told_here = bool(told[best, k])
        rows.append(ExpertChoice(category.category_id, category.name, names[best], difference, told_here, given))
    rows.sort(key=lambda row: -row.difference.value)
    return LearnedExperts(name, categories, weights, tuple(rows))


def _told(differences: Sequence[Sequence[Difference]]) -> np.ndarray:
    """Say which experts are better in which category, bool [experts, categories]."""
    from scipy.stats import false_discovery_control

    two_sided = np.array([[d.p for d in row] for row in differences])
    ahead = np.array([[d.value > 0 for d in row] for row in differences])
    p = np.where(ahead, two_sided / 2, 1 - two_sided / 2)
    known = ~np.isnan(p) & np.array([[d.b > 0 for d in row] for row in differences])
    told = np.zeros(p.shape, dtype=bool)
    if known.any():
        told[known] = false_discovery_control(p[known]) < LEVEL
    return told
