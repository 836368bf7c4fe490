"""Checks of parameters: one sentence for every option of every method."""

import math
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from fusion.errors import InputError, option

__all__ = ["at_least", "listed", "listing", "one_of", "shown", "within"]

_LONG = 300


def within(name: str, value: object, low: float, high: float) -> None:
    """Require a finite number in [low, high].

    Raises:
        InputError: If it is anything else; the message names the option and the range.
    """
    if not _is_number(value) or not low <= value <= high:  # type: ignore[operator]
        raise InputError(f"option {option(name)}", f"expected a number in [{low:g}, {high:g}], got {shown(value)}")


def at_least(name: str, value: object, low: float, *, whole: bool = False) -> None:
    """Require a finite number of at least `low`; with `whole`, an integer.

    Raises:
        InputError: If it is anything else; the message names the option and the bound.
    """
    if not _is_number(value) or value < low or (whole and not isinstance(value, int)):  # type: ignore[operator]
        kind = "whole number" if whole else "number"
        raise InputError(f"option {option(name)}", f"expected a {kind} of at least {low:g}, got {shown(value)}")


def listed(name: str, value: object, kind: type) -> tuple[Any, ...]:
    """Require a list of whole numbers or of texts, and return it as a tuple.

    Raises:
        InputError: If it is anything else; the message names the option.
    """
    good = isinstance(value, Sequence) and not isinstance(value, str)
    if not good or not all(isinstance(entry, kind) and not isinstance(entry, bool) for entry in value):  # type: ignore[attr-defined]
        words = "whole numbers" if kind is int else "names"
        raise InputError(f"option {option(name)}", f"expected a list of {words}, got {shown(value)}")
    return tuple(value)  # type: ignore[arg-type]


def one_of(name: str, value: object, choices: Sequence[str]) -> None:
    """Require one of some words.

    Raises:
        InputError: If it is anything else; the message lists the choices.
    """
    if value not in choices:
        raise InputError(f"option {option(name)}", f"expected one of {', '.join(choices)}, got {shown(value)}")


def listing(names: Iterable[object]) -> str:
    """Say in an error which names there are: `'a', 'b'`, or that there are none."""
    return ", ".join(map(repr, names)) or "none at all"


def shown(value: object) -> str:
    """Return a value for an error, cut where it is long."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # a whole number of too many digits, or nested too deep
        text = type(value).__name__
    return text if len(text) <= _LONG else f"{text[: _LONG - 20]} ... ({len(text):,} characters)"


def _is_number(value: object) -> bool:
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return False
    # whole numbers may be larger than any float
    return abs(value) <= sys.float_info.max if isinstance(value, int) else math.isfinite(value)
