"""Recipes: a written-down tree of fusion steps that can be replayed on other tables."""

import dataclasses
import difflib
import os
import tomllib
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomli_w

from fusion.atomic import replacing
from fusion.calibrate import Calibrate, ScoreMap
from fusion.concat import Concat
from fusion.consensus import Consensus
from fusion.errors import InputError
from fusion.nms import Nms
from fusion.nmw import Nmw
from fusion.pool import Step, apply
from fusion.prob_fusion import ProbFusion
from fusion.reweight import Reweight
from fusion.soft_nms import AdjNms, NmsThenSoft, SoftNms
from fusion.table import DetectionTable
from fusion.vote import Vote
from fusion.wbf import Wbf

__all__ = [
    "STEPS",
    "Node",
    "Recipe",
    "TunedOn",
    "parse_recipe",
    "read_learned",
    "read_recipe",
    "step_from_options",
    "write_learned",
    "write_recipe",
]

STEPS: Mapping[str, type[Any]] = {
    "adj_nms": AdjNms,
    "calibrate": Calibrate,
    "concat": Concat,
    "consensus": Consensus,
    "nms": Nms,
    "nms_then_soft": NmsThenSoft,
    "nmw": Nmw,
    "prob_fusion": ProbFusion,
    "reweight": Reweight,
    "soft_nms": SoftNms,
    "vote": Vote,
    "wbf": Wbf,
}
_NAMES = {step: name for name, step in STEPS.items()}
_FORMAT = 1
_ALL = "*"
_OUTPUT = "output"


@dataclass(frozen=True, slots=True, kw_only=True)
class TunedOn:
    """The data a recipe's numbers were learned on.

    Attributes:
        fingerprint: Of the ground truth, `GroundTruth.fingerprint`.
        images: Number of its images.
        note: In words.
    """

    fingerprint: str
    images: int
    note: str = ""


@dataclass(frozen=True, slots=True)
class Node:
    """One inner node: a step and the names of the members and nodes it takes; "*" stands for all tables."""

    step: Step
    inputs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Recipe:
    """A tree of steps. Leaves are members, the node called "output" is the answer.

    Attributes:
        nodes: Name -> node, each behind the nodes it takes.
        tuned_on: The data its numbers were learned on; None when they were not learned.
    """

    nodes: Mapping[str, Node]
    tuned_on: TunedOn | None = None

    @classmethod
    def chain(cls, steps: Sequence[Step], tuned_on: TunedOn | None = None) -> "Recipe":
        """Make a recipe that runs steps one after the other, the first on all tables."""
        names = [f"step{number}" for number in range(1, len(steps))] + [_OUTPUT]
        inputs = [_ALL, *names[:-1]]
        nodes = {name: Node(step, (source,)) for name, step, source in zip(names, steps, inputs, strict=True)}
        return cls(nodes, tuned_on)

    def fuse(self, tables: Sequence[DetectionTable], progress: Callable[[str], None] | None = None) -> DetectionTable:
        """Run the recipe.

        Args:
            tables: The members; each is known by its metadata's name.
            progress: Called with the name of each node before it runs.

        Returns:
            The answer of the node "output".

        Raises:
            InputError: If a member that the recipe names was not given.
        """
        members = {table.metadata.member or f"table{number}": table for number, table in enumerate(tables)}
        shadowed = sorted(set(members) & set(self.nodes))
        if shadowed:
            raise InputError("recipe", f"node {shadowed[0]!r} has the name of a table", "Rename the node")
        done: dict[str, DetectionTable] = {}
        uses = [name for node in self.nodes.values() for name in node.inputs]
        for name, node in self.nodes.items():
            if progress is not None:
                progress(name)
            inputs: list[DetectionTable] = []
            for source in node.inputs:
                if source == _ALL:
                    inputs.extend(tables)
                elif source in done:
                    inputs.append(done[source])
                elif source in members:
                    inputs.append(members[source])
                else:
                    raise InputError(
                        f"recipe, node {name!r}",
                        f"takes {source!r}, but the tables given are {', '.join(map(repr, members))}",
                        "Give that member's table, or rename it with --member at import",
                    )
            for source in node.inputs:
                uses.remove(source)
            done[name] = apply(node.step, inputs).with_metadata(member=name)
            # a node's table is let go with its last reader
            done = {key: table for key, table in done.items() if key in uses or key == name}
        return done[_OUTPUT].with_metadata(member=None)

    def to_toml(self) -> str:
        """Write the recipe in its one canonical form, with every parameter spelled out."""
        document: dict[str, Any] = {"recipe": _FORMAT}
        if self.tuned_on is not None:
            document["tuned_on"] = dataclasses.asdict(self.tuned_on)
        document["nodes"] = {
            name: {"step": _NAMES[type(node.step)], "inputs": list(node.inputs), **_options(node.step)}
            for name, node in self.nodes.items()
        }
        return tomli_w.dumps(document)


def read_recipe(path: str | os.PathLike[str]) -> Recipe:
    """Read a recipe from a TOML file.

    `weights` and `maps` may name another TOML file, beside the recipe, that holds them; unless the recipe
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
    with replacing(path) as temporary:
        temporary.write_text(recipe.to_toml(), encoding="utf-8")


def read_learned(path: str | os.PathLike[str], key: str) -> tuple[Any, TunedOn | None]:
    """Read what `quorum learn` wrote: a TOML file with a table [weights] or [maps].

    Returns:
        The table, and the data it was learned on where the file says so.

    Raises:
        InputError: If the file cannot be read or has no such table.
    """
    place = Path(path)
    try:
        document = tomllib.loads(place.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(place, f"expected a TOML file with a table [{key}] ({error})") from error
    if key not in document:
        raise InputError(place, f"expected a table [{key}], got {', '.join(document) or 'an empty file'}")
    tuned_on = document.get("tuned_on")
    return document[key], None if tuned_on is None else _build(TunedOn, tuned_on, f"{place}, tuned_on")


def write_learned(path: str | os.PathLike[str], key: str, table: Mapping[str, Any], tuned_on: TunedOn) -> None:
    """Write learned weights or maps as a TOML file, atomically."""
    document = {"tuned_on": dataclasses.asdict(tuned_on), key: _toml(table)}
    with replacing(path) as temporary:
        temporary.write_text(tomli_w.dumps(document), encoding="utf-8")


def parse_recipe(text: str, where: str | os.PathLike[str] = "recipe") -> Recipe:
    """Read a recipe from TOML text.

    Raises:
        InputError: If the text is not TOML, a key or step is unknown, a parameter is out of range, a
            node takes one that is not there or itself, or there is no node "output".
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError(where, f"expected TOML ({error})") from error
    _known(document, ("recipe", "tuned_on", "nodes"), where)
    if document.get("recipe") != _FORMAT:
        raise InputError(where, f"expected `recipe = {_FORMAT}` at the top, got {document.get('recipe')!r}")
    nodes = document.get("nodes")
    if not isinstance(nodes, dict) or _OUTPUT not in nodes:
        raise InputError(where, f"expected a node [nodes.{_OUTPUT}], whose answer is the result")
    learned: list[TunedOn] = []
    parsed = {name: _node(table, f"{os.fspath(where)}, node {name!r}", where, learned) for name, table in nodes.items()}
    tuned_on = document.get("tuned_on")
    if tuned_on is not None:
        tuned_on = _build(TunedOn, tuned_on, f"{os.fspath(where)}, tuned_on")
    elif learned:
        tuned_on = learned[0]
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
            member: entry if isinstance(entry, ScoreMap) else _build(ScoreMap, entry, f"{where}, maps.{member}")
            for member, entry in values["maps"].items()
        }
    if name == "reweight" and isinstance(values.get("weights"), Mapping):
        values["weights"] = {
            member: _by_category(entry, f"{where}, weights.{member}") for member, entry in values["weights"].items()
        }
    step: Step = _build(STEPS[name], values, where)
    return step


def _node(table: object, where: str, file: str | os.PathLike[str], learned: list[TunedOn]) -> Node:
    """Read a node; what the files that it names were learned on is added to `learned`."""
    if not isinstance(table, dict) or not isinstance(table.get("step"), str):
        raise InputError(where, 'expected a table with `step = "..."` and `inputs = [...]`')
    options = dict(table)
    step = options.pop("step")
    inputs = options.pop("inputs", None)
    if not isinstance(inputs, list) or not inputs or not all(isinstance(source, str) for source in inputs):
        raise InputError(where, f'expected inputs = ["member or node", ...], got {inputs!r}')
    for key in ("weights", "maps"):
        if isinstance(options.get(key), str):
            options[key], tuned_on = read_learned(Path(file).parent / options[key], key)
            learned += [tuned_on] if tuned_on is not None else []
    return Node(step_from_options(step, options, where), tuple(inputs))


def _in_order(nodes: Mapping[str, Node], where: object) -> dict[str, Node]:
    """Sort nodes so that each stands behind those it takes, and keep only what the output needs."""
    ordered: dict[str, Node] = {}
    under_way: list[str] = []

    def visit(name: str) -> None:
        if name in ordered or name not in nodes:
            return
        if name in under_way:
            raise InputError(where, f"the nodes go in a circle: {' -> '.join([*under_way, name])}")
        under_way.append(name)
        for source in nodes[name].inputs:
            visit(source)
        under_way.pop()
        ordered[name] = nodes[name]

    visit(_OUTPUT)
    unused = sorted(set(nodes) - set(ordered))
    if unused:
        raise InputError(where, f"node {unused[0]!r} is taken by no other node and is not the output", "Remove it")
    return ordered


def _options(step: Step) -> dict[str, Any]:
    """The parameters of a step as TOML values; None, which TOML does not have, is left out."""
    values = {field.name: getattr(step, field.name) for field in dataclasses.fields(step)}  # type: ignore[arg-type]
    return {name: _toml(value) for name, value in values.items() if value is not None}


def _toml(value: Any) -> Any:
    if isinstance(value, ScoreMap):
        return {"kind": value.kind, "score": list(map(float, value.score)), "value": list(map(float, value.value))}
    if isinstance(value, Mapping):
        return {str(key): _toml(entry) for key, entry in value.items()}
    return list(value) if isinstance(value, tuple) else value


def _by_category(entry: object, where: str) -> Any:
    if not isinstance(entry, Mapping):
        return entry
    try:
        return {int(category): weight for category, weight in entry.items()}
    except ValueError as error:
        raise InputError(where, f"expected category ids as keys ({error})") from error


def _build(kind: type[Any], values: object, where: object) -> Any:
    """Make a dataclass from a mapping; wrong keys and types are named."""
    fields = {field.name: field for field in dataclasses.fields(kind)}
    if not isinstance(values, Mapping):
        raise InputError(where, f"expected a table with {', '.join(fields)}, got {values!r}")
    _known(values, tuple(fields), where)
    hints = typing.get_type_hints(kind)
    for name, value in values.items():
        if not _fits(value, hints[name]):
            raise InputError(where, f"{name} = {value!r} is of the wrong type, expected {_words(hints[name])}")
    missing = [name for name, field in fields.items() if name not in values and field.default is dataclasses.MISSING]
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
