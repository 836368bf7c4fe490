"""Recipes in TOML, and the files that `quorum learn` writes: reading with errors that name the fault, writing."""

import dataclasses
import difflib
import os
import tomllib
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import tomli_w

from fusion.atomic import replacing
from fusion.checks import shown
from fusion.errors import InputError, in_python
from fusion.parents import read_parents
from fusion.recipe import FORMAT, OUTPUT, STEPS, Node, Recipe, TunedOn, agreed_origin, toml_value
from fusion.relations import Relations
from fusion.scales import Scales
from fusion.score_maps import CategoryMaps, ScoreMap
from fusion.steps.base import Step

__all__ = [
    "parse_recipe",
    "read_learned",
    "read_recipe",
    "saving",
    "step_from_options",
    "write_learned",
    "write_recipe",
]

_DEPTH = 16


def read_recipe(path: str | os.PathLike[str]) -> Recipe:
    """Read a recipe from a TOML file.

    `weights`, `maps`, `relations`, `categories` and `scales` may name another TOML file, beside the recipe, that holds
    them, and `hierarchy` with `class_descriptions` the files of a class tree instead of `parents`; unless the recipe
    says otherwise, it is then tuned on what the first of them was learned on.

    Raises:
        InputError: If it cannot be read; unknown keys are named with a suggestion.
    """
    place = Path(path)
    try:
        text = place.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(place, f"expected a recipe in TOML, but it cannot be read ({error})") from error
    return parse_recipe(text, place)


def write_recipe(recipe: Recipe, path: str | os.PathLike[str]) -> None:
    """Write a recipe in its canonical form, atomically."""
    with saving(recipe, path):
        pass


@contextmanager
def saving(recipe: Recipe, path: str | os.PathLike[str] | None) -> Iterator[None]:
    """Write a recipe whose file is in place when the block ends well, and not there at all otherwise.

    Args:
        recipe: The recipe.
        path: Its file; None writes none.

    Raises:
        InputError: If the place cannot be written to; before the block.
    """
    if path is None:
        yield
        return
    with replacing(path) as temporary:
        temporary.write_text(recipe.to_toml(), encoding="utf-8")
        yield


def read_learned(path: str | os.PathLike[str], key: str) -> tuple[Any, TunedOn | None]:
    """Read what `quorum learn` wrote: a TOML file with a table [weights], [maps] or [relations].

    Returns:
        The table, and the data it was learned on where the file says so.

    Raises:
        InputError: If the file cannot be read or has no such table.
    """
    place = Path(path)
    try:
        text = place.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(place, f"expected a TOML file with a table [{key}] ({error})") from error
    document = _parse(text, place, f"a TOML file with a table [{key}]")
    if key not in document:
        raise InputError(place, f"expected a table [{key}], got {', '.join(document) or 'an empty file'}")
    if document[key] == {} and key in ("weights", "maps"):
        raise InputError(place, f"its table [{key}] is empty", "Learn it again")
    tuned_on = document.get("tuned_on")
    return document[key], None if tuned_on is None else _build(TunedOn, tuned_on, f"{place}, tuned_on")


def write_learned(
    path: str | os.PathLike[str],
    key: str,
    table: Mapping[str, Any] | Relations | Scales,
    tuned_on: TunedOn,
    **more: Mapping[str, Any],
) -> None:
    """Write what was learned as a TOML file, atomically; `more` are further tables beside the one called `key`."""
    document = {"tuned_on": tuned_on.to_dict()}
    document |= {name: toml_value(entry) for name, entry in {key: table, **more}.items()}
    with replacing(path) as temporary:
        temporary.write_text(tomli_w.dumps(document, multiline_strings=True), encoding="utf-8")


def parse_recipe(text: str, where: str | os.PathLike[str] = "recipe") -> Recipe:
    """Read a recipe from TOML text.

    Raises:
        InputError: If the text is not TOML, a key or step is unknown, a parameter is out of range, a
            node takes one that is not there or itself, or there is no node "output".
    """
    document = _parse(text, where, "TOML")
    _known(document, ("recipe", "tuned_on", "nodes"), where)
    version = document.get("recipe")
    if version != FORMAT or isinstance(version, bool):
        raise InputError(where, f"expected `recipe = {FORMAT}` at the top, got {shown(version)}")
    nodes = document.get("nodes")
    if not isinstance(nodes, dict) or OUTPUT not in nodes:
        raise InputError(where, f"expected a node [nodes.{OUTPUT}], whose answer is the result")
    learned: dict[str, TunedOn | None] = {}
    with in_python():  # as the file names them
        parsed = {
            name: _node(table, f"{os.fspath(where)}, node {name!r}", where, learned) for name, table in nodes.items()
        }
    tuned_on = document.get("tuned_on")
    if tuned_on is not None:
        tuned_on = _build(TunedOn, tuned_on, f"{os.fspath(where)}, tuned_on")
    else:
        tuned_on = agreed_origin(learned)
    return Recipe(_in_order(parsed, where), tuned_on)


def step_from_options(name: str, options: Mapping[str, Any], where: object = "recipe") -> Step:
    """Make a step from its name and parameters.

    Raises:
        InputError: If the step or a parameter is unknown, with a suggestion; or a value is not allowed.
    """
    if name not in STEPS:
        raise InputError(where, f"step {name!r} is unknown{_suggest(name, STEPS)}", f"The steps are {', '.join(STEPS)}")
    values = dict(options)
    if name == "calibrate" and isinstance(values.get("maps"), Mapping):
        values["maps"] = {
            member: _score_maps(entry, f"{where}, maps.{member}") for member, entry in values["maps"].items()
        }
    if name in ("reweight", "select_experts") and isinstance(values.get("weights"), Mapping):
        values["weights"] = {
            member: _by_category(entry, f"{where}, weights.{member}") for member, entry in values["weights"].items()
        }
    if isinstance(values.get("relations"), Mapping):
        values["relations"] = Relations.from_dict(values["relations"], f"{where}, relations")
    if name == "expand_hierarchy" and "parents" in values:
        values["parents"] = _by_category(values["parents"], f"{where}, parents")
    if name == "merge_scales" and isinstance(values.get("scales"), Mapping):
        scales = dict(values["scales"])
        scales["boost"] = _by_category(scales.get("boost", {}), f"{where}, scales.boost")
        values["scales"] = _build(Scales, scales, f"{where}, scales")
    step: Step = _build(STEPS[name], values, where)
    return step


def _parse(text: str, where: object, expected: str) -> dict[str, Any]:
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


def _node(table: object, where: str, file: str | os.PathLike[str], learned: dict[str, TunedOn | None]) -> Node:
    """Read a node; what the files that it names were learned on is added to `learned`."""
    if not isinstance(table, dict) or not isinstance(table.get("step"), str):
        raise InputError(where, 'expected a table with `step = "..."` and `inputs = [...]`')
    options = dict(table)
    step = options.pop("step")
    inputs = options.pop("inputs", None)
    if not isinstance(inputs, list) or not inputs or not all(isinstance(source, str) for source in inputs):
        raise InputError(where, f'expected inputs = ["member or node", ...], got {shown(inputs)}')
    for key in ("weights", "maps", "relations", "categories", "scales"):
        if isinstance(options.get(key), str):
            named = str(Path(file).parent / options[key])
            options[key], learned[named] = read_learned(named, key)
    if step == "expand_hierarchy" and isinstance(options.get("hierarchy"), str):
        folder = Path(file).parent
        if not isinstance(options.get("class_descriptions"), str):
            raise InputError(
                where, "hierarchy needs the class descriptions as well", 'Add `class_descriptions = "..."`'
            )
        options["parents"] = read_parents(folder / options.pop("hierarchy"), folder / options.pop("class_descriptions"))
    return Node(step_from_options(step, options, where), tuple(inputs))


def _in_order(nodes: Mapping[str, Node], where: object) -> dict[str, Node]:
    """Sort nodes so that each stands behind those it takes, and keep only what the output needs."""
    ordered: dict[str, Node] = {}
    under_way = {OUTPUT: iter(nodes[OUTPUT].inputs)}  # the way down to where we are, not recursive: chains may be long
    while under_way:
        name = next(reversed(under_way))
        source = next(under_way[name], None)
        if source is None:
            del under_way[name]
            ordered[name] = nodes[name]
        elif source in under_way:
            names = list(under_way)
            circle = [*names[names.index(source) :], source]
            told = circle if len(circle) <= 10 else [*circle[:5], "...", *circle[-5:]]
            raise InputError(where, f"the nodes go in a circle: {' -> '.join(told)}")
        elif source in nodes and source not in ordered:
            under_way[source] = iter(nodes[source].inputs)
    unused = sorted(set(nodes) - set(ordered))
    if unused:
        raise InputError(where, f"node {unused[0]!r} is taken by no other node and is not the output", "Remove it")
    return ordered


def _by_category(entry: object, where: str) -> Any:
    if not isinstance(entry, Mapping):
        return entry
    try:
        return {int(category): weight for category, weight in entry.items()}
    except ValueError as error:
        raise InputError(where, f"expected category ids as keys ({error})") from error


def _score_maps(entry: object, where: str) -> Any:
    """Make a member's calibration: one map, or one per category beside the pooled one."""
    if isinstance(entry, (ScoreMap, CategoryMaps)):
        return entry
    if not isinstance(entry, Mapping) or "pooled" not in entry:
        return _build(ScoreMap, entry, where)
    values = dict(entry)
    values["pooled"] = _build(ScoreMap, entry["pooled"], f"{where}.pooled")
    if isinstance(values.get("category"), Mapping):
        values["category"] = {
            category: one if isinstance(one, ScoreMap) else _build(ScoreMap, one, f"{where}.category.{category}")
            for category, one in _by_category(values["category"], f"{where}.category").items()
        }
    return _build(CategoryMaps, values, where)


def _build(kind: type[Any], values: object, where: object) -> Any:
    """Make a dataclass from a mapping; wrong keys and types are named."""
    fields = {field.name: field for field in dataclasses.fields(kind)}
    if not isinstance(values, Mapping):
        raise InputError(where, f"expected a table with {', '.join(fields)}, got {shown(values)}")
    _known(values, tuple(fields), where)
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


def _known(table: Mapping[str, Any], keys: Sequence[str], where: object) -> None:
    for key in table:
        if key not in keys:
            raise InputError(
                where, f"key {key!r} is unknown{_suggest(key, keys)}", f"The keys are {', '.join(keys) or '(none)'}"
            )


def _suggest(word: str, words: Sequence[str] | Mapping[str, Any]) -> str:
    close = difflib.get_close_matches(word, list(words), 1)
    return f"; did you mean {close[0]!r}?" if close else ""
