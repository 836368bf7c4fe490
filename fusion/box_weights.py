"""Weights of the sides of members' boxes in means: by hand, or by how far off each side was where it was learned."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fusion.box_corrections import BoxCorrection, read_corrections
from fusion.checks import listing, shown
from fusion.columns import SideWeights
from fusion.errors import InputError, option
from fusion.pool import Pool
from fusion.steps.base import parameter

__all__ = ["BOX_WEIGHTS", "box_weights_of", "checked_box_weights", "read_box_weights", "side_weights"]

BoxWeights = Mapping[str, Sequence[float]]

# Shares of a box: no annotator draws finer, and no member is that much finer than the others.
_FINEST = 0.001
_OF_MEDIAN = 0.25


def box_weights_of(corrections: Mapping[str, BoxCorrection]) -> dict[str, tuple[float, ...]]:
    """Return the weight of each side of each member: 1 / spread squared, over its mean over the members.

    A spread counts as a thousandth of the box at least, and as a quarter of the median over the members. A member whose
    spread is not known, for lack of matched boxes, has weight 1: the mean.

    Args:
        corrections: What was learned of each member; weights are for its boxes after this correction.

    Returns:
        Member -> weights of the left, upper, right and lower side, above 0.
    """
    known = {member: one.spread for member, one in corrections.items() if len(one.spread)}
    found: dict[str, tuple[float, ...]] = dict.fromkeys(corrections, (1.0,) * 4)
    if known:
        spread = np.array(list(known.values()))
        spread = np.maximum(spread, np.maximum(_OF_MEDIAN * np.median(spread, axis=0), _FINEST))
        weight = spread**-2
        found.update(zip(known, map(tuple, (weight / weight.mean(axis=0)).tolist()), strict=True))
    return found


def read_box_weights(entry: Any, where: str) -> Any:
    """Make weights of what TOML holds: numbers, or corrections of boxes with their spread.

    Raises:
        InputError: If it is neither.
    """
    if isinstance(entry, Mapping) and entry and all(isinstance(values, Mapping) for values in entry.values()):
        return box_weights_of(read_corrections(entry, where))
    return entry


def checked_box_weights(weights: BoxWeights | None) -> BoxWeights | None:
    """Require four finite numbers above 0 per member and return them as tuples.

    Raises:
        InputError: If they are anything else; the message names the member.
    """
    if weights is None:
        return None
    found = {}
    for member, given in weights.items():
        try:
            row = tuple(map(float, given))
        except (TypeError, ValueError):
            row = ()
        if isinstance(given, str) or len(row) != 4 or not all(0.0 < number < np.inf for number in row):
            raise InputError(
                f"option {option('box_weights')}.{member}",
                f"expected four numbers above 0, got {shown(given)}",
                "They are for the left, upper, right and lower side",
            )
        found[member] = row
    return found


def side_weights(weights: BoxWeights | None, pool: Pool) -> SideWeights | None:
    """Return the weights of a pool's boxes as kernels take them, 1 the largest of a side.

    Raises:
        InputError: If some members have none.
    """
    if weights is None:
        return None
    members, voice = pool.voices
    missing = [member for member in members if member not in weights]
    if missing:
        raise InputError(
            f"option {option('box_weights')}",
            f"there is none for {', '.join(map(repr, missing))}; they are for {listing(weights)}",
            "Learn it with this member, or rename it with --member at import",
        )
    values = np.array([weights[member] for member in members], np.float64).reshape(-1, 4)
    # only ratios count: equal weights become 1, by which nothing changes
    return SideWeights(values / values.max(axis=0, initial=np.finfo(np.float64).tiny), voice)


BOX_WEIGHTS = parameter(
    "Weights of the left, upper, right and lower side of each member's boxes in a mean; by default 1 each.",
    files={
        "box_weights": "Corrections of the members, of whose spread they are made: what `quorum learn boxes` wrote."
    },
    learned=True,
    table="corrections",
    build=read_box_weights,
    sample="boxes.toml",
)
