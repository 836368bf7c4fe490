"""What the results of all protocols have in common: figures by name, per category, of replicates, and as tables."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from evaluation.by_score import ByScore
from evaluation.figures import Figure, by_default, choose, figure_named
from evaluation.protocol import Coco, Lvis, OpenImages
from fusion.checks import at_least
from fusion.printed_table import PrintedColumn, PrintedTable, notebook_html

if TYPE_CHECKING:
    from typing import Self

    import pandas as pd
    from matplotlib.axes import Axes

    from evaluation.columns import Judged

__all__ = ["CategoryResult", "Measured", "categories_beside", "figures_beside"]


@dataclass(frozen=True)
class CategoryResult:
    """Figures of one category. Each figure and each count is an attribute as well: `row.AP`, `row.truths`.

    Attributes:
        category_id: As in the data set.
        name: As in the data set.
        figures: By name; NaN where the category has no ground truth that counts.
        counts: "truths", the annotations (by COCO and LVIS crowd regions included), "detections", those that were
            looked at, and by Open Images "groups", the group-of regions that count.
        frequency: "r", "c" or "f" by LVIS; "" by COCO, None by Open Images.
    """

    category_id: int
    name: str
    figures: Mapping[str, float]
    counts: Mapping[str, int]
    frequency: str | None = None

    def __getattr__(self, name: str) -> Any:
        for values in () if name.startswith("_") else (self.figures, self.counts):
            if name in values:
                return values[name]
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def to_dict(self) -> dict[str, Any]:
        """Return all of it, ready for JSON; None for what is not known."""
        figures = {name: None if value != value else value for name, value in self.figures.items()}
        frequency = {} if self.frequency is None else {"frequency": self.frequency}
        return {"category_id": self.category_id, "name": self.name, **figures, **self.counts, **frequency}


class Measured(ByScore):
    """A result of any protocol; each figure of `evaluation.figures` is an attribute of it."""

    none: ClassVar[float]
    """What a figure is where there is no ground truth."""

    if TYPE_CHECKING:  # the protocols' own classes have them, as fields or as properties

        @property
        def protocol(self) -> Coco | Lvis | OpenImages:
            """Options of the evaluation."""

        @property
        def images(self) -> int:
            """Number of images of the ground truth."""

        @property
        def category_ids(self) -> np.ndarray:
            """int32 [k]."""

        @property
        def category_names(self) -> tuple[str, ...]:
            """Names of the k categories."""

        @property
        def frequency(self) -> tuple[str, ...] | None:
            """LVIS group of each category; None by other protocols."""

        @property
        def notes(self) -> tuple[str, ...]:
            """What the reader of the figures has to know."""

        @property
        def judged(self) -> Judged:
            """Right and wrong detections at IoU .5."""

        @property
        def average_precision_per_category(self) -> np.ndarray:
            """float64 [k], NaN without ground truth."""

    def __getattr__(self, name: str) -> Any:
        figure = None if name.startswith("_") else self._named(name)
        if figure is None:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return self._value(figure)

    def __repr__(self) -> str:
        chosen = choose(by_default(self.protocol, "steps"), self.protocol)
        figures = ", ".join(f"{figure.name} {figure.text(self._value(figure))}" for figure in chosen)
        k = len(self.category_ids)
        categories = f"{k:,} categor{'y' if k == 1 else 'ies'}"
        measured = f"{self.protocol.name} {self.protocol.iou_type}"
        return f"{type(self).__name__}({figures}; {measured}, {self.images:,} images, {categories})"

    def _repr_html_(self) -> str:
        return notebook_html(self, self.to_table())

    @property
    def stats(self) -> dict[str, float]:
        """The official figures by name, in the official order: twelve by COCO with three caps, thirteen by LVIS."""
        return self.figures()

    def figures(self, names: Iterable[str] | None = None) -> dict[str, float]:
        """Return figures by name; -1 by COCO and LVIS, NaN by Open Images where there is no ground truth.

        Args:
            names: Of `evaluation.figures`; the official ones by default.

        Raises:
            InputError: If the protocol has none of a name.
        """
        chosen = choose(by_default(self.protocol, "stats") if names is None else names, self.protocol)
        return {figure.name: self._value(figure) for figure in chosen}

    def resample(self, weights: np.ndarray, figures: Iterable[str] | None = None) -> dict[str, np.ndarray]:
        """Return figures of data sets in which each image is copied some times, the copies standing side by side.

        LVIS's fixed AP: the best 10,000 detections of a category are those of the data set as it is.

        Args:
            weights: int [b, images], how often each image occurs, in order of the ground truth's images.
            figures: Names; without those by size it takes half the time. By default those that entries are compared by.

        Returns:
            By name of figure: float64 [b, categories that it is the mean of], NaN where a replicate has no ground truth
            that counts; or float64 [b] where it is no mean. What has no replicates (a score) is left out.

        Raises:
            InputError: If the weights do not fit, a figure is not known, or the detections were not kept.
        """
        chosen = choose(by_default(self.protocol, "entries") if figures is None else figures, self.protocol)
        from evaluation.resampling import check_weights  # here: its kernels are slow to load

        check_weights(weights, self.images)
        found: dict[str, np.ndarray] = {}
        for kind in dict.fromkeys(type(figure.measure) for figure in chosen):
            own = [figure for figure in chosen if type(figure.measure) is kind]
            arrays = kind.replicates(self, weights, [figure.measure for figure in own])
            found |= {figure.name: array for figure, array in zip(own, arrays, strict=True) if array is not None}
        return {figure.name: found[figure.name] for figure in chosen if figure.name in found}

    def on(self, images: np.ndarray) -> "Self":
        """Return the result of some of the images; every figure is that of evaluating them by themselves.

        What became of a detection depends on its image alone, so nothing is matched again.

        Args:
            images: int64 [n], their places in the ground truth, ascending.
        """
        raise NotImplementedError

    @cached_property
    def per_category(self) -> tuple[CategoryResult, ...]:
        """Figures of each category, in order of id."""
        return self._per_category(self._columns(None))

    def to_dict(self, figures: Sequence[str] | None = None) -> dict[str, Any]:
        """Return all figures, ready for JSON at full precision; None where there is no number for something.

        Args:
            figures: Names of those wanted; the official ones by default.
        """
        return {
            **{name: None if value != value else value for name, value in self.figures(figures).items()},
            **self._options(),
            "notes": list(self.notes),
            "per_category": [row.to_dict() for row in self._per_category(self._columns(figures))],
        }

    def flat(
        self, prefix: str = "", figures: Sequence[str] | None = None, *, per_category: bool = False
    ) -> dict[str, float]:
        """Return figures as the flat dictionary that experiment trackers take; what has no ground truth is left out.

        Keys are `PREFIX/AP`, and `PREFIX/AP/person` of a category. What of a name trackers do not take becomes `_`,
        F1@0.3 becomes `F1_at_0.3`, and categories of one name have their id behind it.

        Args:
            prefix: Before each key, such as "val/bbox".
            figures: Names of those wanted; the official ones by default, and those of the table per category.
            per_category: Add those of each category.

        Raises:
            InputError: If the protocol has none of a name.
        """
        stem = prefix.strip("/") + "/" if prefix.strip("/") else ""
        chosen = choose(self.figures(figures), self.protocol)
        found = [(figure, "", float(self._value(figure))) for figure in chosen]
        if per_category:
            keys = _keys_of(self.category_ids.tolist(), self.category_names)
            for figure, values in self._columns(figures):
                found += [(figure, f"/{key}", value) for key, value in zip(keys, values.tolist(), strict=True)]
        return {f"{stem}{_key(figure.name)}{key}": value for figure, key, value in found if not figure.missing(value)}

    def to_frame(self, figures: Sequence[str] | None = None) -> "pd.DataFrame":
        """Return the figures per category as a data frame, one row each, indexed by category id."""
        import pandas as pd

        found = self._columns(figures)
        columns = {"category_id": self.category_ids, "name": list(self.category_names)}
        columns |= {figure.name: values for figure, values in found} | self._counts()
        if not isinstance(self.protocol, OpenImages):
            columns["frequency"] = list(self.frequency or ("",) * len(self.category_ids))
        return pd.DataFrame(columns).set_index("category_id")

    def to_table(self, figures: Sequence[str] | None = None, *, per_category: bool = False) -> PrintedTable:
        """Return a table to print: the figures by name, or a line per category.

        Args:
            figures: Names of those wanted; the official ones by default.
            per_category: A line per category.
        """
        if not per_category:
            chosen = choose(self.figures(figures), self.protocol)
            rows = [[figure.name, figure.text(self._value(figure))] for figure in chosen]
            return PrintedTable.of(("figure", "value"), rows)
        columns = self._columns(figures)
        heads = [PrintedColumn(figure.name, figure.form) for figure, _ in columns]
        counts = [PrintedColumn(name) for name in (*self._counts(), *(("frequency",) if self.frequency else ()))]
        table = PrintedTable([PrintedColumn("category_id"), PrintedColumn("name"), *heads, *counts])
        for row in self._per_category(columns):
            last = [row.frequency] if self.frequency else []
            table.rows.append([row.category_id, row.name, *row.figures.values(), *row.counts.values(), *last])
        return table

    def plot_pr(self, axes: "Axes | None" = None) -> "Axes":
        """Draw precision over recall.

        By COCO and LVIS as the official code interpolates them, mean over categories, at IoU .5, .75 and over all
        thresholds, with the middle half of the categories; by Open Images of all categories together.

        Args:
            axes: Where to; new ones, which a notebook shows, when not given.

        Returns:
            The axes, to go on with.
        """
        from evaluation import plots

        axes = plots.axes_or_new(axes)
        if isinstance(self.protocol, OpenImages):
            plots.draw_pooled_curve(axes, self.judged)
        else:
            plots.draw_curves(axes, self)  # type: ignore[arg-type]
        axes.legend(frameon=False, fontsize="small")
        return axes

    def plot_f1(self, axes: "Axes | None" = None) -> "Axes":
        """Draw F1, precision and recall of the detections of at least some score, at IoU .5, and where F1 is highest.

        Args:
            axes: Where to; new ones, which a notebook shows, when not given.

        Returns:
            The axes, to go on with.

        Raises:
            InputError: If the detections were not kept.
        """
        from evaluation import plots

        axes = plots.axes_or_new(axes)
        plots.draw_scores(axes, self)
        axes.legend(frameon=False, fontsize="small")
        return axes

    def plot_calibration(self, axes: "Axes | None" = None, *, bins: int = 25) -> "Axes":
        """Draw the share of detections that are right at IoU .5 over their score: on the diagonal scores are honest.

        Args:
            axes: Where to; new ones, which a notebook shows, when not given.
            bins: Number of ranges of scores, of equal width.

        Returns:
            The axes, to go on with.

        Raises:
            InputError: If `bins` is below 1, or the detections were not kept.
        """
        from evaluation import plots

        at_least("bins", bins, 1, whole=True)
        axes = plots.axes_or_new(axes)
        plots.draw_reliability(axes, self.judged, bins)
        axes.legend(frameon=False, fontsize="small")
        return axes

    def _named(self, name: str) -> Figure | None:
        """Return the figure that an attribute stands for."""
        return figure_named(name, self.protocol)

    def _value(self, figure: Figure) -> float:
        known: dict[str, float] = self.__dict__.setdefault("_known", {})
        if figure.name not in known:
            value = figure.measure.value(self)
            known[figure.name] = self.none if value != value and figure.share else value
        return known[figure.name]

    def _counts(self) -> dict[str, np.ndarray]:
        """Return int64 [k] by name."""
        raise NotImplementedError

    def _options(self) -> dict[str, Any]:
        """Return options of the protocol, ready for JSON."""
        raise NotImplementedError

    def _columns(self, names: Sequence[str] | None) -> list[tuple[Figure, np.ndarray]]:
        """Return the figures of the table per category, float64 [k] each."""
        chosen = choose(by_default(self.protocol, "categories") if names is None else names, self.protocol)
        found = ((figure, figure.measure.per_category(self)) for figure in chosen)
        return [(figure, values) for figure, values in found if values is not None]

    def _per_category(self, columns: Sequence[tuple[Figure, np.ndarray]]) -> tuple[CategoryResult, ...]:
        names = [figure.name for figure, _ in columns]
        k = len(self.category_ids)
        figures = np.stack([*(values for _, values in columns), np.zeros(k)], axis=1)[:, :-1].tolist()
        counts = self._counts()
        numbers = np.stack(list(counts.values()), axis=1).tolist()
        groups = self.frequency or (None if isinstance(self.protocol, OpenImages) else "",) * k
        rows = zip(self.category_ids.tolist(), self.category_names, figures, numbers, groups, strict=True)
        return tuple(
            CategoryResult(i, name, dict(zip(names, row, strict=True)), dict(zip(counts, own, strict=True)), group)
            for i, name, row, own, group in rows
        )


def _key(name: str) -> str:
    """Return a name with nothing but what MLflow, W&B and TensorBoard take in a part of a key."""
    return re.sub(r"[^\w.\- ]", "_", name.replace("@", "_at_"))


def _keys_of(ids: Sequence[int], names: Sequence[str]) -> list[str]:
    """Return a key for each category: its name, with the id behind it where others have the same."""
    keys = [_key(name) or "_" for name in names]
    while len(set(keys)) < len(keys):
        counts = Counter(keys)
        keys = [key if counts[key] == 1 else f"{key}_{number}" for key, number in zip(keys, ids, strict=True)]
    return keys


def figures_beside(results: Mapping[str, Measured], figures: Sequence[str] | None = None) -> PrintedTable:
    """Return a table to print: a line for each figure, and a column for each of several results.

    Args:
        results: By name, of one protocol and the same images.
        figures: Names of those wanted; the official ones by default.
    """
    first = next(iter(results.values()))
    chosen = choose(first.figures(figures), first.protocol)
    heads = [PrintedColumn("figure"), *(PrintedColumn(name, right=True) for name in results)]
    table = PrintedTable(heads, lead=1)
    for figure in chosen:
        table.rows.append([figure.name, *(figure.text(getattr(one, figure.name)) for one in results.values())])
    return table


def categories_beside(results: Mapping[str, Measured], figures: Sequence[str] | None = None) -> list[PrintedTable]:
    """Return tables to print, one for each figure: a line for each category, and a column for each result.

    Args:
        results: By name, of one protocol and the same images.
        figures: Names of those wanted; those that categories do not have are left out. AP by default.
    """
    rows = {
        name: one.to_table(["AP"] if figures is None else figures, per_category=True) for name, one in results.items()
    }
    first = next(iter(rows.values()))
    made = []
    for place, column in enumerate(first.columns):
        if figure_named(column.head) is None:
            continue
        columns = [*first.columns[:2], *(PrintedColumn(name, column.form, right=True) for name in results)]
        table = PrintedTable(columns, title=f"{column.head} per category", lead=2)
        for number, (category, name, *_) in enumerate(first.rows):
            table.rows.append([category, name, *(one.rows[number][place] for one in rows.values())])
        made.append(table)
    return made
