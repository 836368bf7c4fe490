"""What a step of fusion is, what it answers with, and how its parameters are described."""

from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from typing import Any, NamedTuple, Protocol, get_args

import numpy as np

from fusion.checks import at_least, one_of, within
from fusion.columns import Fused, Sources
from fusion.errors import InputError, option
from fusion.pool import Pool
from fusion.table import DetectionTable

__all__ = ["Parameter", "Rebuilt", "Rescored", "Step", "check", "default_of", "parameter", "parameters"]

_KEY = "parameter"


class Rescored(NamedTuple):
    """The answer of a step that changes scores row by row, or leaves rows out, and needs no sorting.

    Attributes:
        row: int64 [k], the input rows that stay, ascending.
        score: float64 [k], their scores.
    """

    row: np.ndarray
    score: np.ndarray


class Rebuilt(NamedTuple):
    """The answer of a step that makes masks or categories that no input row has.

    Attributes:
        table: The detections, sorted by image.
        row: int64 [k], the input row each was made from.
        sources: Input rows behind each, only when asked for.
    """

    table: DetectionTable
    row: np.ndarray
    sources: Sources | None


class Step(Protocol):
    """A fusion method with its parameters: a frozen dataclass whose fields are described by `parameter`.

    A step with a class attribute `shares_members = True` takes tables that bring the same members, such
    as fused boxes beside the tables that they were fused from. One with `cellwise = True` answers `Fused`, looks at
    the pool's columns and member names alone, and at each cell by itself: it is given some images at a time. One with
    `compares_scores = False` neither compares nor averages scores of different members. One with
    `inputs = ("instances", "voters")` tells its first table from the others.
    """

    def fuse(self, pool: Pool, sources: bool = False) -> Fused | Rescored | Rebuilt:
        """Return the fused detections; with `sources`, also the rows each came from."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """What there is to say of a parameter of a step besides its name, its type and its default.

    Attributes:
        help: What it means; one sentence, without its range.
        low: Least value; None for any.
        high: Largest value; None for any.
        above: What it must be above, where that is itself out of range.
        choices: The words that it can be.
        typed: Its name at the command line, where it is another.
        words: Makes its value of the words typed, where it takes several.
        files: Options of the command line that name the files it is read from -> what they are.
        read: Reads it from these files; None where it is what `quorum learn` wrote under its name.
        when: Another parameter, and the value of it with which the file is read.
        learned: Whether a recipe may name a file of `quorum learn` instead.
        table: What the table in that file is called, where that is not its own name.
        build: Makes its value of what TOML holds, given that and where it stands.
        sample: What an example types; by default the default.
    """

    help: str
    low: float | None = None
    high: float | None = None
    above: float | None = None
    choices: tuple[str, ...] = ()
    typed: str | None = None
    words: Callable[[tuple[str, ...]], Any] | None = None
    files: Mapping[str, str] = field(default_factory=dict)
    read: Callable[..., Any] | None = None
    when: tuple[str, object] | None = None
    learned: bool = False
    table: str | None = None
    build: Callable[[Any, str], Any] | None = None
    sample: str | None = None

    @property
    def range(self) -> str:
        """Its range in words; "" where it has none."""
        if self.choices:
            return ", ".join(self.choices[:-1]) + f" or {self.choices[-1]}"
        if self.above is not None:
            return f"above {self.above:g}" + ("" if self.high is None else f", at most {self.high:g}")
        if self.low is None:
            return ""
        return f"at least {self.low:g}" if self.high is None else f"from {self.low:g} to {self.high:g}"

    @property
    def told(self) -> str:
        """What it means and its range, in one sentence."""
        return f"{self.help[:-1]}; {self.range}." if self.range else self.help


def parameter(help: str, **more: Any) -> dict[str, Parameter]:  # noqa: A002
    """Describe a field of a step, as its `metadata`; see `Parameter`."""
    return {_KEY: Parameter(help=help, **more)}


def parameters(kind: Any) -> dict[str, Parameter]:
    """Return the parameters of a step: name -> what there is to say of it."""
    return {one.name: one.metadata[_KEY] for one in fields(kind)}


def check(step: Any) -> None:
    """Require that the values of a step are those that its parameters allow.

    Raises:
        InputError: If one is not; the message names the option and what it can be.
    """
    for one in fields(step):
        about, value = one.metadata[_KEY], getattr(step, one.name)
        if value is None and (one.type is None or type(None) in get_args(one.type)):
            continue
        if about.choices:
            one_of(one.name, value, about.choices)
        low = about.low if about.above is None else about.above
        if low is None:
            continue
        if about.high is not None:
            within(one.name, value, low, about.high)
        else:
            at_least(one.name, value, low, whole=int in (one.type, *get_args(one.type)))
        if about.above == value:
            raise InputError(f"option {option(one.name)}", f"expected a number above {about.above:g}, got {value:g}")


def default_of(one: "Field[Any]") -> Any:
    """Return the default of a step's field, `MISSING` where it must be given."""
    return one.default if one.default_factory is MISSING else one.default_factory()
