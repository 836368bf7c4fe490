"""Detection tables, and everything that turns several tables into one.

Names are imported when they are first used. Those of methods come from the files in `fusion/steps`: of `nms.py` the
step `Nms` and the function `nms`. Type checkers read `__init__.pyi`, which `python -m fusion.functions` writes.
"""

from importlib import import_module
from typing import Any

from fusion.lazily import attach
from fusion.names import HOMES
from fusion.steps import class_name, step_names

_homes = {name: f"fusion.{module}" for name, module in HOMES.items()}
_find, _names = attach(__name__, _homes | {class_name(step): f"fusion.steps.{step}" for step in step_names()})


def __getattr__(name: str) -> Any:
    if name not in step_names():
        return _find(name)
    value = import_module("fusion.functions").function_of(name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*_names(), *step_names()})
