"""Rising maps from a member's scores to calibrated ones."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fusion.checks import one_of
from fusion.errors import InputError
from fusion.formulas.maps import beyond, on_line
from fusion.toml_values import build, by_category

__all__ = ["KINDS", "LEAST", "LIMIT", "MOST", "CategoryMaps", "ScoreMap", "read_maps"]

KINDS = ("isotonic", "linear", "platt", "rank")

# Calibrated scores stay inside (0, 1), also where floating point would round them to an end, as do log odds whose
# exponential would not be a normal number.
LEAST, MOST, LIMIT = 1e-300, math.nextafter(1.0, 0.0), 690.0


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

    def to_dict(self) -> dict[str, Any]:
        """Return what TOML stores."""
        return {"kind": self.kind, "score": list(map(float, self.score)), "value": list(map(float, self.value))}

    def __call__(self, score: np.ndarray) -> np.ndarray:
        """Map scores: [n] -> float64 [n], inside (0, 1)."""
        knots, values = np.asarray(self.score, np.float64), np.asarray(self.value, np.float64)
        if self.kind == "platt":
            low, high = np.log(values / (1 - values))
            log_odds = on_line(score, knots[0], low, (high - low) / (knots[1] - knots[0]))
            mapped = 1 / (1 + np.exp(-np.clip(log_odds, -LIMIT, LIMIT)))
        else:
            span = max(knots[-1] - knots[0], np.finfo(np.float64).tiny)
            mapped = np.interp(score, knots, values)
            above = np.maximum(score - knots[-1], 0.0)
            below = np.maximum(knots[0] - score, 0.0)
            mapped = beyond(mapped, values[-1], above, below, span)
        return np.asarray(np.clip(mapped, LEAST, MOST))


@dataclass(frozen=True, slots=True, kw_only=True)
class CategoryMaps:
    """A member's maps: one for all categories, and others for categories with enough data of their own.

    Attributes:
        pooled: The map of every category that is not in `category`.
        category: Category id -> its map.
    """

    pooled: ScoreMap
    category: Mapping[int, ScoreMap] = field(default_factory=dict)


def read_maps(values: Any, where: str) -> Any:
    """Make the maps of members of what TOML holds: for each one map, or one per category beside the pooled one.

    Raises:
        InputError: If one cannot be made; it is named.
    """
    if not isinstance(values, Mapping):
        return values
    return {member: _read(entry, f"{where}.{member}") for member, entry in values.items()}


def _read(entry: Any, where: str) -> Any:
    if isinstance(entry, (ScoreMap, CategoryMaps)):
        return entry
    if not isinstance(entry, Mapping) or "pooled" not in entry:
        return build(ScoreMap, entry, where)
    values = {**entry, "pooled": build(ScoreMap, entry["pooled"], f"{where}.pooled")}
    if isinstance(values.get("category"), Mapping):
        values["category"] = {
            category: one if isinstance(one, ScoreMap) else build(ScoreMap, one, f"{where}.category.{category}")
            for category, one in by_category(values["category"], f"{where}.category").items()
        }
    return build(CategoryMaps, values, where)
