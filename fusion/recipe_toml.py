"""Recipes as TOML text, with errors that name the fault."""

import os
from collections.abc import Mapping
from pathlib import Path

from fusion.checks import shown
from fusion.errors import InputError, in_python
from fusion.learned import TunedOn, agreed_origin, read_learned
from fusion.named_steps import step_from_options
from fusion.recipe import FORMAT, OUTPUT, Node, Recipe
from fusion.steps import step_class, step_names
from fusion.steps.base import parameters
from fusion.toml_values import build, check_keys, parse_toml

__all__ = ["parse_recipe"]


def parse_recipe(text: str, where: str | os.PathLike[str] = "recipe") -> Recipe:
    """Read a recipe from TOML text.

    Raises:
        InputError: If the text is not TOML, a key or step is unknown, a parameter is out of range, a
            node takes one that is not there or itself, or there is no node "output".
    """
    document = parse_toml(text, where, "TOML")
    check_keys(document, ("recipe", "tuned_on", "nodes"), where)
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
        tuned_on = build(TunedOn, tuned_on, f"{os.fspath(where)}, tuned_on")
    else:
        tuned_on = agreed_origin(learned)
    return Recipe(_in_order(parsed, where), tuned_on)


def _node(table: object, where: str, file: str | os.PathLike[str], learned: dict[str, TunedOn | None]) -> Node:
    """Read a node; what the files that it names were learned on is added to `learned`."""
    if not isinstance(table, dict) or not isinstance(table.get("step"), str):
        raise InputError(where, 'expected a table with `step = "..."` and `inputs = [...]`')
    options = dict(table)
    step = options.pop("step")
    inputs = options.pop("inputs", None)
    if not isinstance(inputs, list) or not inputs or not all(isinstance(source, str) for source in inputs):
        raise InputError(where, f'expected inputs = ["member or node", ...], got {shown(inputs)}')
    folder = Path(file).parent
    for key, about in parameters(step_class(step)).items() if step in step_names() else ():
        named = [name for name in about.files if isinstance(options.get(name), str)]
        if about.learned and isinstance(options.get(key), str):
            path = str(folder / options[key])
            options[key], learned[path] = read_learned(path, about.table or key)
        elif about.read is not None and named:
            for name in about.files:
                if name not in named:
                    problem = f"{named[0]} needs the {name.replace('_', ' ')} as well"
                    raise InputError(where, problem, f'Add `{name} = "..."`')
            options[key] = about.read(*(folder / options.pop(name) for name in about.files))
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
