"""Packages whose names are imported when they are first used."""

import re
import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

__all__ = ["attach", "homes_in_stub"]

_LINE = re.compile(r"^from (\w[\w.]*) import (\w+) as \2$", re.MULTILINE)


def attach(
    package: str, homes: Mapping[str, str] | None = None
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return the `__getattr__` and the `__dir__` of a package that loads none of its modules by itself.

    Its modules are attributes as well, imported when they are first used: `evaluation.statistics.bootstrap`.

    Args:
        package: Its name.
        homes: The module that each name is imported from. If they are not given, they are read in `__init__.pyi` beside
            the package's file, where type checkers find them, so that there is one list of them.
    """

    def find(name: str) -> Any:
        module = _homes().get(name)
        if module is None:
            if not name.startswith("_") and find_spec(f"{package}.{name}") is not None:
                return import_module(f"{package}.{name}")
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(import_module(module), name)
        setattr(sys.modules[package], name, value)
        return value

    def names() -> list[str]:
        return sorted({*vars(sys.modules[package]), *_homes()})

    def _homes() -> Mapping[str, str]:
        nonlocal homes
        if homes is None:
            homes = homes_in_stub(Path(str(sys.modules[package].__file__)).with_suffix(".pyi"))
        return homes

    return find, names


def homes_in_stub(path: str | Path) -> dict[str, str]:
    """Return the names that a stub imports, and the modules that it imports them from."""
    return {name: module for module, name in _LINE.findall(Path(path).read_text(encoding="utf-8"))}
