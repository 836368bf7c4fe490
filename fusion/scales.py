"""What each test-time view is good for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fusion.checks import at_least
from fusion.errors import InputError, option
from fusion.toml_values import build, by_category

__all__ = ["Scales"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scales:
    """What each test-time view is good for, by the size of boxes.

    The size of a box is the square root of its area, in pixels of the original image. A size range takes in
    its lower bound and not its upper one. When there are weights, every view needs them, and likewise with limits.

    Attributes:
        sides: Bounds between size ranges, ascending: (32, 96) makes three, COCO's small, medium, large.
        weights: View -> a factor on scores per size range; 0 leaves the boxes out.
        limits: View -> (least, most): boxes of other sizes are left out; `most` itself is out.
        boost: Category id -> a factor on scores, at every size.
    """

    sides: Sequence[float] = ()
    weights: Mapping[str, Sequence[float]] = field(default_factory=dict)
    limits: Mapping[str, Sequence[float]] = field(default_factory=dict)
    boost: Mapping[int, float] = field(default_factory=dict)

    @classmethod
    def from_dict(cls, values: Any, where: str) -> Any:
        """Make them of what TOML holds; what is no table is returned as it is.

        Raises:
            InputError: If that cannot be.
        """
        if not isinstance(values, Mapping):
            return values
        return build(cls, {**values, "boost": by_category(values.get("boost", {}), f"{where}.boost")}, where)

    def __post_init__(self) -> None:
        for side in self.sides:
            at_least("sides", side, 0.0)
        if any(after <= before for before, after in zip(self.sides, self.sides[1:], strict=False)):
            raise InputError(f"option {option('sides')}", f"expected ascending numbers, got {list(self.sides)}")
        for view, weights in self.weights.items():
            if not isinstance(weights, Sequence) or len(weights) != len(self.sides) + 1:
                problem = f"expected a number for each of {len(self.sides) + 1} size ranges, got {weights!r}"
                raise InputError(
                    f"option {option('weights')}.{view}", problem, f"The ranges meet at sides {list(self.sides)}"
                )
            for weight in weights:
                at_least(f"weights.{view}", weight, 0.0)
        for view, limits in self.limits.items():
            if not isinstance(limits, Sequence) or len(limits) != 2:
                raise InputError(f"option {option('limits')}.{view}", f"expected [least, most], got {limits!r}")
            for limit in limits:
                at_least(f"limits.{view}", limit, 0.0)
        for category, factor in self.boost.items():
            at_least(f"boost.{category}", factor, 0.0)
        # a file gives lists, and equal scales should be equal
        object.__setattr__(self, "sides", tuple(self.sides))
        for name in ("weights", "limits"):
            object.__setattr__(self, name, {view: tuple(row) for view, row in getattr(self, name).items()})
