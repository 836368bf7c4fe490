"""Suppression on the kernel threads: what the steps that keep or soften boxes have in common."""

from collections.abc import Callable

import numpy as np

from fusion.checks import at_least
from fusion.columns import Columns, Fused, Sources
from fusion.errors import InputError, option
from fusion.kernels.jit import chunks, joined, run
from fusion.kernels.soft import soft_cells, soft_scratch
from fusion.kernels.suppress import NmsScratch, Picked, all_cells, nms_cells, nms_scratch

__all__ = ["METHODS", "allocate", "check_decay", "soften", "suppress"]

METHODS = ("gaussian", "linear")


def suppress(columns: Columns, kernel: Callable[[int, int, NmsScratch, Picked], int], sources: bool) -> Fused:
    """Run a suppression kernel over all cells on the kernel threads.

    Args:
        columns: The sorted detections.
        kernel: Fills its last argument from cells low..high-1 and returns how many boxes are left.
        sources: Whether to report which rows each box left stands for.
    """

    def task(low: int, high: int) -> Picked:
        out = allocate(int(columns.start[high] - columns.start[low]), sources)
        left = kernel(low, high, nms_scratch(columns, low, high), out)
        # copies, so that memory follows the boxes left
        position = out.position[: left if sources else 0].copy()
        return Picked(out.cell[:left].copy(), position, out.row[:left].copy(), out.score[:left].copy(), out.owner)

    pieces = run(task, chunks(columns.start)) or [allocate(0, sources)]
    cell, position, row, score, owner = joined(pieces)
    return Fused(cell, row, score, None, None, _groups(columns, position, owner) if sources else None)


def allocate(size: int, sources: bool) -> Picked:
    """Return room for what is left of `size` boxes; with `sources`, also for their owners."""
    return Picked(
        np.empty(size, np.int32),
        np.empty(size, np.int64),
        np.empty(size, np.int64),
        np.empty(size),
        np.empty(size if sources else 0, np.int64),
    )


def _groups(columns: Columns, position: np.ndarray, owner: np.ndarray) -> Sources:
    """List the rows owned by each box left, in order of position."""
    rank = np.full(len(owner), -1, np.int64)
    rank[position] = np.arange(len(position))
    group = rank[owner]
    order = np.argsort(group, kind="stable")[np.count_nonzero(group < 0) :]
    start = np.concatenate(([0], np.cumsum(np.bincount(group[order], minlength=len(position)))))
    return Sources(start, columns.row[order])


def soften(
    columns: Columns, hard: float | None, floor: float, method: tuple[bool, float, float]
) -> Callable[[int, int, NmsScratch, Picked], int]:
    """Hard suppression where `hard` is a threshold, then soft suppression (gaussian or not, sigma, threshold)."""
    gaussian, sigma, threshold = method
    soft = (gaussian, float(sigma), float(threshold))

    def kernel(low: int, high: int, work: NmsScratch, out: Picked) -> int:
        if hard is None:
            left = all_cells(columns, low, high, out)
        else:
            left = nms_cells(columns, low, high, float(hard), work, out)
        return int(soft_cells(columns, left, float(floor), soft, soft_scratch(columns, low, high), out))

    return kernel


def check_decay(sigma: object, floor: object) -> None:
    """Require a width above 0 and a floor of at least 0."""
    at_least("sigma", sigma, 0.0)
    if sigma == 0:
        raise InputError(f"option {option('sigma')}", "expected a number above 0, got 0")
    at_least("floor", floor, 0.0)
