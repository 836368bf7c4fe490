"""The functions `fusion.nms`, `fusion.wbf`, ...: from tables to a table, derived from the steps of their names."""

import functools
import inspect
import re
from collections.abc import Callable, Sequence
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

from fusion.names import HOMES
from fusion.pool import Tables
from fusion.run import DEVICES, apply
from fusion.steps import class_name, step_class, step_names
from fusion.steps.base import default_of, parameters
from fusion.table import DetectionTable

__all__ = ["function_of", "stub"]

_QUALIFIED = re.compile(r"\b((?:[a-z_]+\.)*[a-z_]+)\.([A-Z]\w*)")
_DEVICE = f"One of {', '.join(DEVICES)}; see `fusion.apply`."


@functools.cache
def function_of(name: str) -> Callable[..., DetectionTable]:
    """Return the function of a method: it takes tables, the step's parameters and a device.

    Args:
        name: One of `fusion.steps.step_names()`.
    """
    kind = step_class(name)
    signature = _signature(kind)

    def fuse(*args: Any, **kwargs: Any) -> DetectionTable:
        given = signature.bind(*args, **kwargs).arguments
        tables: Tables = given.pop("tables") if "tables" in given else _joined(*map(given.pop, _inputs(kind)))
        device = given.pop("device", "cpu")
        # None stands for nothing where a mapping may be left out
        empty = [one.name for one in fields(kind) if one.default_factory is dict and given.get(one.name, 0) is None]
        return apply(kind(**{key: value for key, value in given.items() if key not in empty}), tables, device=device)

    fuse.__name__ = fuse.__qualname__ = name
    fuse.__module__ = "fusion"
    fuse.__signature__ = signature  # type: ignore[attr-defined]
    fuse.__annotations__ = {one.name: one.annotation for one in signature.parameters.values()}
    fuse.__annotations__["return"] = DetectionTable
    fuse.__doc__ = _doc(name, kind)
    return fuse


def _joined(first: DetectionTable, others: Sequence[DetectionTable]) -> Tables:
    return [first, *others]


def _inputs(kind: type[Any]) -> tuple[str, ...]:
    return getattr(kind, "inputs", ("tables",))


def _signature(kind: type[Any]) -> inspect.Signature:
    names = _inputs(kind)
    types = [Tables] if names == ("tables",) else [DetectionTable, Sequence[DetectionTable]]
    place, named = inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY
    given = [inspect.Parameter(name, place, annotation=type_) for name, type_ in zip(names, types, strict=True)]
    for one in fields(kind):
        default = default_of(one)
        default = inspect.Parameter.empty if default is MISSING else default
        given.append(inspect.Parameter(one.name, named, default=default, annotation=one.type))
    given.append(inspect.Parameter("device", named, default="cpu", annotation=str))
    return inspect.Signature(given, return_annotation=DetectionTable)


def _doc(name: str, kind: type[Any]) -> str:
    """Put the docstring together: what the method does, what each option means, an example."""
    names = _inputs(kind)
    about = {
        "tables": "One table or several; several are pooled.",
        "instances": "The first table: what there is an answer for.",
        "voters": "The tables that have a say.",
    }
    lines = [inspect.cleandoc(kind.__doc__ or ""), "", "Args:", *(f"    {one}: {about[one]}" for one in names)]
    lines += [f"    {key}: {one.told}{_by_default(kind, key)}" for key, one in parameters(kind).items()]
    lines += [
        f"    device: {_DEVICE} 'cpu' by default.",
        "",
        "Returns:",
        "    The detections that come out, sorted by image.",
    ]
    lines += ["    Empty input gives an empty table.", "", "Raises:"]
    lines += ["    InputError: If an option is out of range, or the tables do not go together.", "", "Example:"]
    given = ["[a, b]"] if len(names) == 1 else ["fused", "[a, b]"]
    given += [f"{key}={value}" for key, value in _example(kind)]
    return "\n".join([*lines, f"    fused = fusion.{name}({', '.join(given)})"])


def _by_default(kind: type[Any], name: str) -> str:
    """Say what a parameter is when it is not given; "" where its own words have to."""
    [default] = (default_of(one) for one in fields(kind) if one.name == name)
    if default is MISSING:
        return " Must be given."
    return f" {default!r} by default." if isinstance(default, (bool, int, float, str)) else ""


def _example(kind: type[Any]) -> list[tuple[str, str]]:
    """What an example gives: what must be given, else the first parameter."""
    must = [one.name for one in fields(kind) if default_of(one) is MISSING]
    [first, *_] = fields(kind)
    if must:
        return [(name, name) for name in must]
    about = parameters(kind)[first.name]
    if about.files or about.words is not None:
        return [(first.name, first.name)]
    return [(first.name, about.sample or repr(default_of(first)))]


def stub() -> str:
    """Return the text of `fusion/__init__.pyi`: every name of the package with its type."""
    signatures = {name: _stub_of(name) for name in step_names()}
    used = {found for text in signatures.values() for found in _QUALIFIED.findall(text)}
    outside = sorted(f"from {module} import {name} as {name}" for module, name in used if "fusion" not in module)
    inside = [f"from fusion.{module} import {name} as {name}" for name, module in HOMES.items()]
    inside += [f"from {module} import {name} as {name}" for module, name in used if "fusion" in module]
    inside += [f"from fusion.steps.{name} import {class_name(name)} as {class_name(name)}" for name in step_names()]
    head = '"""The names of the package and their types, written by `python -m fusion.functions`."""'
    functions = [_QUALIFIED.sub(r"\2", text) for text in signatures.values()]
    blocks = (outside, sorted(set(inside), key=_by_name), ["from . import per_image as per_image"], functions)
    return "\n".join([head, *(line for block in blocks for line in ("", *block))]) + "\n"


def _by_name(line: str) -> tuple[str, bool, str]:
    """Sort imports as linters do: by module, constants and classes before functions."""
    _, module, _, name, *_ = line.split()
    return module, name[0].islower(), name


def _stub_of(name: str) -> str:
    given = list(_signature(step_class(name)).parameters.values())
    lines = [f"    {one.name}: {inspect.formatannotation(one.annotation)}{_default(one.default)}," for one in given]
    place = len(_inputs(step_class(name)))
    return "\n".join(
        [f"def {name}(", *lines[:place], "    *,", *lines[place:], ") -> fusion.table.DetectionTable: ..."]
    )


def _default(value: Any) -> str:
    if value is inspect.Parameter.empty:
        return ""
    if isinstance(value, str):
        return f' = "{value}"'
    return f" = {value!r}" if value is None or isinstance(value, (bool, int, float)) else " = ..."


if __name__ == "__main__":
    Path(__file__).with_name("__init__").with_suffix(".pyi").write_text(stub(), encoding="utf-8")
