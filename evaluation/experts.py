"""Choosing which categories to give to which expert, and not on noise."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from evaluation.comparison import LEVEL, Difference, compare
from evaluation.statistics import Replicates
from fusion.checks import one_of
from fusion.errors import InputError
from fusion.printed_table import Cell, PrintedTable

__all__ = ["RULES", "ExpertChoice", "LearnedExperts", "learn_experts"]

RULES = ("likely", "told")
_MOST_WEIGHT = 10.0
_LEAST_FOR_MEAN = 3


class ExpertChoice(NamedTuple):
    """The expert whose AP in a category is furthest above the base's.

    Attributes:
        category_id: As in the data set.
        name: As in the data set.
        expert: Name of the expert.
        difference: AP of the expert (b) minus that of the base (a), with its 95 % interval.
        told: Whether it is told to be better by this category alone, mindful of how many were looked at.
        likely: Probability that it is better, what is known of its other categories included.
        given: Whether the category goes to it.
    """

    category_id: int
    name: str
    expert: str
    difference: Difference
    told: bool
    likely: float
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

    def to_table(self) -> PrintedTable:
        """Return a table to print: a line per category; those that are given away are bold."""
        heads = ("category", "best expert", "base", "expert", "difference", "95 % interval", "better with", "given")
        table = PrintedTable.of(heads, (), left=2)
        table.title = f"AP of the best expert beside {self.base}'s, in points"
        for row in self.rows:
            d = row.difference
            interval = "-" if d.low != d.low else f"{100 * d.low:+.2f} to {100 * d.high:+.2f}"
            cells: list[Cell] = [f"{100 * d.a:.2f}", f"{100 * d.b:.2f}", f"{100 * d.value:+.2f}", interval]
            cells += [f"{100 * row.likely:.1f} %", "yes" if row.given else ""]
            if row.given:
                table.bold.add(len(table.rows))
            table.rows.append([row.name, row.expert, *cells])
        return table


def learn_experts(
    base: tuple[str, Replicates], experts: Mapping[str, Replicates], *, rule: str = "likely"
) -> LearnedExperts:
    """Give each category to the expert that is better there than the base, if that is no luck.

    The reports take the categories of lowest AP (mmfruit-openimages2019, sec. 5.4 and 7.3), which says nothing of
    the expert; and where only the larger AP counts, a category with few objects changes hands by luck. Here
    images are drawn anew for base and experts alike (the paired bootstrap of `evaluation.statistics`), and a
    category in which an expert finds anything is given to it where it is

    - "likely": better with a probability of 95 %, by empirical Bayes: the expert's gains are taken to be normal
      around its mean gain, whose size and spread follow from all its categories (DerSimonian and Laird's
      estimate), and each category's own difference is drawn towards that mean, the more the less sure
      it is. An expert that is no better as a whole gets what stands out, one that is gets most. A category in less
      than about five images, which has no interval, goes by the mean alone.
    - "told": better by this category's own interval, by Benjamini and Hochberg's procedure at 5 % over all pairs of
      expert and category: of those given away at most 1 in 20 is expected to be given by luck.

    Of several experts that pass, the one of largest gain gets the category, of equals the first.

    Args:
        base: Name and replicates of the member that knows all categories.
        experts: Name -> replicates with the same draws.
        rule: "likely" or "told".

    Returns:
        The choice. Its figures are of the split it was made on, where the chosen look better than they are.

    Raises:
        InputError: If there is no expert, the replicates do not belong together, or the rule is unknown.
    """
    one_of("rule", rule, RULES)
    name, drawn = base
    if not experts:
        raise InputError("learn experts", "no expert was given", "Name the base first, then the experts")
    compared = [compare(drawn, other, name_a=name, name_b=expert).per_category for expert, other in experts.items()]
    told = _told([[row.difference for row in rows] for rows in compared])
    likely = np.stack([_likely([row.difference for row in rows]) for rows in compared])
    better_all = told if rule == "told" else likely > 1 - LEVEL
    categories: dict[str, list[int]] = {expert: [] for expert in experts}
    weights: dict[str, dict[int, float]] = {expert: {} for expert in experts}
    rows: list[ExpertChoice] = []
    names = list(experts)
    for k, category in enumerate(compared[0]):
        gains = np.array([of_expert[k].difference.value for of_expert in compared])
        if np.isnan(gains).all() or not any(of_expert[k].difference.b > 0 for of_expert in compared):
            continue
        better = better_all[:, k]
        best = int(np.nanargmax(np.where(better, gains, -np.inf) if better.any() else gains))
        difference = compared[best][k].difference
        given = bool(better.any())
        if given:
            categories[names[best]].append(category.category_id)
            weights[names[best]][category.category_id] = min(difference.b / max(difference.a, 1e-9), _MOST_WEIGHT)
        sure = bool(told[best, k]), float(likely[best, k])
        rows.append(ExpertChoice(category.category_id, category.name, names[best], difference, *sure, given))
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


def _likely(differences: Sequence[Difference]) -> np.ndarray:
    """Return the probability that an expert is better in each category, float64 [k]; 0 where it finds nothing."""
    from scipy.special import ndtr

    gain = np.array([d.value for d in differences])
    error = np.array([d.error for d in differences])
    finds = ~np.isnan(gain) & (np.array([d.b for d in differences]) > 0)
    known = finds & (error > 0)
    if np.count_nonzero(known) < _LEAST_FOR_MEAN:
        # too few to know the expert by: each category for itself
        return np.where(known, ndtr(gain / np.where(known, error, 1)), 0.0)
    # with few images the spread of replicates comes out too small by chance
    variance = np.maximum(error[known], np.median(error[known]) / 2) ** 2
    weight = 1 / variance
    mean = np.average(gain[known], weights=weight)
    excess = np.sum(weight * (gain[known] - mean) ** 2) - (len(weight) - 1)
    spread = max(0.0, excess / (weight.sum() - np.sum(weight**2) / weight.sum()))
    weight = 1 / (variance + spread)
    mean, doubt = np.average(gain[known], weights=weight), 1 / weight.sum()
    own = np.zeros(len(gain))  # how much a category's own difference counts
    own[known] = spread / (spread + variance)
    expected = own * np.where(known, gain, 0.0) + (1 - own) * mean
    remaining = np.full(len(gain), spread)
    remaining[known] = own[known] * variance
    remaining += (1 - own) ** 2 * doubt
    return np.where(finds, ndtr(expected / np.sqrt(remaining)), 0.0)
