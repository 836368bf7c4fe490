"""Raising and lowering boxes by what lies around them and inside them."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from fusion.kernels.jit import run
from fusion.kernels.relations import weigh_cells
from fusion.members import Described
from fusion.pool import Pool
from fusion.relations import Relations, Sparse, check_scores, image_chunks
from fusion.steps.base import Rescored, check, parameter

__all__ = ["Surround"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Surround:
    """Raise boxes that lie inside, or around, what their category usually does, and lower the others.

    mmfruit-openimages2019, sec. 5.8, names the two relations (wheels are inside bicycles, glasses are surrounded by
    persons) as evidence that improves or reduces confidence, without a formula. Here: let q be the share of
    the true objects of category i that lie inside an object of j, and r the share of all objects of other
    categories than j that do, both counted on ground truth. A relation with q >= `rate` and q > r is used. For a
    box of i with score p, let e be the best score of a larger box of j that it lies inside (0 without one). Then

        log odds of p  +=  up * e * log(q / r)  +  down * (1 - e) * log((1 - q) / (1 - r)).

    The same holds for boxes of j inside those of i. Of several relations of a category the one with the largest
    sum counts: a wheel needs one vehicle. An image is weighed by its own boxes
    alone. Rates are kept between 1e-3 and 1 - 1e-3. e is the score before any change, so the order of boxes does not
    matter.
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
    rate: float = field(
        default=0.3,
        metadata=parameter("Share of a category's true objects from which a relation is used.", low=0.0, high=1.0),
    )
    up: float = field(default=0.5, metadata=parameter("Strength of evidence that is there.", low=0.0))
    down: float = field(default=0.5, metadata=parameter("Strength of evidence that is missing.", low=0.0))
    support: int = field(
        default=20, metadata=parameter("What a rate must be counted on: objects of the category.", low=1)
    )

    def __post_init__(self) -> None:
        check(self)

    def fuse(self, pool: Pool, sources: bool = False) -> Rescored:
        """Return all rows with their new scores."""
        rows = self.rows(pool.tables, pool.category_ids)
        score = check_scores(pool, "surround")
        columns = pool.columns
        out = np.empty(len(score))
        strength = (float(self.up), float(self.down))
        ioa, categories = float(self.relations.ioa), len(rows.start) - 1
        run(
            lambda low, high: weigh_cells(
                columns, low, high, rows, ioa, strength, np.full(categories + 1, -1, np.int64), out
            ),
            image_chunks(columns.image, columns.start),
        )
        score[columns.row] = out
        return Rescored(np.arange(len(score)), score)

    def rows(self, tables: Sequence[Described], category_ids: np.ndarray) -> Sparse:
        """Return which way round, and the log ratios, in row i, column j, of the categories that some tables have.

        Column `categories` stands for those without boxes.
        """
        relations = self.relations
        place = relations.places(tables, category_ids)
        pairs = relations.surrounding
        p = len(pairs.inner)
        q = np.concatenate(relations.surround_rates())
        inside, around = relations.chance_rates()
        r = np.concatenate((inside[pairs.outer], around[pairs.inner]))
        i, j = np.concatenate((pairs.inner, pairs.outer)), np.concatenate((pairs.outer, pairs.inner))
        # a partner that the tables do not have is missing evidence, as one that only the image does not have: what is
        # in other images must make no difference. All such partners are one more category, without boxes
        own = np.full(len(relations.category_id), len(place), np.int32)
        own[place] = np.arange(len(place), dtype=np.int32)
        keep = (own[i] < len(place)) & (q >= self.rate) & (q > r)
        keep &= relations.category_objects[i] >= self.support
        q, r = np.clip(q[keep], 1e-3, 1 - 1e-3), np.clip(r[keep], 1e-3, 1 - 1e-3)
        value = np.stack((np.repeat([0.0, 1.0], p)[keep], np.log(q / r), np.log((1 - q) / (1 - r))), axis=1)
        i, j = own[i[keep]], own[j[keep]]
        order = np.lexsort((j, i))
        start = np.searchsorted(i[order], np.arange(len(place) + 1)).astype(np.int64)
        return Sparse(start, j[order], np.ascontiguousarray(value[order]))
