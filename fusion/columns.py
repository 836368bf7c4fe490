"""What kernels see: flat arrays sorted once, with the offsets of their (image, category) cells."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from fusion.kernels.jit import chunks, run
from fusion.kernels.sort import fill_images, group_by_image

__all__ = ["Columns", "Fused", "SideWeights", "Sorter", "Sources", "fuse_in_ranges", "sort_columns"]

# Detections that are sorted and fused at a time; between 16,384 and 65,536 the time is the same.
_RANGE = 32768


class Columns(NamedTuple):
    """Detections sorted by (image, category, score descending, row).

    Attributes:
        x1, y1, x2, y2: float64 [n], corners; x2 = x + w.
        score: float64 [n].
        member: int16 [n], index into the pool's members.
        row: int64 [n], row in the concatenation of the input tables; breaks ties.
        start: int64 [cells + 1], offsets of the cells (CSR). Every cell has at least one row.
        image: int32 [cells], dense image index, ascending.
        category: int32 [cells], dense category index, ascending within an image.
    """

    x1: np.ndarray
    y1: np.ndarray
    x2: np.ndarray
    y2: np.ndarray
    score: np.ndarray
    member: np.ndarray
    row: np.ndarray
    start: np.ndarray
    image: np.ndarray
    category: np.ndarray


class SideWeights(NamedTuple):
    """Weights of the sides of boxes in means.

    Attributes:
        weight: float64 [voices, 4], of the left, upper, right and lower side.
        voice: int16 [n], whose weights each row of `Columns` has.
    """

    weight: np.ndarray
    voice: np.ndarray


class Sources(NamedTuple):
    """Which input rows each fused detection came from, best score first (CSR).

    Attributes:
        start: int64 [k + 1].
        row: int64 [m], rows of the concatenated input tables.
    """

    start: np.ndarray
    row: np.ndarray


class Fused(NamedTuple):
    """What one operator gives back: an entry per fused detection, in order of (cell, score descending, row).

    Attributes:
        cell: integer [k], index of the cell in `Columns`.
        row: int64 [k], the input row whose other columns (mask, member, view) are carried on.
        score: float64 [k].
        corners: float64 [k, 4], x1, y1, x2, y2 of new boxes; None where each keeps the box of `row`.
        votes: int16 [k], number of distinct members behind each; None where the operator does not count.
        sources: Input rows behind each, only when asked for.
    """

    cell: np.ndarray
    row: np.ndarray
    score: np.ndarray
    corners: np.ndarray | None
    votes: np.ndarray | None
    sources: Sources | None


class Sorter:
    """Detections grouped by image, to be sorted into cells, all at once or some images at a time.

    Attributes:
        start: int64 [images + 1], number of rows before each image.
    """

    def __init__(
        self,
        image: np.ndarray,
        category: np.ndarray,
        score: np.ndarray,
        x1: np.ndarray,
        y1: np.ndarray,
        x2: np.ndarray,
        y2: np.ndarray,
        member: np.ndarray,
    ) -> None:
        """Take the detections.

        Args:
            image: int32 [n], dense image index from 0.
            category: int32 [n], dense category index from 0.
            score: [n] finite.
            x1: [n] corner, as are y1, x2, y2.
            y1: [n].
            x2: [n].
            y2: [n].
            member: int16 [n].
        """
        n = len(image)
        self._source = (category, score, x1, y1, x2, y2, member)
        self._categories = int(category.max()) + 1 if n else 0
        self._order = np.empty(n, np.uint32 if n < 2**32 else np.uint64)
        self.start: np.ndarray = group_by_image(image, int(image.max()) + 1 if n else 0, self._order)

    def columns(self, low: int = 0, high: int | None = None) -> Columns:
        """Return images low..high-1, or all, sorted into arrays of their own; scores and corners as float64."""
        high = len(self.start) - 1 if high is None else high
        first, last = self.start[low], self.start[high]
        start, order = self.start[low : high + 1] - first, self._order[first:last]
        columns: tuple[np.ndarray, ...] = tuple(
            np.empty(last - first, kind) for kind in (*[np.float64] * 5, np.int16, np.int64)
        )
        cells = run(
            lambda a, b: fill_images(a, b, start, order, self._categories, self._source, columns), chunks(start)
        )
        none = np.zeros(0, np.int32)
        begin = np.concatenate([*(cell[0] for cell in cells), start[-1:]])
        image, category = (np.concatenate([none, *(cell[i] for cell in cells)]) for i in (1, 2))
        return Columns._make([*columns, begin, image + np.int32(low), category])


def sort_columns(*detections: np.ndarray) -> Columns:
    """Sort detections, as `Sorter` takes them, into cells: by image, category, score descending, then row."""
    return Sorter(*detections).columns()


def fuse_in_ranges(sorter: Sorter, fuse: Callable[[Columns], Fused]) -> tuple[Fused, np.ndarray, np.ndarray]:
    """Sort and fuse some images at a time, on the kernel threads.

    The sorted columns of a few thousand boxes stay in the cache and in memory that is used again: with all of them in
    memory at once, NMS took 46 ns per box where it takes 36 so.

    Args:
        sorter: The detections.
        fuse: What a step does with columns; cells must not depend on one another.

    Returns:
        The answer for all cells, and the dense image and category index, int32, of each of them.
    """

    def task(low: int, high: int) -> tuple[Fused, np.ndarray, np.ndarray]:
        columns = sorter.columns(low, high)
        return fuse(columns), columns.image, columns.category

    pieces = run(task, chunks(sorter.start, _RANGE)) or [task(0, 0)]
    answers, image, category = ([piece[i] for piece in pieces] for i in range(3))
    before = np.cumsum([0, *(len(cells) for cells in image)])
    for number, answer in enumerate(answers):
        answers[number] = answer._replace(cell=answer.cell + before[number])
    return _joined(answers), np.concatenate(image), np.concatenate(category)


def _joined(answers: list[Fused]) -> Fused:
    """Join the answers for several ranges, in order."""
    sources = None
    if answers[0].sources is not None:
        parts = [answer.sources for answer in answers if answer.sources is not None]
        before = np.cumsum([0, *(len(part.row) for part in parts)])
        start = [np.zeros(1, np.int64), *(part.start[1:] + begin for part, begin in zip(parts, before, strict=False))]
        sources = Sources(np.concatenate(start), np.concatenate([part.row for part in parts]))
    columns = [
        None if columns[0] is None else np.concatenate(columns)
        for columns in zip(*(answer[:-1] for answer in answers), strict=True)
    ]
    return Fused._make([*columns, sources])
