"""Calibration: scores of different members brought onto one scale, by rising maps."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from fusion.checks import listing, one_of
from fusion.errors import InputError
from fusion.pool import Pool, Rescored, Tables, apply
from fusion.table import DetectionTable

__all__ = ["KINDS", "Calibrate", "CategoryMaps", "ScoreMap", "calibrate"]

KINDS = ("isotonic", "linear", "platt", "rank")

# Calibrated scores stay inside (0, 1), also where floating point would round them to an end.
_LEAST, _MOST = 1e-300, math.nextafter(1.0, 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreMap:
    """A strictly rising map from a member's scores into (0, 1), so that its own ranking never changes.

    Straight lines between the knots; for "platt", straight lines in the log odds, so that two knots
    are a sigmoid. Beyond the knots it goes on rising, towards 1 above and towards 0 below, so that
    scores never seen when it was learned stay in order too.

    Attributes:
        kind: How it was learned, one of `KINDS`.
        score: Knots, rising.
        value: Calibrated scores at the knots, rising, inside (0, 1).
    """

    kind: str
    score: Sequence[float]
    value: Sequence[float]

    def __post_init__(self) -> None:
        one_of("kind", self.kind, KINDS)
        score, value = np.asarray(self.score, np.float64), np.asarray(self.value, np.float64)
        if len(score) == 0 or score.shape != value.shape or score.ndim != 1:
            raise InputError("score map", f"expected as many scores as values, got {len(score)} and {len(value)}")
        rising = np.all(np.diff(score) > 0) and np.all(np.diff(value) > 0)
        if not (np.all(np.isfinite(score)) and rising and value[0] > 0 and value[-1] < 1):
            raise InputError("score map", "expected rising scores, and rising values between 0 and 1", "Learn it again")
        if self.kind == "platt" and len(score) != 2:
            raise InputError("score map", f"kind platt has two knots, got {len(score)}", "Learn it again")

    def __call__(self, score: np.ndarray) -> np.ndarray:
        """Map scores: [n] -> float64 [n], inside (0, 1)."""
        knots, values = np.asarray(self.score, np.float64), np.asarray(self.value, np.float64)
        if self.kind == "platt":
            low, high = np.log(values / (1 - values))
            log_odds = low + (score - knots[0]) * ((high - low) / (knots[1] - knots[0]))
            mapped = 1 / (1 + np.exp(-np.clip(log_odds, -690, 690)))
        else:
            span = max(knots[-1] - knots[0], np.finfo(np.float64).tiny)
            mapped = np.interp(score, knots, values)
            above = np.maximum(score - knots[-1], 0.0)
            below = np.maximum(knots[0] - score, 0.0)
            mapped += (1.0 - values[-1]) * above / (above + span)
            mapped *= span / (span + below)
        return np.asarray(np.clip(mapped, _LEAST, _MOST))


@dataclass(frozen=True, slots=True, kw_only=True)
class CategoryMaps:
    """A member's maps: one for all categories, and others for categories with enough data of their own.

    Attributes:
        pooled: The map of every category that is not in `category`.
        category: Category id -> its map.
    """

    pooled: ScoreMap
    category: Mapping[int, ScoreMap] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibrate:
    """Replace each member's scores by their calibrated values; see `ScoreMap`.

    Within a member (with `CategoryMaps`, within a category of it) detections keep their order exactly: where a
    map is so flat that floating point rounds two scores to one value, the lower score gets the next smaller
    number. So AP and everything else that only ranks a member's detections of one category stays as it was, to
    the last bit; limits across categories (LVIS's detections per image) see another order with `CategoryMaps`.

    Attributes:
        maps: Member name -> its map or maps. Every member needs an entry.
    """

    compares_scores: ClassVar[bool] = False

    maps: Mapping[str, ScoreMap | CategoryMaps]

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


def calibrate(tables: Tables, *, maps: Mapping[str, ScoreMap | CategoryMaps], device: str = "cpu") -> DetectionTable:
    """Pool tables with each member's scores mapped to calibrated ones.

    Args:
        tables: One or several tables.
        maps: Member name -> `ScoreMap` or `CategoryMaps`, as `evaluation.calibration.learn_calibration` gives.
        device: "cpu", "cuda", or "auto"; see `fusion.apply`.

    Raises:
        InputError: If a member has no map.
    """
    return apply(Calibrate(maps=maps), tables, device=device)


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
