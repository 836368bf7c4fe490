"""The pass-through: all detections, or the best of each image."""

from dataclasses import dataclass, field

import numpy as np

from fusion.columns import sort_columns
from fusion.pool import Pool
from fusion.steps.base import Rescored, check, parameter

__all__ = ["Concat"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Concat:
    """Pass on the rows of all inputs unchanged, at most the best `max_per_image` of each image.

    The best are those of highest score over all categories, ties by row. Rows of an image stay in
    the order of the inputs.
    """

    max_per_image: int | None = field(
        default=None,
        metadata=parameter(
            "Keep this many detections of each image, the best by score; by default all.", low=1, sample="100"
        ),
    )

    def __post_init__(self) -> None:
        check(self)

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
