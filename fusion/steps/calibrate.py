"""Calibration: scores of different members brought onto one scale, by rising maps."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from fusion.checks import listing
from fusion.errors import InputError
from fusion.pool import Pool
from fusion.score_maps import CategoryMaps, ScoreMap, read_maps
from fusion.steps.base import Rescored, check, parameter

__all__ = ["Calibrate"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibrate:
    """Replace each member's scores by their calibrated values; see `ScoreMap`.

    Within a member (with `CategoryMaps`, within a category of it) detections keep their order exactly: where a
    map is so flat that floating point rounds two scores to one value, the lower score gets the next smaller
    number. So AP and everything else that only ranks a member's detections of one category stays as it was, to
    the last bit; limits across categories (LVIS's detections per image) see another order with `CategoryMaps`.
    """

    compares_scores: ClassVar[bool] = False

    maps: Mapping[str, ScoreMap | CategoryMaps] = field(
        metadata=parameter(
            "Map or maps of each member; every one needs an entry.",
            files={"maps": "Maps of the members: what `quorum learn calibration` wrote. [required]"},
            learned=True,
            build=read_maps,
            sample="calibration.toml",
        )
    )

    def __post_init__(self) -> None:
        check(self)

    def fuse(self, pool: Pool, sources: bool = False) -> Rescored:
        """Return all rows with calibrated scores."""
        score = pool.column("score").astype(np.float64)
        for number, member in enumerate(pool.members):
            if member not in self.maps:
                raise InputError(
                    "calibration",
                    f"there is none for member {member!r}; it is for {listing(self.maps)}",
                    "Learn it with this member, or rename it with --member at import",
                )
            maps, rows = self.maps[member], np.flatnonzero(pool.member == number)
            if isinstance(maps, ScoreMap):
                score[rows] = _ordered(maps, score[rows])
                continue
            # categories without a map of their own go to the end, together
            own = [maps.category.get(int(category)) for category in pool.category_ids]
            group = np.array([len(own) if one is None else k for k, one in enumerate(own)], np.int64)
            group = group[pool.category()[rows]]
            order = np.argsort(group, kind="stable")
            start = np.searchsorted(group[order], np.arange(len(own) + 2))
            for one, first, last in zip([*own, maps.pooled], start[:-1], start[1:], strict=True):
                if one is not None and first < last:
                    part = rows[order[first:last]]
                    score[part] = _ordered(one, score[part])
        return Rescored(np.arange(len(score)), score)


def _ordered(score_map: ScoreMap, score: np.ndarray) -> np.ndarray:
    """Map scores, and keep apart those that rounding would make equal.

    Positive floats sort as their bits do, so a strictly rising sequence of bits is one of scores.
    """
    mapped = score_map(score)
    order = np.argsort(score)
    above = np.diff(score[order]) > 0
    bits = mapped.view(np.int64)[order]
    if not np.any(above & (np.diff(bits) <= 0)):
        return mapped
    rank = np.concatenate(([0], np.cumsum(above)))
    bits = np.minimum.accumulate((bits - rank)[::-1])[::-1] + rank
    mapped[order] = bits.view(np.float64)
    return mapped
