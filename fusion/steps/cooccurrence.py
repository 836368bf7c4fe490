"""Raising categories that the others in the image make likely."""

from dataclasses import dataclass

import numpy as np

from fusion.checks import at_least, one_of, within
from fusion.kernels.jit import run
from fusion.kernels.relations import raise_tops
from fusion.pool import Pool, Tables
from fusion.relations import PROBABILITIES, Relations, Rows, check_scores, image_chunks
from fusion.run import apply
from fusion.steps.base import Rescored
from fusion.table import DetectionTable

__all__ = ["Cooccurrence", "cooccurrence"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cooccurrence:
    """Raise the best box of a category to what the other categories in the image ask for.

    Source: mmfruit-openimages2019, sec. 5.8: the largest confidence p(i) over the boxes of category i in an image
    should be at least the largest p(j) * p(i|j), p(j) being the same of another category j. Where it is
    less, the best box of i is raised to that (of equal scores the first row); its other boxes stay as they
    are, and so does a category without any box. p(j) is the score before any raising.

    The report prints p(i|j) = C_ij / C_i, which is the share of i's objects with a j beside them, while its
    example (a person in 90.7 % of the images with a guitar) is C_ij / C_j. Both are there: "printed", "conditional".

    Attributes:
        relations: Learned by `quorum learn relations`.
        probability: "conditional" or "printed".
        given: Least p(j) of a category that raises others ("with high confidence"), in [0, 1].
        least: Least p(i) of a category that is raised ("with a certain confidence"), in [0, 1].
        support: Images with j that p(i|j) must be counted on; rarer categories raise nothing.
    """

    relations: Relations
    probability: str = "conditional"
    given: float = 0.5
    least: float = 0.1
    support: int = 20

    def __post_init__(self) -> None:
        one_of("probability", self.probability, PROBABILITIES)
        within("given", self.given, 0.0, 1.0)
        within("least", self.least, 0.0, 1.0)
        at_least("support", self.support, 1, whole=True)

    def fuse(self, pool: Pool, sources: bool = False) -> Rescored:
        """Return all rows, the best of some cells with a higher score."""
        rows = self._rows(pool)
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

    def _rows(self, pool: Pool) -> Rows:
        """Row j, column i: p(i|j), by the pool's categories."""
        place = self.relations.places(pool)
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
        return Rows(start, i[order], value[order])


def cooccurrence(
    tables: Tables,
    *,
    relations: Relations,
    probability: str = "conditional",
    given: float = 0.5,
    least: float = 0.1,
    support: int = 20,
    device: str = "cpu",
) -> DetectionTable:
    """Pool tables, and raise the best box of each category that the others make likely; see `Cooccurrence`.

    Args:
        tables: One or several tables, with scores in [0, 1].
        relations: As `evaluation.relations.learn_relations` gives.
        probability: "conditional" or "printed".
        given: Least best score of a category that raises others.
        least: Least best score of a category that is raised.
        support: Images with j that p(i|j) must be counted on.
        device: "cpu", "cuda", or "auto"; see `fusion.apply`.

    Raises:
        InputError: If scores are not in [0, 1], the relations are of other categories, or an option is out of range.
    """
    step = Cooccurrence(relations=relations, probability=probability, given=given, least=least, support=support)
    return apply(step, tables, device=device)
