"""Weights of members, of all boxes or per category, and the builders of the latter.

These follow a table of average precision per member and category, measured on held-out images.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from fusion.checks import at_least, listing, one_of, within
from fusion.errors import InputError, option
from fusion.toml_values import by_category

__all__ = [
    "BUILDERS",
    "AveragePrecisions",
    "Weights",
    "build_weights",
    "check_member_weights",
    "check_weights",
    "member_weights",
    "numbers",
    "read_weights",
]

AveragePrecisions = Mapping[str, Mapping[int, float]]
Weights = Mapping[str, float | Mapping[int, float]]

BUILDERS = ("ap_ratio", "ap_share", "rank_linear", "top_r", "uniform")


def check_weights(weights: Weights) -> None:
    """Require finite weights of at least 0.

    Raises:
        InputError: If one is anything else; the message names the member and the category.
    """
    for member, weight in weights.items():
        for category, number in weight.items() if isinstance(weight, Mapping) else [(None, weight)]:
            at_least(f"weights.{member}" + ("" if category is None else f".{category}"), number, 0.0)


def read_weights(values: Any, where: str) -> Any:
    """Make weights of what TOML holds: category ids are numbers.

    Raises:
        InputError: If one is none.
    """
    if not isinstance(values, Mapping):
        return values
    return {member: by_category(entry, f"{where}.{member}") for member, entry in values.items()}


def numbers(words: tuple[str, ...]) -> dict[str, float]:
    """Read a number per member of words as they are typed: name=number.

    Raises:
        InputError: If one is anything else.
    """
    weights = {}
    for word in words:
        name, _, number = word.rpartition("=")
        try:
            weights[name] = float(number)
        except ValueError:
            name = ""
        if not name:
            raise InputError(f"option {option('weights')}", f"expected name=number, got {word!r}")
    return weights


def check_member_weights(weights: Mapping[str, float] | None) -> None:
    """Require finite weights of at least 0.

    Raises:
        InputError: If one is anything else; the message names the member.
    """
    for member, weight in (weights or {}).items():
        at_least(f"weights.{member}", weight, 0.0)


def member_weights(weights: Mapping[str, float] | None, members: tuple[str, ...]) -> np.ndarray:
    """Return the weights of the pool's members, in order: float64 [members].

    Raises:
        InputError: If some members have none, or all have weight 0.
    """
    if weights is None:
        return np.ones(len(members))
    missing = [member for member in members if member not in weights]
    if missing:
        raise InputError(
            f"option {option('weights')}",
            f"there is none for {', '.join(map(repr, missing))}; they are for {listing(weights)}",
            "Give every member a weight, 0 to leave it out",
        )
    values = np.array([weights[member] for member in members], dtype=np.float64)
    if not (values > 0).any():
        raise InputError(
            f"option {option('weights')}", "all members have weight 0", "Give one at least a positive weight"
        )
    return values


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
