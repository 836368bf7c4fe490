"""The methods of fusion, one file each: `nms.py` holds the step `Nms`. Adding a file adds a method."""

import functools
import pkgutil
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fusion.steps.base import Step

__all__ = ["class_name", "name_of", "step_class", "step_names"]


@functools.cache
def step_names() -> tuple[str, ...]:
    """Return the names of all methods, sorted; loads none of them."""
    return tuple(sorted(found.name for found in pkgutil.iter_modules(__path__) if found.name != "base"))


def step_class(name: str) -> "type[Any]":
    """Return the step of a name, one of `step_names()`."""
    kind: type[Any] = getattr(import_module(f"fusion.steps.{name}"), class_name(name))
    return kind


def class_name(name: str) -> str:
    """Return what the step of a method is called: `NmsThenSoft` of nms_then_soft."""
    return "".join(map(str.capitalize, name.split("_")))


def name_of(step: "Step | type[Step]") -> str:
    """Return the name of a step's method: that of its file; of a step from elsewhere its class's."""
    kind = step if isinstance(step, type) else type(step)
    return kind.__module__.rpartition(".")[2] if kind.__module__.startswith(__name__) else kind.__name__
