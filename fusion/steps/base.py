"""What a step of fusion is, and what it answers with."""

from typing import NamedTuple, Protocol

import numpy as np

from fusion.columns import Fused, Sources
from fusion.pool import Pool
from fusion.table import DetectionTable

__all__ = ["Rebuilt", "Rescored", "Step"]


class Rescored(NamedTuple):
    """The answer of a step that changes scores row by row, or leaves rows out, and needs no sorting.

    Attributes:
        row: int64 [k], the input rows that stay, ascending.
        score: float64 [k], their scores.
    """

    row: np.ndarray
    score: np.ndarray


class Rebuilt(NamedTuple):
    """The answer of a step that makes masks or categories that no input row has.

    Attributes:
        table: The detections, sorted by image.
        row: int64 [k], the input row each was made from.
        sources: Input rows behind each, only when asked for.
    """

    table: DetectionTable
    row: np.ndarray
    sources: Sources | None


class Step(Protocol):
    """A fusion method with its parameters.

    A step with a class attribute `shares_members = True` takes tables that bring the same members, such
    as fused boxes beside the tables that they were fused from. One with `cellwise = True` answers `Fused`, looks at
    the pool's columns and member names alone, and at each cell by itself: it is given some images at a time. One with
    `compares_scores = False` neither compares nor averages scores of different members.
    """

    def fuse(self, pool: Pool, sources: bool = False) -> Fused | Rescored | Rebuilt:
        """Return the fused detections; with `sources`, also the rows each came from."""
        ...
