"""The pass-through: all detections, or the best of each image."""

from dataclasses import dataclass

import numpy as np

from fusion.checks import at_least
from fusion.columns import sort_columns
from fusion.pool import Pool, Tables
from fusion.run import apply
from fusion.steps.base import Rescored
from fusion.table import DetectionTable

__all__ = ["Concat", "concat"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Concat:
    """Pass on the rows of all inputs unchanged, at most the best `max_per_image` of each image.

    The best are those of highest score over all categories, ties by row. Rows of an image stay in
    the order of the inputs.

    Attributes:
        max_per_image: At least 1; None keeps all.
    """

    max_per_image: int | None = None

    def __post_init__(self) -> None:
        if self.max_per_image is not None:
            at_least("max_per_image", self.max_per_image, 1, whole=True)

    @property
    def compares_scores(self) -> bool:
        """Whether it does: only to tell the best."""
        return self.max_per_image is not None

    def fuse(self, pool: Pool, sources: bool = False) -> Rescored:
        """Return the rows that stay."""
        score = pool.column("score")
        if self.max_per_image is None:
            return Rescored(np.arange(len(score)), score)
        # cells of one category are whole images, sorted by score and row
        none, zero = np.zeros(len(score), np.int32), np.zeros(len(score))
        ranked = sort_columns(pool.image(), none, score, zero, zero, zero, zero, pool.member)
        rank = np.arange(len(score)) - np.repeat(ranked.start[:-1], np.diff(ranked.start))
        row = np.sort(ranked.row[rank < self.max_per_image])
        return Rescored(row, score[row])


def concat(tables: Tables, *, max_per_image: int | None = None, device: str = "cpu") -> DetectionTable:
    """Put tables together, keeping at most the best `max_per_image` detections of each image; see `Concat`.

    Args:
        tables: One table or several.
        max_per_image: None keeps all.
        device: "cpu", "cuda", or "auto"; see `fusion.apply`.

    Raises:
        InputError: If `max_per_image` is below 1 or the tables do not go together.
    """
    return apply(Concat(max_per_image=max_per_image), tables, device=device)
