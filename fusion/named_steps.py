"""Steps made of their name and parameters, as files and the command line give them."""

from collections.abc import Mapping
from typing import Any

from fusion.errors import InputError
from fusion.steps import step_class, step_names
from fusion.steps.base import Step, parameters
from fusion.toml_values import build, suggest

__all__ = ["step_from_options"]


def step_from_options(name: str, options: Mapping[str, Any], where: object = "recipe") -> Step:
    """Make a step from its name and parameters.

    Raises:
        InputError: If the step or a parameter is unknown, with a suggestion; or a value is not allowed.
    """
    if name not in step_names():
        problem = f"step {name!r} is unknown{suggest(name, step_names())}"
        raise InputError(where, problem, f"The steps are {', '.join(step_names())}")
    kind, values = step_class(name), dict(options)
    for key, about in parameters(kind).items():
        if key in values and about.build is not None:
            values[key] = about.build(values[key], f"{where}, {key}")
    step: Step = build(kind, values, where)
    return step
