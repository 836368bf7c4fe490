"""Raising categories that the others in the image make likely."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from fusion.kernels.jit import run
from fusion.kernels.relations import raise_tops
from fusion.members import Described
from fusion.pool import Pool
from fusion.relations import PROBABILITIES, Relations, Sparse, check_scores, image_chunks
from fusion.steps.base import Rescored, check, parameter

__all__ = ["Cooccurrence"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cooccurrence:
    """Raise the best box of a category to what the other categories in the image ask for.

    Source: mmfruit-openimages2019, sec. 5.8: the largest confidence p(i) over the boxes of category i in an image
    should be at least the largest p(j) * p(i|j), p(j) being the same of another category j. Where it is
    less, the best box of i is raised to that (of equal scores the first row); its other boxes stay as they
    are, and so does a category without any box. p(j) is the score before any raising.

    The report prints p(i|j) = C_ij / C_i, which is the share of i's objects with a j beside them, while its
    example (a person in 90.7 % of the images with a guitar) is C_ij / C_j. Both are there: "printed", "conditional".
    """

    relations: Relations = field(
        metadata=parameter(
            "How categories go together, as `quorum learn relations` counted.",
            files={"relations": "How categories go together: what `quorum learn relations` wrote. [required]"},
            learned=True,
            build=Relations.from_dict,
            sample="relations.toml",
        )
    )
    probability: str = field(
        default="conditional", metadata=parameter("Which reading of p(i|j).", choices=PROBABILITIES)
    )
    given: float = field(
        default=0.5, metadata=parameter("Least best score of a category that raises others.", low=0.0, high=1.0)
    )
    least: float = field(
        default=0.1, metadata=parameter("Least best score of a category that is raised.", low=0.0, high=1.0)
    )
    support: int = field(
        default=20, metadata=parameter("What a rate must be counted on: images with the category that raises.", low=1)
    )

    def __post_init__(self) -> None:
        check(self)

    def fuse(self, pool: Pool, sources: bool = False) -> Rescored:
        """Return all rows, the best of some cells with a higher score."""
        rows = self.rows(pool.tables, pool.category_ids)
        score = check_scores(pool, "cooccurrence")
        columns = pool.columns
        top = np.empty(len(columns.image))
        options = (rows, float(self.given), float(self.least))
        run(
            lambda low, high: raise_tops(columns, low, high, *options, np.zeros(len(rows.start) - 1), top),
            image_chunks(columns.image, columns.start),
        )
        score[columns.row[columns.start[:-1]]] = top
        return Rescored(np.arange(len(score)), score)

    def rows(self, tables: Sequence[Described], category_ids: np.ndarray) -> Sparse:
        """Return p(i|j) in row j, column i, of the categories that some tables have."""
        place = self.relations.places(tables, category_ids)
        pairs = self.relations.together
        first, second = getattr(self.relations, self.probability)()
        i, j = np.concatenate((pairs.first, pairs.second)), np.concatenate((pairs.second, pairs.first))
        value = np.concatenate((first, second))
        own = np.full(len(self.relations.category_id), -1, np.int32)
        own[place] = np.arange(len(place), dtype=np.int32)
        keep = (own[i] >= 0) & (own[j] >= 0) & (self.relations.category_images[j] >= self.support) & (value > 0)
        i, j, value = own[i[keep]], own[j[keep]], value[keep]
        order = np.lexsort((i, j))
        start = np.searchsorted(j[order], np.arange(len(place) + 1)).astype(np.int64)
        return Sparse(start, i[order], value[order])
