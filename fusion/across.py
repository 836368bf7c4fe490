"""One object under several labels: steps that look at all boxes of an image, whatever their category."""

from dataclasses import replace
from typing import Any

import numpy as np

from fusion.columns import Columns, Fused, Sources, sort_columns
from fusion.kernels.elect import elect
from fusion.pool import Pool

__all__ = ["across_categories", "image_cells"]


def image_cells(columns: Columns) -> Columns:
    """Return the same detections in a cell per image, by score descending, then row."""
    if not len(columns.row):
        return columns
    order = np.argsort(columns.row)
    image = np.repeat(columns.image, np.diff(columns.start))[order]
    first = columns.image[0]
    x1, y1, x2, y2, score, member, row = (column[order] for column in columns[:7])
    merged = sort_columns(image - first, np.zeros(len(row), np.int32), score, x1, y1, x2, y2, member)
    return merged._replace(row=row[merged.row], image=merged.image + first)


def across_categories(
    step: Any, pool: Pool, sources: bool, weights: np.ndarray | None = None, *, mean: bool = False
) -> Fused:
    """Run a step on all boxes of an image at once and find the category of what comes out.

    What comes of several labels has the category whose boxes' scores, times weights, have the highest sum. Ties go to
    the category with the single highest one, then to the one whose box comes first. Where the step keeps a row of
    another category, the best row of that one stands in for it, with its own box and score. Where it makes new boxes,
    these are made of all; a score that is a mean over them is multiplied by the category's share of the sum.

    Args:
        step: A step that answers `Fused` and has a parameter `across_categories`.
        pool: The detections.
        sources: Whether to report the rows behind each.
        weights: float64 [members], on scores; None for 1 each.
        mean: Whether scores of new boxes are means over the boxes behind them.

    Returns:
        The answer in order of (cell, score descending, row), where cells are those of the pool's columns.
    """
    plain, columns = replace(step, across_categories=False), pool.columns
    if not len(columns.row):
        answer: Fused = plain.fuse(pool, sources)
        return answer
    fused: Fused = plain.fuse(pool.with_columns(image_cells(columns)), True)
    if fused.sources is None:
        raise TypeError(f"{type(step).__name__} does not say which rows are behind its boxes")
    order = np.argsort(columns.row)
    row, score = columns.row[order], columns.score[order]
    cell = np.repeat(np.arange(len(columns.image), dtype=np.int32), np.diff(columns.start))[order]
    key = score if weights is None else score * weights[columns.member[order]]
    start, behind = fused.sources
    count = len(fused.row)
    winner, best, share = np.empty(count, np.int32), np.empty(count, np.int64), np.empty(count)
    elect(start, np.searchsorted(row, behind), cell, key, len(columns.image), winner, best, share)
    lead = np.searchsorted(row, fused.row)
    best = np.where(cell[lead] == winner, lead, best)
    if fused.corners is None:
        fused_score = np.where(best == lead, fused.score, score[best])
    else:
        fused_score = fused.score * share if mean else fused.score
    place = np.lexsort((row[best], -fused_score, winner))
    return Fused(
        winner[place],
        row[best][place],
        fused_score[place],
        None if fused.corners is None else fused.corners[place],
        None if fused.votes is None else fused.votes[place],
        _taken(start, behind, place) if sources else None,
    )


def _taken(start: np.ndarray, row: np.ndarray, place: np.ndarray) -> Sources:
    """Return the sources of some of the groups, in their order."""
    size = np.diff(start)[place]
    end = np.cumsum(size)
    return Sources(
        np.concatenate(([0], end)), row[np.arange(size.sum()) + np.repeat(start[place] - (end - size), size)]
    )
