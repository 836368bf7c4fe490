"""Detection tables, and everything that turns several tables into one.

Names are imported when they are first used. Those of methods come from the files in `fusion/steps`: of `nms.py` the
step `Nms` and the function `nms`. Type checkers read `__init__.pyi`, which `python -m fusion.functions` writes.
"""

from importlib import import_module
from typing import Any

from fusion.names import HOMES
from fusion.steps import class_name, step_class, step_names


def __getattr__(name: str) -> Any:
    if name in HOMES:
        value = getattr(import_module(f"fusion.{HOMES[name]}"), name)
    elif name in step_names():
        value = import_module("fusion.functions").function_of(name)
    else:
        steps = [step for step in step_names() if class_name(step) == name]
        if not steps:
            raise AttributeError(f"module 'fusion' has no attribute {name!r}")
        value = step_class(steps[0])
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *HOMES, *step_names(), *map(class_name, step_names())})
