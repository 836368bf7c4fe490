"""Values in TOML: parsed, made of what a file holds with errors that name the fault, and written."""

import dataclasses
import difflib
import tomllib
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any

from fusion.checks import shown
from fusion.errors import InputError

__all__ = ["build", "by_category", "check_keys", "parse_toml", "suggest", "toml_value"]

_DEPTH = 16


def parse_toml(text: str, where: object, expected: str) -> dict[str, Any]:
    """Parse TOML; whole numbers have at most 64 bits, as TOML says, and tables are not nested without end.

    Raises:
        InputError: If it is anything else.
    """
    try:
        document = tomllib.loads(text)
    except RecursionError:
        raise InputError(where, f"expected {expected} (its lists or tables are nested too deep)") from None
    except ValueError as error:  # a TOMLDecodeError, or a whole number of too many digits
        raise InputError(where, f"expected {expected} ({error})") from error
    rest: list[tuple[int, str, Any]] = [(1, name, value) for name, value in document.items()]
    while rest:
        depth, key, value = rest.pop()
        if isinstance(value, int) and not -(2**63) <= value < 2**63:
            problem = f"{key} = {shown(value)} does not fit in 64 bits"
            raise InputError(where, problem, "Write large numbers with an exponent: 1e20")
        if depth > _DEPTH:
            raise InputError(where, f"{shown(key)} is nested too deep", f"At most {_DEPTH} tables in one another")
        entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        rest += [(depth + 1, f"{key}.{name}", entry) for name, entry in entries]
    return document


def by_category(entry: Any, where: str) -> Any:
    """Return a table of TOML by category id; what is no table is returned as it is.

    Raises:
        InputError: If a key is no whole number.
    """
    if not isinstance(entry, Mapping):
        return entry
    try:
        return {int(category): weight for category, weight in entry.items()}
    except ValueError as error:
        raise InputError(where, f"expected category ids as keys ({error})") from error


def build(kind: type[Any], values: object, where: object) -> Any:
    """Make a dataclass from a mapping; wrong keys and types are named."""
    fields = {field.name: field for field in dataclasses.fields(kind)}
    if not isinstance(values, Mapping):
        raise InputError(where, f"expected a table with {', '.join(fields)}, got {shown(values)}")
    check_keys(values, tuple(fields), where)
    hints = typing.get_type_hints(kind)
    for name, value in values.items():
        if not _fits(value, hints[name]):
            raise InputError(where, f"{name} = {shown(value)} is of the wrong type, expected {_words(hints[name])}")
    needed = [f.name for f in fields.values() if f.default is f.default_factory is dataclasses.MISSING]
    missing = [name for name in needed if name not in values]
    if missing:
        raise InputError(where, f"{', '.join(missing)} must be given")
    try:
        return kind(**values)
    except InputError as error:
        raise InputError(f"{where}, {error.where}", error.problem, error.remedy) from error


def check_keys(table: Mapping[str, Any], keys: Sequence[str], where: object) -> None:
    """Require that a table has no other keys than these.

    Raises:
        InputError: If it has; the one most like it is suggested.
    """
    for key in table:
        if key not in keys:
            raise InputError(
                where, f"key {key!r} is unknown{suggest(key, keys)}", f"The keys are {', '.join(keys) or '(none)'}"
            )


def suggest(word: str, words: Sequence[str]) -> str:
    """Return what an error adds on a word that is nearly one of some."""
    close = difflib.get_close_matches(word, words, 1)
    return f"; did you mean {close[0]!r}?" if close else ""


def toml_value(value: Any) -> Any:
    """Turn a parameter into what TOML knows: mappings with text keys, lists, numbers, texts."""
    if hasattr(value, "to_dict"):
        value = value.to_dict()
    elif dataclasses.is_dataclass(value):
        value = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): toml_value(entry) for key, entry in value.items()}
    return list(map(toml_value, value)) if isinstance(value, (list, tuple)) else value


def _fits(value: object, hint: Any) -> bool:
    options = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    for option in options:
        origin = typing.get_origin(option) or option
        if origin is float and isinstance(value, (int, float)) and not isinstance(value, bool):
            return True
        if origin is int and isinstance(value, int) and not isinstance(value, bool):
            return True
        if origin not in (int, float) and isinstance(origin, type) and isinstance(value, origin):
            return True
        if origin is typing.Literal and value in typing.get_args(option):
            return True
    return False


def _words(hint: Any) -> str:
    return getattr(hint, "__name__", str(hint)).replace("collections.abc.", "")
