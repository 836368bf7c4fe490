"""Reading, writing, changing and comparing frozen dataclasses of settings."""

import contextlib
import dataclasses
import json
import types
from collections.abc import Mapping
from typing import Any, Union, get_args, get_origin, get_type_hints

import msgspec

from fusion.errors import InputError

__all__ = ["diff", "from_dict", "to_dict", "with_field"]


def to_dict(config: Any) -> dict[str, Any]:
    """Return a config as plain values for JSON.

    Args:
        config: A frozen dataclass.

    Returns:
        Its fields; "kind" names the class, which is read only where a field may have one of several.
    """
    plain: dict[str, Any] = {"kind": type(config).__name__}
    for field in dataclasses.fields(config):
        plain[field.name] = _plain(getattr(config, field.name))
    return plain


def from_dict(cls: type, values: Mapping[str, Any], where: str = "config") -> Any:
    """Read a config from plain values; fields left out keep their defaults.

    Args:
        cls: Class of the config.
        values: What `to_dict` gave, or a part of it.
        where: Named in errors.

    Returns:
        An instance of `cls`.

    Raises:
        InputError: If a field is unknown or its value does not fit its type.
    """
    hints = get_type_hints(cls)
    known = {field.name for field in dataclasses.fields(cls)}
    given = {name: value for name, value in values.items() if name != "kind"}
    unknown = sorted(set(given) - known)
    if unknown:
        raise InputError(
            f"{where}.{unknown[0]}", f"{cls.__name__} has no such field", f"It has {', '.join(sorted(known))}"
        )
    return cls(**{name: _typed(hints[name], value, f"{where}.{name}") for name, value in given.items()})


def with_field(config: Any, path: str, value: Any) -> Any:
    """Replace one field deep inside a config, as the command line's `--set head.convs=8` does.

    Args:
        config: A frozen dataclass.
        path: Names of fields joined by dots.
        value: Plain value, or its JSON text. Text that is no JSON stands for itself.

    Returns:
        The changed copy.

    Raises:
        InputError: If there is no such field or the value does not fit.
    """
    if isinstance(value, str):
        with contextlib.suppress(ValueError):  # text that is no JSON, such as resnet101, stands for itself
            value = json.loads(value)
    return _with(config, path.split("."), value, path)


def _with(config: Any, path: list[str], value: Any, where: str) -> Any:
    name = path[0]
    if name not in getattr(config, "__dataclass_fields__", ()):
        raise InputError(where, f"{type(config).__name__} has no field {name!r}")
    if len(path) > 1:
        changed = _with(getattr(config, name), path[1:], value, where)
    else:
        changed = _typed(get_type_hints(type(config))[name], value, where)
    return dataclasses.replace(config, **{name: changed})


def diff(one: Any, other: Any, path: str = "") -> dict[str, tuple[Any, Any]]:
    """Return what differs between two configs.

    Args:
        one: A config, or a value in one.
        other: The config it is compared with.
        path: Prefix of the paths.

    Returns:
        {path: (value of one, value of the other)}; a part of another class counts as one difference.
    """
    if dataclasses.is_dataclass(one) and type(one) is type(other):
        found = {}
        for field in dataclasses.fields(one):
            below = f"{path}.{field.name}" if path else field.name
            found.update(diff(getattr(one, field.name), getattr(other, field.name), below))
        return found
    return {} if one == other else {path: (one, other)}


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return to_dict(value)
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value


def _configs(hint: Any) -> dict[str, type]:
    """Return the classes of configs that a value of this type may have, by name."""
    options: tuple[Any, ...] = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    return {option.__name__: option for option in options if hasattr(option, "__dataclass_fields__")}


def _typed(hint: Any, value: Any, where: str) -> Any:
    configs = _configs(hint)
    if get_origin(hint) is tuple and _configs(get_args(hint)[0]):
        if not isinstance(value, (list, tuple)):
            raise InputError(where, f"expected a list, got {value!r}")
        return tuple(_typed(get_args(hint)[0], item, f"{where}.{number}") for number, item in enumerate(value))
    if configs and value is None and type(None) in get_args(hint):
        return None
    if configs:
        if dataclasses.is_dataclass(value) and type(value).__name__ in configs:
            return value
        if not isinstance(value, Mapping):
            raise InputError(where, f"expected the fields of {' or '.join(configs)}, got {value!r}")
        kind = next(iter(configs)) if len(configs) == 1 else value.get("kind")
        if kind not in configs:
            raise InputError(where, f"expected a kind of {', '.join(configs)}, got {kind!r}")
        return from_dict(configs[kind], value, where)
    try:
        return msgspec.convert(value, hint)
    except msgspec.ValidationError as error:
        raise InputError(where, str(error)) from error
