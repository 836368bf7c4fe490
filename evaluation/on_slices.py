"""Every figure on named subsets of the images (slices), from one evaluation of all images."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from evaluation.comparison import Comparison, compare, difference_cells, told_apart
from evaluation.figures import by_default, choose, figure_of
from evaluation.measured import Measured
from evaluation.slices import Slices
from evaluation.statistics import Replicates, bootstrap
from fusion.printed_table import PrintedColumn, PrintedTable

__all__ = ["bootstrap_slices", "compare_slices", "comparisons_table", "figures_of", "figures_table"]


def bootstrap_slices(
    result: Measured, slices: Slices, *, groups: np.ndarray | None = None, replicates: int = 1000, **options: Any
) -> dict[str, Replicates]:
    """Measure a result on replicates of each slice; one of a single image or group has no replicates.

    Args:
        result: Of all images.
        slices: Of its ground truth.
        groups: [images] labels of all images, see `bootstrap`.
        replicates: Number of draws of each slice.
        **options: Of `bootstrap`.
    """
    found = {}
    for name, images in slices.images.items():
        own = None if groups is None else groups[images]
        drawable = len(images if own is None else set(own.tolist())) > 1
        part = result.on(images)
        found[name] = (
            bootstrap(part, groups=own, replicates=replicates, **options)
            if drawable
            else _undrawn(part, replicates, options.get("figures"))
        )
    return found


def compare_slices(
    a: Mapping[str, Replicates], b: Mapping[str, Replicates], *, name_a: str = "a", name_b: str = "b"
) -> dict[str, Comparison]:
    """Compare two entries on each slice, see `compare`."""
    return {name: compare(one, b[name], name_a=name_a, name_b=name_b) for name, one in a.items()}


def comparisons_table(comparisons: Mapping[str, Comparison]) -> PrintedTable:
    """Return a table to print: a line for each slice and figure.

    Those lines stand out in which b is told from a when all slices are looked at, as with categories.
    """
    first = next(iter(comparisons.values()))
    heads = ("slice", "images", "figure", first.name_a, first.name_b, "difference", "95 % interval", "p", "b better in")
    table = PrintedTable.of(heads, (), left=3)
    told = {
        name: dict(zip(comparisons, told_apart([one.figures[name] for one in comparisons.values()]), strict=True))
        for name in first.figures
    }
    for name, one in comparisons.items():
        for figure, difference in one.figures.items():
            if told[figure][name]:
                table.bold.add(len(table.rows))
            cells = difference_cells(figure_of(figure), difference)
            table.rows.append([name, f"{one.images:,}", figure, *cells])
    table.title = "by slice; bold: told apart when all slices are looked at"
    return table


def figures_of(result: Measured, figures: Sequence[str] | None, slices: Slices | None) -> dict[str, Any]:
    """Return all figures, ready for JSON as `Measured.to_dict` has them; those of each slice under "slices"."""
    whole = result.to_dict(figures)
    if slices is None:
        return whole
    parts = ((name, result.on(images)) for name, images in slices.images.items())
    return whole | {"slices": {name: {"images": part.images, **part.to_dict(figures)} for name, part in parts}}


def figures_table(
    results: Mapping[str, Measured], slices: Slices, figures: Sequence[str] | None = None
) -> PrintedTable:
    """Return a table to print: figures of each result on each slice, and on all images.

    Args:
        results: By name, of one ground truth.
        slices: Of its images.
        figures: Names of those wanted; the official ones by default.
    """
    first = next(iter(results.values()))
    chosen = choose(by_default(first.protocol, "stats") if figures is None else figures, first.protocol)
    names = [PrintedColumn("table")] if len(results) > 1 else []
    heads = [PrintedColumn(figure.name, right=True) for figure in chosen]
    counts = [PrintedColumn("images", right=True), PrintedColumn("objects", right=True)]
    table = PrintedTable([PrintedColumn("slice"), *names, *counts, *heads], lead=1 + len(names), title="by slice")
    for slice_name, images in {"all images": None, **slices.images}.items():
        for name, whole in results.items():
            result = whole if images is None else whole.on(images)
            cells = [
                figure.text(value)
                for figure, value in zip(chosen, result.figures(f.name for f in chosen).values(), strict=True)
            ]
            objects = sum(row.truths for row in result.per_category)
            table.rows.append([slice_name, *([name] if names else []), f"{result.images:,}", f"{objects:,}", *cells])
    return table


def _undrawn(result: Measured, replicates: int, figures: Sequence[str] | None) -> Replicates:
    """Return figures without intervals, of what cannot be drawn from."""
    names = by_default(result.protocol, "entries") if figures is None else figures
    wanted = choose(("AP", *names), result.protocol)
    k = len(result.category_ids)
    return Replicates(
        images=result.images,
        units=1,
        draws="",
        category_ids=result.category_ids,
        category_names=tuple(result.category_names),
        observed={figure.name: float(figure.measure.value(result)) for figure in wanted},
        values={"AP": np.full(replicates, np.nan)},
        category_observed=result.average_precision_per_category,
        category_values=np.full((replicates, k), np.nan),
    )
