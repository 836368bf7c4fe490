"""Weights of members per category: one multiplication per detection, and the builders of the weights.

The weights follow a table of average precision per member and category, measured on held-out images.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from fusion.checks import at_least, listing, one_of, within
from fusion.errors import InputError
from fusion.pool import Pool, Rescored, Tables, apply
from fusion.table import DetectionTable

__all__ = ["BUILDERS", "AveragePrecisions", "Reweight", "Weights", "build_weights", "reweight"]

AveragePrecisions = Mapping[str, Mapping[int, float]]
Weights = Mapping[str, float | Mapping[int, float]]

BUILDERS = ("ap_ratio", "ap_share", "rank_linear", "top_r", "uniform")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reweight:
    """Multiply each score by W[member, category]; rows of weight 0 are left out.

    Sources: mmfruit-openimages2019, sec. 4.1 (scores re-weighted per model by validation mAP, after
    PFDet) and sec. 5.1.

    Attributes:
        weights: Per member one number, or a number per category id; finite and not negative.
        builder: How the weights were made; a note for readers.
    """

    compares_scores: ClassVar[bool] = False

    weights: Weights
    builder: str = "by hand"

    def __post_init__(self) -> None:
        for member, weight in self.weights.items():
            for category, number in weight.items() if isinstance(weight, Mapping) else [(None, weight)]:
                name = f"weights.{member}" + ("" if category is None else f".{category}")
                at_least(name, number, 0.0)

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


def reweight(tables: Tables, *, weights: Weights, device: str = "cpu") -> DetectionTable:
    """Pool tables with scores multiplied by a weight per member and category.

    Args:
        tables: One or several tables.
        weights: Per member name one number, or a mapping from category id to a number.
        device: "cpu", "cuda", or "auto"; see `fusion.apply`.

    Raises:
        InputError: If a member or one of its categories has no weight.
    """
    return apply(Reweight(weights=weights), tables, device=device)


def build_weights(
    ap: AveragePrecisions,
    builder: str = "ap_ratio",
    *,
    power: float = 1.0,
    floor: float = 0.0,
    t0: float = 0.5,
    r: int = 1,
) -> dict[str, dict[int, float]]:
    """Build weights from average precisions per member and category.

    With AP_mc the average precision of member m in category c:

    * `ap_ratio`: (AP_mc / max_m AP_mc) ** power, at least `floor`; the best member of a category has
      1. The reading of mmfruit-openimages2019, sec. 4.1, used here ("relative value of validation scores").
    * `ap_share`: (AP_mc / sum_m AP_mc) ** power, at least `floor`.
    * `rank_linear`: members ranked per category, best i = 1: t0 + (K - i)(1 - t0)/(K - 1); the rule of
      the Waymo 2020 winners (arXiv 2008.01365) with t0 = 0.5.
    * `top_r`: 1 for the best r members of a category, 0 for the others.
    * `uniform`: 1.

    A category in which no member has a positive AP (or that is NaN for lack of ground truth) gets each
    member's mean weight over the other categories, so that rare categories follow the members' general
    strength; with no category at all that is 1. Equal APs rank in the order of the members.

    Args:
        ap: Member name -> category id -> AP; NaN where it is not defined. All members list the same categories.
        builder: One of `BUILDERS`.
        power: Sharpens (above 1) or flattens (below 1) ratios and shares.
        floor: Smallest ratio or share.
        t0: Weight of the last rank.
        r: Number of members kept per category.

    Returns:
        Member name -> category id -> weight.

    Raises:
        InputError: If an option is out of range, or the members' categories differ.
    """
    one_of("builder", builder, BUILDERS)
    at_least("power", power, 0.0)
    within("floor", floor, 0.0, 1.0)
    within("t0", t0, 0.0, 1.0)
    at_least("r", r, 1, whole=True)
    members = list(ap)
    categories = sorted({category for row in ap.values() for category in row})
    for member in members:
        missing = [category for category in categories if category not in ap[member]]
        if missing:
            raise InputError(
                f"average precisions of {member}", f"category {missing[0]} is missing", "Use NaN where it is undefined"
            )
    values = np.array([[ap[member][category] for category in categories] for member in members])
    values = values.reshape(len(members), len(categories))
    known = np.nan_to_num(values, nan=0.0).max(axis=0, initial=0.0) > 0
    rule: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "ap_ratio": lambda a: np.maximum((a / a.max(axis=0)) ** power, floor),
        "ap_share": lambda a: np.maximum((a / a.sum(axis=0)) ** power, floor),
        "rank_linear": lambda a: 1 - _rank(a) * (1 - t0) / max(len(a) - 1, 1),
        "top_r": lambda a: (_rank(a) < r).astype(float),
        "uniform": np.ones_like,
    }
    weights = np.ones_like(values)
    if known.any():
        weights[:, known] = rule[builder](np.nan_to_num(values[:, known], nan=0.0))
        weights[:, ~known] = weights[:, known].mean(axis=1, keepdims=True)
    return {
        member: {category: float(weight) for category, weight in zip(categories, row, strict=True)}
        for member, row in zip(members, weights, strict=True)
    }


def _rank(ap: np.ndarray) -> np.ndarray:
    """Rank members per category, 0 for the best; ties in the order of the members."""
    order = np.argsort(-ap, axis=0, kind="stable")
    rank = np.empty_like(order)
    np.put_along_axis(rank, order, np.arange(len(ap))[:, None], axis=0)
    return rank
