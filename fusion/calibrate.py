"""Calibration: scores of different members brought onto one scale, by a rising map per member."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fusion.checks import one_of
from fusion.errors import InputError
from fusion.pool import Pool, Rescored, Tables, apply
from fusion.table import DetectionTable

__all__ = ["KINDS", "Calibrate", "ScoreMap", "calibrate"]

KINDS = ("isotonic", "rank")


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreMap:
    """A strictly rising map from a member's scores into (0, 1), so that its own ranking never changes.

    Straight lines between the knots. Beyond them it goes on rising, towards 1 above and towards 0
    below, so that scores never seen when it was learned stay in order too.

    Attributes:
        kind: "isotonic" or "rank": how it was learned.
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

    def __call__(self, score: np.ndarray) -> np.ndarray:
        """Map scores: [n] -> float64 [n]."""
        knots, values = np.asarray(self.score, np.float64), np.asarray(self.value, np.float64)
        span = max(knots[-1] - knots[0], np.finfo(np.float64).tiny)
        mapped = np.interp(score, knots, values)
        above = np.maximum(score - knots[-1], 0.0)
        below = np.maximum(knots[0] - score, 0.0)
        mapped += (1.0 - values[-1]) * above / (above + span)
        return np.asarray(mapped * (span / (span + below)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibrate:
    """Replace each member's scores by their calibrated values; see `ScoreMap`.

    Attributes:
        maps: Member name -> its map. Every member needs one.
    """

    maps: Mapping[str, ScoreMap]

    def fuse(self, pool: Pool, sources: bool = False) -> Rescored:
        """Return all rows with calibrated scores."""
        score = pool.column("score").astype(np.float64)
        for number, member in enumerate(pool.members):
            if member not in self.maps:
                raise InputError(
                    "calibration",
                    f"there is none for member {member!r}; it is for {', '.join(map(repr, self.maps))}",
                    "Learn it with this member, or rename it with --member at import",
                )
            rows = np.flatnonzero(pool.member == number)
            score[rows] = self.maps[member](score[rows])
        return Rescored(np.arange(len(score)), score)


def calibrate(tables: Tables, *, maps: Mapping[str, ScoreMap]) -> DetectionTable:
    """Pool tables with each member's scores mapped to calibrated ones.

    Args:
        tables: One or several tables.
        maps: Member name -> `ScoreMap`, as `evaluation.calibration.learn_calibration` gives.

    Raises:
        InputError: If a member has no map.
    """
    return apply(Calibrate(maps=maps), tables)
