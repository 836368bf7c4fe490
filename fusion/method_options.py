"""Options of the command line for the parameters of methods: which there are, their help, and what they stand for."""

from collections.abc import Mapping
from dataclasses import MISSING, Field, fields, make_dataclass
from pathlib import Path
from typing import Annotated, Any, get_args

from cyclopts import Group, Parameter
from cyclopts.help import DefaultFormatter

from fusion.errors import InputError, in_command_line, option
from fusion.learned import TunedOn, read_learned
from fusion.named_steps import step_from_options
from fusion.steps import step_class, step_names
from fusion.steps.base import Step, default_of, parameters

__all__ = ["example", "method_options", "step_of"]

_MORE = {
    "max_per_image": "After any method, keep this many detections of each image, the best by score.",
    "vote_masks": "After any method, give each box the mask that the masks of the tables vote for.",
}
"""Options that are not one method's."""


def method_options() -> type[Any]:
    """Make the dataclass of all options of methods; each is None unless it is given.

    An option of several methods is one: they are listed method by method in the help, with the defaults of each.
    """
    types: dict[str, Any] = {}
    of: dict[str, list[str]] = {}
    for name in step_names():
        for key, type_ in _options(step_class(name)).items():
            if types.setdefault(key, type_) != type_:
                raise TypeError(f"option {key} of {name} is of another type than other methods'")
            of.setdefault(key, []).append(name)
    groups = {name: _group(name, place) for place, name in enumerate(step_names())}
    types["vote_masks"] = bool
    made: list[tuple[str, Any, Any]] = []
    for key, type_ in types.items():
        shown = [Group("After the method", sort_key=-1)] if key in _MORE else []
        shown += [groups[name] for name in of.get(key, ())]
        many = type_ in (bool, tuple[str, ...])
        about = Parameter(group=tuple(shown), help=_MORE.get(key), negative="" if many else None)
        made.append((key, Annotated[type_ | None, about], None))
    kind = make_dataclass("MethodOptions", made, frozen=True, kw_only=True)
    kind.__module__ = __name__  # classes of the standard library are not taken apart
    return Parameter(name="*")(kind)


def step_of(method: str, given: Mapping[str, Any]) -> tuple[Step, dict[str, TunedOn | None]]:
    """Make a step of options as they are typed.

    Args:
        method: Its name.
        given: Options by name, of `method_options`.

    Returns:
        The step, and what the files that it was read from were learned on.

    Raises:
        InputError: If there is no such method, or an option is not one of its or out of range.
    """
    values, rest = {}, dict(given)
    origins: dict[str, TunedOn | None] = {}
    about = parameters(step_class(method)) if method in step_names() else {}
    # --decay stands for the parameter "method" of some steps
    with in_command_line(**{key: one.typed for key, one in about.items() if one.typed}):
        for key, one in about.items():
            typed = one.typed or key
            if typed in given and (typed not in one.files):
                values[key] = one.words(given[typed]) if one.words else given[typed]
            elif one.files and (one.when is None or given.get(one.when[0]) == one.when[1]):
                paths = [given[name] for name in one.files if name in given]
                if one.read is not None and len(paths) < len(one.files):
                    wanted = " and ".join(map(option, one.files))
                    raise InputError(
                        f"--method {method}",
                        f"expected {wanted}",
                        "Give both" if len(one.files) > 1 else "Give the file",
                    )
                if one.read is not None:
                    values[key] = one.read(*paths)
                elif paths:
                    values[key], origins[str(paths[0])] = read_learned(paths[0], one.table or key)
            for name in (typed, *one.files):
                rest.pop(name, None)
        if about and rest:
            takes = ", ".join(map(option, _options(step_class(method))))
            raise InputError(f"--method {method}", f"does not take {option(next(iter(rest)))}", f"It takes {takes}")
        return step_from_options(method, {**values, **rest}, f"--method {method}"), origins


def example(method: str) -> str:
    """Return a command line that uses a method."""
    kind = step_class(method)
    about, [first, *_] = parameters(kind), fields(kind)
    words = []
    for one in [one for one in fields(kind) if default_of(one) is MISSING] or [first]:
        typed = next(iter(about[one.name].files), about[one.name].typed or one.name).replace("_", "-")
        words.append(f"--{typed} {about[one.name].sample or default_of(one)}")
    tables = "fused a b" if hasattr(kind, "inputs") else "a b"
    return f"quorum fuse {tables} --method {method} {' '.join(words)} -o out"


def _options(kind: type[Any]) -> dict[str, Any]:
    """The options of a step: name -> type."""
    found: dict[str, Any] = {}
    for key, about in parameters(kind).items():
        [one] = (field for field in fields(kind) if field.name == key)
        found |= dict.fromkeys(about.files, Path)
        if about.words is not None:
            found[about.typed or key] = tuple[str, ...]
        elif not about.files:
            found[about.typed or key] = _scalar(one)
    return found


def _scalar(one: "Field[Any]") -> Any:
    [kind] = [kind for kind in get_args(one.type) or (one.type,) if kind is not type(None)]
    return kind


def _group(name: str, place: int) -> Group:
    said = f"{(step_class(name).__doc__ or '').strip().splitlines()[0]}\n\n{example(name)}"
    return Group(f"--method {name}", said, sort_key=place, help_formatter=_OfMethod(name))


class _OfMethod(DefaultFormatter):
    """Prints the options of a method in their order, with its own help and defaults."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._told: dict[str, str] = {}
        kind = step_class(name)
        for one in fields(kind):
            about, default = parameters(kind)[one.name], default_of(one)
            said = about.told
            if default is MISSING:
                said += " [required]"
            elif isinstance(default, (str, float, int)) and default is not False:
                said += f" [default: {default}]"
            for typed, text in {about.typed or one.name: said, **about.files}.items():
                self._told[f"--{typed.replace('_', '-')}"] = text.replace("`", "")

    def __call__(self, console: Any, options: Any, panel: Any) -> None:
        order = list(self._told)
        entries = sorted(panel.entries, key=lambda entry: order.index(entry.names[0]))
        entries = [entry.copy(description=self._told[entry.names[0]]) for entry in entries]
        super().__call__(console, options, panel.copy(entries=entries))
