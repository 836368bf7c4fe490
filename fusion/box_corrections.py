"""Corrections of the boxes of a member that draws them otherwise than the annotators did."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fusion.errors import InputError
from fusion.toml_values import build, by_category

__all__ = ["MOST", "TERMS", "BoxCorrection", "read_corrections", "terms"]

TERMS = {1: "constant", 5: "size", 9: "size and position"}
"""What the shift of a side may depend on, by the number of its coefficients."""

MOST = 0.45
"""Largest shift of a side, as a share of the box: what is left is a tenth of it at least."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BoxCorrection:
    """How far the sides of a member's boxes are moved, as shares of the box's width or height.

    The shift of a side is the sum of its coefficients times 1, log w, log h and their squares (`TERMS`), then the
    center's x, y and their squares; plus the shift of the box's category, where it has one. Sizes beyond those that it
    was learned on are taken as the nearest of these. No side moves by more than `MOST`, so that boxes stay finite and
    their width and height stay above 0 where they were, and none leaves the image (where its size is known) or the
    axes that was inside.

    Attributes:
        side: Coefficients of the left, upper, right and lower side; four rows of equal length, none for no correction.
        low: Least log w and log h that it was learned on.
        high: Largest.
        category: Category id -> four shifts to be added.
        spread: Mean distance of the four sides from the annotated ones afterwards, as shares; empty where not known.
        frame: Width and height of the images, where all are of one size; empty where they are not.
    """

    side: Sequence[Sequence[float]] = ()
    low: Sequence[float] = ()
    high: Sequence[float] = ()
    category: Mapping[int, Sequence[float]] = field(default_factory=dict)
    spread: Sequence[float] = ()
    frame: Sequence[float] = ()

    def __post_init__(self) -> None:
        sizes = [len(row) for row in self.side]
        rows = [*self.side, self.low, self.high, self.spread, self.frame, *self.category.values()]
        whole = len(sizes) in (0, 4) and len(set(sizes)) <= 1 and all(size in TERMS for size in sizes)
        bounds = len(self.low) == len(self.high) == (2 if sizes and sizes[0] > 1 else 0)
        small = all(len(row) == 4 for row in self.category.values()) and len(self.spread) in (0, 4)
        if not (whole and bounds and small and len(self.frame) in (0, 2)):
            told = ", ".join(map(str, TERMS))
            raise InputError(
                "box correction",
                f"expected four sides of {told} coefficients, with bounds of two sizes, and four shifts per category",
                "Learn it again",
            )
        if not all(math.isfinite(number) for row in rows for number in row):
            raise InputError("box correction", "expected finite numbers", "Learn it again")
        # a file gives lists, and equal corrections should be equal
        object.__setattr__(self, "side", tuple(tuple(map(float, row)) for row in self.side))
        for name in ("low", "high", "spread", "frame"):
            object.__setattr__(self, name, tuple(map(float, getattr(self, name))))
        object.__setattr__(self, "category", {key: tuple(map(float, row)) for key, row in self.category.items()})

    @property
    def form(self) -> str:
        """What the shifts depend on, in words."""
        own = f", {len(self.category)} categories of their own" if self.category else ""
        return (TERMS[len(self.side[0])] if self.side else "none") + own

    @property
    def moves(self) -> bool:
        """Whether it moves any box."""
        return bool(self.side or self.category)

    def __call__(self, corners: np.ndarray, category_id: np.ndarray) -> np.ndarray:
        """Correct boxes.

        Args:
            corners: float64 [n, 4], x1, y1, x2, y2, finite.
            category_id: int32 [n].

        Returns:
            float64 [n, 4].
        """
        shift = self.shifts(corners, category_id)
        size = np.maximum(corners[:, 2:] - corners[:, :2], 0.0)
        moved = corners + shift * np.hstack((size, size))
        low = np.minimum(corners, 0.0)
        high = np.maximum(corners, np.tile(self.frame, 2)) if self.frame else np.inf
        inside: np.ndarray = np.minimum(np.maximum(moved, low), high)
        # a box in a corner of the image may not be squeezed to nothing by it
        gone = np.any(inside[:, 2:] <= inside[:, :2], axis=1)
        inside[gone] = corners[gone]
        return inside

    def shifts(self, corners: np.ndarray, category_id: np.ndarray) -> np.ndarray:
        """Return how far the sides move, as shares of the box: float64 [n, 4]."""
        shift = np.zeros((len(corners), 4))
        if self.side:
            count = len(self.side[0])
            # summed term by term: a matrix product may round otherwise for another number of rows
            for row, term in zip(np.array(self.side).T, terms(corners, count, self.low, self.high), strict=True):
                shift += term[:, None] * row
        if self.category:
            ids = np.array(sorted(self.category), np.int64)
            own = np.array([self.category[int(key)] for key in ids])
            place = np.minimum(np.searchsorted(ids, category_id), len(ids) - 1)
            shift += np.where((ids[place] == category_id)[:, None], own[place], 0.0)
        return np.clip(shift, -MOST, MOST)


def terms(corners: np.ndarray, count: int, low: Sequence[float], high: Sequence[float]) -> list[np.ndarray]:
    """Return the first `count` terms of a shift for each box, float64 [n] each; see `BoxCorrection`."""
    found = [np.ones(len(corners))]
    if count > 1:
        size = np.log(np.maximum(corners[:, 2:] - corners[:, :2], np.finfo(np.float64).tiny))
        size = np.clip(size, low, high)
        found += [*size.T, *(size**2).T]
    if count > 5:
        center = corners[:, :2] / 2 + corners[:, 2:] / 2
        found += [*center.T, *(center**2).T]
    return found[:count]


def read_corrections(entry: Any, where: str) -> Any:
    """Make the corrections of members from what TOML holds; what is no table is returned as it is.

    Raises:
        InputError: If one cannot be.
    """
    if not isinstance(entry, Mapping):
        return entry
    read = {}
    for member, values in entry.items():
        if isinstance(values, Mapping):
            values = {**values, "category": by_category(values.get("category", {}), f"{where}.{member}.category")}
        read[member] = build(BoxCorrection, values, f"{where}.{member}")
    return read
