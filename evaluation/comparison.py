"""Which of two entries is better, by how much, and where."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from evaluation.figures import Figure, figure_of
from evaluation.statistics import Replicates, standard_error, student_quantile
from fusion.errors import InputError
from fusion.printed_table import Cell, PrintedTable, notebook_html

__all__ = [
    "CategoryDifference",
    "Comparison",
    "Difference",
    "compare",
    "difference_cells",
    "difference_of",
    "p_text",
    "told_apart",
]

LEVEL = 0.05
_POWER_QUANTILE = 0.8416  # of the normal distribution at .8
_LEAST_FOR_RANKS = 6  # categories: with five, Wilcoxon's test can say nothing at this level
_ROUNDING = 1e-12  # the same detections in another order differ by the order of sums


class Difference(NamedTuple):
    """A figure of b minus that of a with its 95 % interval; NaN where it cannot be known.

    Attributes:
        a: Figure of a.
        b: Figure of b.
        value: b - a.
        low: Lower end of the interval.
        high: Upper end.
        error: Standard error.
        p: Two-sided p-value of "there is no difference"; below .05 just where the interval leaves 0 out.
        share: Share of the replicates in which b is better; ties count half.
    """

    a: float
    b: float
    value: float
    low: float
    high: float
    error: float
    p: float
    share: float

    def to_dict(self) -> dict[str, float | None]:
        """Return all of it, ready for JSON; None for what cannot be known."""
        return {name: None if value != value else value for name, value in self._asdict().items()}


class CategoryDifference(NamedTuple):
    """AP of one category, b against a.

    Attributes:
        category_id: As in the data set.
        name: As in the data set.
        difference: With its interval.
        told: Whether b is told from a when all categories are looked at: Benjamini and Hochberg's
            procedure, by which at most 5 % of the categories so named are expected to be named wrongly.
    """

    category_id: int
    name: str
    difference: Difference
    told: bool


@dataclass(frozen=True, eq=False)
class Comparison:
    """Two entries on the same images.

    Attributes:
        name_a: Name of a.
        name_b: Name of b.
        images: Number of images.
        units: Number of things drawn: images, or groups of them.
        figures: Differences by name of figure, "AP" first; without interval where a figure has none.
        per_category: A line per category, in order of id.
        wilcoxon: p-value of Wilcoxon's signed-rank test over the categories' differences, a check that
            knows nothing of images: NaN with less than six categories that differ.
    """

    name_a: str
    name_b: str
    images: int
    units: int
    figures: dict[str, Difference]
    per_category: tuple[CategoryDifference, ...]
    wilcoxon: float

    def __repr__(self) -> str:
        ap = self.figures["AP"]
        gained = f"AP {_signed(ap.value)}, 95 % interval {_signed(ap.low)} to {_signed(ap.high)}"
        return f"Comparison({self.name_b} over {self.name_a}: {gained}; {self.images:,} images)"

    def _repr_html_(self) -> str:
        return notebook_html(self, self.to_table())

    @property
    def told(self) -> bool:
        """Whether the interval of the difference in AP leaves 0 out."""
        return self.figures["AP"].p < LEVEL

    @property
    def images_needed(self) -> int | None:
        """Images that would show a difference of this size four times in five; None where there is no difference."""
        ap = self.figures["AP"]
        if not ap.value or not ap.error:
            return None
        ratio = (student_quantile(1 - LEVEL / 2, self.units) + _POWER_QUANTILE) * ap.error / ap.value
        needed = self.images * ratio**2
        digits = max(len(str(int(needed))) - 2, 0)
        return int(round(needed, -digits))

    @cached_property
    def better(self) -> tuple[CategoryDifference, ...]:
        """Categories in which b is told to be better, the largest difference first."""
        return tuple(sorted((c for c in self._told if c.difference.value > 0), key=lambda c: -c.difference.value))

    @cached_property
    def worse(self) -> tuple[CategoryDifference, ...]:
        """Categories in which b is told to be worse, the largest difference first."""
        return tuple(sorted((c for c in self._told if c.difference.value < 0), key=lambda c: c.difference.value))

    @property
    def _told(self) -> list[CategoryDifference]:
        return [category for category in self.per_category if category.told]

    @cached_property
    def sentence(self) -> str:
        """Which is better, by how much, and where, in words; AP in points of 0 to 100."""
        ap = self.figures["AP"]
        where = f"{self.images:,} images"
        where += "" if self.units == self.images else f" in {self.units:,} groups"
        interval = f"95 % interval {_signed(ap.low)} to {_signed(ap.high)}"
        if ap.value != ap.value or ap.error != ap.error:
            return f"{self.name_b} and {self.name_a} cannot be compared on {where}: too little ground truth."
        if not ap.value and not ap.error:
            return f"{self.name_b} and {self.name_a} have the same AP on {where}, image by image."
        if not self.told:
            text = (
                f"{self.name_b} and {self.name_a} cannot be told apart on {where}: "
                f"the difference is {_signed(ap.value)} AP ({interval})"
            )
            needed = self.images_needed
            if needed is not None:
                text += f"; if it is real, about {needed:,} images would show it four times in five"
        else:
            word = "better" if ap.value > 0 else "worse"
            if ap.value < 0:
                interval = f"95 % interval {_points(-ap.high)} to {_points(-ap.low)}"
            else:
                interval = f"95 % interval {_points(ap.low)} to {_points(ap.high)}"
            text = f"{self.name_b} is {word} than {self.name_a} by {_points(abs(ap.value))} AP ({interval}), on {where}"
        for part in (self._category_words(), self._words("objects"), self._words("categories")):
            text += f"; {part}" if part else ""
        return text + "."

    def _category_words(self) -> str:
        known = [category for category in self.per_category if not np.isnan(category.difference.p)]
        if len(self.per_category) < 2 or not known:
            return ""
        if not self.better and not self.worse:
            return f"no single one of {len(known)} categories tells them apart"
        parts = []
        for word, found in (("better", self.better), ("worse", self.worse)):
            names = ", ".join(f"{c.name} {_signed(c.difference.value)}" for c in found[:3])
            more = ", ..." if len(found) > 3 else ""
            parts.append(f"{word} in {len(found)} ({names}{more})" if found else f"{word} in none")
        return f"it is {parts[0]} and {parts[1]} of {len(known)} categories"

    def _words(self, noun: str) -> str:
        parts = {name: figure_of(name).part.rpartition(" ") for name in self.figures}
        known = [(words, self.figures[name]) for name, (words, _, own) in parts.items() if own == noun]
        lists = {
            "better": [words for words, d in known if d.p < LEVEL and d.value > 0],
            "worse": [words for words, d in known if d.p < LEVEL and d.value < 0],
        }
        return ", ".join(f"{word} on {_and(found)} {noun}" for word, found in lists.items() if found)

    def to_dict(self) -> dict[str, Any]:
        """Return all of it, ready for JSON at full precision; None for what cannot be known."""
        return {
            "a": self.name_a,
            "b": self.name_b,
            "sentence": self.sentence,
            "images": self.images,
            "units": self.units,
            "told_apart": self.told,
            "images_needed": self.images_needed,
            "wilcoxon_p": None if self.wilcoxon != self.wilcoxon else self.wilcoxon,
            "figures": {name: difference.to_dict() for name, difference in self.figures.items()},
            "per_category": [
                {"category_id": c.category_id, "name": c.name, **c.difference.to_dict(), "told_apart": c.told}
                for c in self.per_category
            ],
        }

    def to_table(self, *, per_category: bool = False) -> PrintedTable:
        """Return a table to print: a line per figure, or per category."""
        heads = (self.name_a, self.name_b, "difference", "95 % interval", "p", "b better in")
        table = PrintedTable.of(("category" if per_category else "figure", *heads), (), left=1)
        rows = [(name, figure_of(name), d, d.p < LEVEL) for name, d in self.figures.items()]
        if per_category:
            rows = [(c.name, figure_of("AP"), c.difference, c.told) for c in self.per_category]
        for name, figure, d, told in rows:
            cells = difference_cells(figure, d)
            if told:
                table.bold.add(len(table.rows))
            table.rows.append([name, *cells])
        return table


def difference_cells(figure: Figure, d: Difference) -> list[Cell]:
    """Return the cells of a difference in a printed table: both values, the difference, its interval, p and share."""
    interval = f"{figure.points(d.low, '+')} to {figure.points(d.high, '+')}"
    if not figure.drawn or d.low != d.low:
        interval = "-" if figure.drawn else "none"
    cells: list[Cell] = [figure.points(d.a), figure.points(d.b), figure.points(d.value, "+"), interval]
    return [*cells, *(("-", "-") if d.p != d.p else (p_text(d.p), f"{100 * d.share:.1f} %"))]


def told_apart(differences: Sequence[Difference]) -> list[bool]:
    """Say in which of several differences b is told from a when all are looked at (Benjamini and Hochberg)."""
    told: list[bool] = _benjamini_hochberg(np.array([difference.p for difference in differences])).tolist()
    return told


def compare(a: Replicates, b: Replicates, *, name_a: str = "a", name_b: str = "b") -> Comparison:
    """Compare two entries on the replicates they share.

    Args:
        a: One entry.
        b: The other, with the same draws.
        name_a: What a is called.
        name_b: What b is called.

    Raises:
        InputError: If the draws or the categories differ.
    """
    if a.draws != b.draws or len(a.values["AP"]) != len(b.values["AP"]):
        raise InputError(
            "compare",
            "the two entries were not drawn alike",
            "Give bootstrap the same data set, groups, seed and number of replicates for both",
        )
    if not np.array_equal(a.category_ids, b.category_ids):
        raise InputError("compare", "the two entries have different categories", "Measure both on one ground truth")
    units = a.units
    none = np.full(len(a.values["AP"]), np.nan)
    figures = {
        name: difference_of(
            a.observed[name], b.observed[name], a.values.get(name, none), b.values.get(name, none), units
        )
        for name in a.observed
        if name in b.observed
    }
    columns = (a.category_observed.tolist(), b.category_observed.tolist(), a.category_values.T, b.category_values.T)
    differences = [difference_of(*row, units) for row in zip(*columns, strict=True)]
    told = told_apart(differences)
    rows = zip(a.category_ids.tolist(), a.category_names, differences, told, strict=True)
    return Comparison(
        name_a=name_a,
        name_b=name_b,
        images=a.images,
        units=units,
        figures=figures,
        per_category=tuple(CategoryDifference(*row) for row in rows),
        wilcoxon=_wilcoxon(b.category_observed - a.category_observed),
    )


def difference_of(a: float, b: float, values_a: np.ndarray, values_b: np.ndarray, units: int) -> Difference:
    """Return b - a with the interval that paired replicates give.

    Args:
        a: One value as observed.
        b: The other.
        values_a: float64 [n], of the replicates; NaN where one has none.
        values_b: float64 [n].
        units: Number of things drawn.
    """
    values = values_b - values_a
    values[np.abs(values) < _ROUNDING] = 0.0
    observed = 0.0 if abs(b - a) < _ROUNDING else b - a
    error = standard_error(values, units)
    reach = student_quantile(1 - LEVEL / 2, units) * error
    known = values[~np.isnan(values)]
    share = float((known > 0).mean() + (known == 0).mean() / 2) if len(known) else float("nan")
    p = _p_value(observed, error, units)
    return Difference(a, b, observed, observed - reach, observed + reach, error, p, share)


def _p_value(value: float, error: float, units: int) -> float:
    from scipy.special import stdtr

    if value != value or error != error:
        return float("nan")
    if error == 0:
        return 1.0 if value == 0 else 0.0
    return float(2 * stdtr(units - 1, -abs(value / error)))


def _benjamini_hochberg(p: np.ndarray) -> np.ndarray:
    """Say which hypotheses are rejected, bool [k]; NaN is none."""
    told = np.zeros(len(p), bool)
    known = np.flatnonzero(~np.isnan(p))
    order = known[np.argsort(p[known], kind="stable")]
    passed = np.flatnonzero(p[order] < LEVEL * np.arange(1, len(order) + 1) / max(len(order), 1))
    if len(passed):
        told[order[: passed[-1] + 1]] = True
    return told


def _wilcoxon(differences: np.ndarray) -> float:
    different = differences[~np.isnan(differences) & (differences != 0)]
    if len(different) < _LEAST_FOR_RANKS:
        return float("nan")
    from scipy.stats import wilcoxon

    return float(wilcoxon(different).pvalue)


def p_text(p: float) -> str:
    """Return a p-value as it is printed."""
    return "< 0.0001" if p < 0.0001 else f"{p:.2g}"


def _and(words: list[str]) -> str:
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def _points(value: float) -> str:
    return "-" if value != value else f"{100 * value:.2f}"


def _signed(value: float) -> str:
    return "-" if value != value else f"{100 * value:+.2f}"
