"""Members that know only some categories, beside one that knows all."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from fusion.checks import listed
from fusion.equal_boxes import alike_of, image_order
from fusion.errors import InputError, option
from fusion.members import label
from fusion.pool import Pool
from fusion.steps.base import Rescored, check, parameter
from fusion.weights import Weights, check_weights, numbers, read_weights

__all__ = ["MODES", "SelectExperts"]

MODES = ("take", "add", "weigh")

# Sums of softmax scores may be above 1 by this much, for rounding.
SLACK = 1e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectExperts:
    """Use each expert in the categories given to it, and the base everywhere else.

    The inputs are, in order, the base and the experts (mmfruit-openimages2019, sec. 5.4 and 7.3). What an expert
    says of categories that are not given to it is left out. In those that are,

    - "take": its detections replace those of the base,
    - "add": they join those of the base, for a later suppression to settle,
    - "weigh": as "add", with the expert's scores multiplied by its weight.

    Several experts may be given the same category; all of them are used then. Boxes stay as they are.

    With `gate`, an expert's region that is background rather than anything it knows is left out, as in sec. 5.4:
    where the background score is above all others. A table has no background scores; they are what
    the scores of a region leave of 1. That takes a softmax over the expert's categories and
    background, all of whose scores are in the table with one box (to the last bit); where each category has a box of
    its own, a box is a region. An expert that applied the gate when it predicted needs none.
    """

    compares_scores: ClassVar[bool] = False

    categories: Mapping[str, Sequence[int]] = field(
        metadata=parameter(
            "Ids of the categories given to each expert; may be none.",
            files={"experts": "Categories and weights of experts: what `quorum learn experts` wrote. [required]"},
            learned=True,
            sample="experts.toml",
        )
    )
    mode: str = field(
        default="take",
        metadata=parameter(
            "Whether an expert's detections replace the base's, join them, or join them by weight.", choices=MODES
        ),
    )
    weights: Weights = field(
        default_factory=dict,
        metadata=parameter(
            "For weigh: per expert one number, or a number per category id.",
            files={"experts": "Categories and weights of experts: what `quorum learn experts` wrote. [required]"},
            when=("mode", "weigh"),
            typed="member_weights",
            words=numbers,
            learned=True,
            build=read_weights,
        ),
    )
    gate: bool = field(default=False, metadata=parameter("Leave out the experts' background regions."))

    def __post_init__(self) -> None:
        check(self)
        # a file gives lists, and equal steps should be equal
        categories = {name: listed(f"categories.{name}", ids, int) for name, ids in self.categories.items()}
        object.__setattr__(self, "categories", categories)
        if (self.mode == "weigh") != bool(self.weights) and any(self.categories.values()):
            problem = "mode weigh needs weights" if self.mode == "weigh" else f"mode {self.mode} takes no weights"
            raise InputError(f"option {option('weights')}", problem, "Give them with mode weigh, and only there")
        check_weights(self.weights)

    def fuse(self, pool: Pool, sources: bool = False) -> Rescored:
        """Return the rows that are used, in order of the input."""
        names = [label(pool.tables, number) for number in range(len(pool.tables))]
        table = np.repeat(np.arange(len(names)), [len(given) for given in pool.tables])
        factor = self.factors(names, pool.category_ids)[table, pool.category()]
        keep = factor > 0
        if self.gate:
            keep &= (table == 0) | ~_background(pool, table, names)
        row = np.flatnonzero(keep)
        score = pool.column("score")[row]
        return Rescored(row, score * factor[row] if self.mode == "weigh" else score)

    def factors(self, names: Sequence[str], category_ids: np.ndarray) -> np.ndarray:
        """Return what scores of each input and category are multiplied by, 0 for those that are left out.

        Args:
            names: Of base and experts.
            category_ids: [c], the categories.

        Returns:
            float64 [names, c].

        Raises:
            InputError: If experts and inputs do not go together, or a weight is missing.
        """
        self._check(names)
        given = np.array([np.isin(category_ids, self.categories.get(name, ())) for name in names])
        given[0] = ~given[1:].any(axis=0) if self.mode == "take" else True
        if self.mode == "weigh":
            weights = [np.ones(len(category_ids)), *(self._row(name, category_ids) for name in names[1:])]
            return np.where(given, np.array(weights), 0.0)
        return given.astype(np.float64)

    def _check(self, names: Sequence[str]) -> None:
        experts = names[1:]
        missing = [name for name in self.categories if name not in experts]
        unknown = [name for name in experts if name not in self.categories]
        if missing or unknown:
            problem = f"there are categories for expert {missing[0]!r}" if missing else f"{unknown[0]!r} has none"
            raise InputError(
                "experts",
                f"{problem}; the inputs are base {names[0]!r} and experts {', '.join(map(repr, experts)) or '(none)'}",
                "Give the base first, then every expert that has categories; an empty list gives one none",
            )

    def _row(self, name: str, category_ids: np.ndarray) -> np.ndarray:
        """The factors of one expert's scores, per category; those not given to it do not matter."""
        weight = self.weights.get(name)
        if isinstance(weight, Mapping):
            missing = [c for c in self.categories[name] if c not in weight]
            if missing:
                raise InputError(f"weights of expert {name}", f"there is none for category {missing[0]}")
            return np.array([weight.get(int(c), 1.0) for c in category_ids], np.float64)
        if weight is None and self.categories[name]:
            raise InputError("weights", f"there is none for expert {name!r}")
        return np.full(len(category_ids), 1.0 if weight is None else float(weight))


def _background(pool: Pool, table: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """Say which rows belong to a region that is background rather than anything else, bool [n]."""
    order, start = image_order(pool)
    region = np.empty(len(order), np.int64)
    region[order] = alike_of(pool, order, start)
    # one box found by two experts of one pool is two regions
    region = region * len(names) + table
    _, region = np.unique(region, return_inverse=True)
    score = pool.column("score").astype(np.float64, copy=False)
    total = np.bincount(region, weights=score)[region]
    best = np.zeros(int(region.max(initial=-1)) + 1)
    np.maximum.at(best, region, score)
    wrong = np.flatnonzero(((score < 0) | (total > 1 + SLACK)) & (table > 0))
    if len(wrong):
        row = wrong[0]
        raise InputError(
            f"expert {names[table[row]]!r}",
            f"the scores of a region sum to {total[row]:g} (one is {score[row]:g}), which is no softmax",
            "Apply the gate where the expert predicts, and leave it off here",
        )
    return np.asarray(1 - total > best[region])
