"""Heat maps of how categories go together (the report's Figures 2 and 3)."""

from typing import TYPE_CHECKING

import numpy as np

from evaluation.analysis.pictures import heat_map, new_figure, shortened
from fusion.relations import Relations

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["relation_picture"]

_ENOUGH = 20  # images or objects behind a share that is drawn


def relation_picture(relations: Relations, top: int = 20) -> "Figure":
    """Draw p(i|j), and which categories lie inside which, of the categories that say most.

    Left the conditional probabilities p(i|j) = C_ij / C_j, as in the report's Figure 2, right the share of
    each category's objects that lie inside another category, for its Figure 3; an entry is drawn from 20
    images, or objects, on. Categories with few entries to show are left out; those shown are in the order of their ids.

    Args:
        relations: What was learned.
        top: Number of categories of each map, at most.
    """
    k = len(relations.category_id)
    pairs, inside = relations.together, relations.surrounding
    first, second = relations.conditional()
    rates, _ = relations.surround_rates()
    i, j = np.concatenate((pairs.first, pairs.second)), np.concatenate((pairs.second, pairs.first))
    value = np.concatenate((first, second))
    enough = relations.category_images[j] >= _ENOUGH
    often = relations.category_objects[inside.inner] >= _ENOUGH
    maps = (
        (i[enough], j[enough], value[enough], "also category i", "images with category j", "p(i|j) = Cij / Cj"),
        (
            inside.inner[often],
            inside.outer[often],
            rates[often],
            "objects of category i",
            "inside category j",
            f"share of i inside j, IoA >= {relations.ioa:g}",
        ),
    )
    chosen = [_chosen(row, column, rate, k, top) for row, column, rate, *_ in maps]
    sides = [max(3.0, 0.3 * len(one)) for one in chosen]
    figure = new_figure(sum(sides) + 5, max(sides) + 2.2)
    figure.suptitle(f"{k} categories in {relations.images} images", x=0.01, ha="left", fontsize=11)
    for axes, one, (row, column, rate, down, across, label) in zip(
        figure.subplots(1, 2, width_ratios=sides), chosen, maps, strict=True
    ):
        names = shortened([relations.category_name[c] for c in one])
        values = _matrix(row, column, rate, one, k)
        texts = [[f"{100 * v:.0f}" if v >= 0.005 else "" for v in line] for line in np.nan_to_num(values)]
        if len(one):
            heat_map(axes, values, names, names, texts, label, 0.0, 1.0)
        else:
            axes.text(0.5, 0.5, "nothing counted often enough", ha="center")
            axes.set_axis_off()
        axes.set_ylabel(down)
        axes.set_xlabel(across)
        axes.set_title(f"{label}, in %", fontsize=9, loc="left")
    return figure


def _chosen(row: np.ndarray, column: np.ndarray, rate: np.ndarray, k: int, top: int) -> np.ndarray:
    """Return the categories with the largest sums of rates, in order of index."""
    weight = np.bincount(row, rate, k) + np.bincount(column, rate, k)
    best = np.argsort(-weight, kind="stable")[:top]
    return np.sort(best[weight[best] > 0])


def _matrix(row: np.ndarray, column: np.ndarray, rate: np.ndarray, chosen: np.ndarray, k: int) -> np.ndarray:
    place = np.full(k, -1)
    place[chosen] = np.arange(len(chosen))
    matrix = np.zeros((len(chosen), len(chosen)))
    keep = (place[row] >= 0) & (place[column] >= 0)
    matrix[place[row[keep]], place[column[keep]]] = rate[keep]
    np.fill_diagonal(matrix, np.nan)
    return matrix
