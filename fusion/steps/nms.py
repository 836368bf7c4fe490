"""Hard non-maximum suppression."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from fusion.checks import within
from fusion.columns import Columns, Fused, Sources
from fusion.kernels.jit import chunks, joined, run
from fusion.kernels.suppress import Picked, Scratch, nms_cells, scratch
from fusion.pool import Pool, Tables, apply
from fusion.table import DetectionTable

__all__ = ["Nms", "allocate", "nms", "suppress"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Nms:
    """Greedy hard suppression within each (image, category) cell.

    Boxes are taken by score, ties by row; a box is kept unless its IoU with a box kept before it is
    above the threshold (equal is not above). Scores and boxes stay as they are. With sources, a kept
    box comes with those it suppressed: each belongs to the first kept box that covers it.

    Attributes:
        iou: Threshold in [0, 1].
    """

    cellwise: ClassVar[bool] = True

    iou: float = 0.5

    def __post_init__(self) -> None:
        within("iou", self.iou, 0.0, 1.0)

    def fuse(self, pool: Pool, sources: bool = False) -> Fused:
        """Return the kept boxes of the pool, in order of (cell, score descending, row)."""
        columns, threshold = pool.columns, float(self.iou)
        return suppress(
            columns, lambda low, high, work, out: nms_cells(columns, low, high, threshold, work, out), sources
        )


def nms(tables: Tables, *, iou: float = 0.5, device: str = "cpu") -> DetectionTable:
    """Keep the boxes that no better box of their image and category covers; see `Nms`.

    Args:
        tables: One table or several; several are pooled.
        iou: A box whose IoU with a kept one is above this is dropped.
        device: "cpu", "cuda", or "auto"; see `fusion.apply`.

    Returns:
        The kept rows, unchanged.

    Raises:
        InputError: If `iou` is not in [0, 1] or the tables do not go together.
    """
    return apply(Nms(iou=iou), tables, device=device)


def suppress(columns: Columns, kernel: Callable[[int, int, Scratch, Picked], int], sources: bool) -> Fused:
    """Run a suppression kernel over all cells on the kernel threads.

    Args:
        columns: The sorted detections.
        kernel: Fills its last argument from cells low..high-1 and returns how many boxes are left.
        sources: Whether to report which rows each box left stands for.
    """

    def task(low: int, high: int) -> Picked:
        out = allocate(int(columns.start[high] - columns.start[low]), sources)
        left = kernel(low, high, scratch(columns, low, high), out)
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
