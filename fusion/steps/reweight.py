"""Weights of members per category: one multiplication per detection, and the builders of the weights.

The weights follow a table of average precision per member and category, measured on held-out images.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from fusion.checks import listing
from fusion.errors import InputError
from fusion.pool import Pool
from fusion.steps.base import Rescored, check, parameter
from fusion.weights import Weights, check_weights, numbers, read_weights

__all__ = ["Reweight"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reweight:
    """Multiply each score by W[member, category]; rows of weight 0 are left out.

    Sources: mmfruit-openimages2019, sec. 4.1 (scores re-weighted per model by validation mAP, after
    PFDet) and sec. 5.1.
    """

    compares_scores: ClassVar[bool] = False

    weights: Weights = field(
        metadata=parameter(
            "Per member one number, or a number per category id.",
            typed="member_weights",
            words=numbers,
            learned=True,
            build=read_weights,
            sample="a=1 b=0.5",
        )
    )
    builder: str = field(default="by hand", metadata=parameter("How the weights were made; a note for readers."))

    def __post_init__(self) -> None:
        check(self)
        check_weights(self.weights)

    def fuse(self, pool: Pool, sources: bool = False) -> Rescored:
        """Return the rows of weight above 0 with their new scores."""
        table = np.stack([self.weights_of(member, pool.category_ids) for member in pool.members])
        # only cells that occur must have a weight
        category = pool.category()
        weight = table[pool.member, category] if len(category) else np.zeros(0)
        missing = np.flatnonzero(np.isnan(weight))
        if len(missing):
            row = missing[0]
            raise InputError(
                f"weights of member {pool.members[pool.member[row]]}",
                f"there is none for category {pool.category_ids[category[row]]}",
                "Learn them on images that have it, or give the member one number for all categories",
            )
        keep = np.flatnonzero(weight > 0)
        return Rescored(keep, pool.column("score")[keep] * weight[keep])

    def weights_of(self, member: str, category_ids: np.ndarray) -> np.ndarray:
        """Return the weight of a member for each category: float64 [k], NaN where there is none.

        Raises:
            InputError: If the member has no weights.
        """
        if member not in self.weights:
            raise InputError(
                "weights",
                f"there are none for member {member!r}; they are for {listing(self.weights)}",
                "Learn them with this member, or rename it with --member at import",
            )
        weight = self.weights[member]
        if isinstance(weight, Mapping):
            return np.array([weight.get(int(category), math.nan) for category in category_ids])
        return np.full(len(category_ids), float(weight))
