"""Recipes: a written-down tree of fusion steps that can be replayed on other tables."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import tomli_w

from fusion.errors import InputError
from fusion.learned import TunedOn
from fusion.printed_table import PrintedTable, notebook_html
from fusion.run import apply, open_session
from fusion.steps import name_of
from fusion.steps.base import Step
from fusion.table import DetectionTable
from fusion.toml_values import toml_value

__all__ = ["ALL", "FORMAT", "OUTPUT", "Node", "Recipe"]

FORMAT = 1
ALL = "*"
OUTPUT = "output"
_WIDEST = 60  # characters of a parameter in a notebook


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

    def __repr__(self) -> str:
        taken = dict.fromkeys(source for node in self.nodes.values() for source in node.inputs)
        members = [source for source in taken if source not in self.nodes and source != ALL]
        of = f" of {', '.join(members[:6])}{', ...' if len(members) > 6 else ''}" if members else ""
        steps = ", ".join(dict.fromkeys(name_of(node.step) for node in self.nodes.values()))
        return f"Recipe({len(self.nodes)} node{'s' if len(self.nodes) != 1 else ''}{of}: {steps})"

    def _repr_html_(self) -> str:
        return notebook_html(self, self.to_table())

    def to_table(self) -> PrintedTable:
        """Return the nodes as a table to print, long parameters cut."""
        rows = []
        for name, node in self.nodes.items():
            options = ((key, str(value)) for key, value in _options(node.step).items())
            told = [f"{key} {text if len(text) <= _WIDEST else text[:_WIDEST] + ' ...'}" for key, text in options]
            rows.append((name, name_of(node.step), ", ".join(node.inputs), "\n".join(told)))
        return PrintedTable.of(("node", "step", "inputs", "parameters"), rows)

    @classmethod
    def chain(cls, steps: Sequence[Step], tuned_on: TunedOn | None = None) -> "Recipe":
        """Make a recipe that runs steps one after the other, the first on all tables."""
        names = [f"step{number}" for number in range(1, len(steps))] + [OUTPUT]
        inputs = [ALL, *names[:-1]]
        nodes = {name: Node(step, (source,)) for name, step, source in zip(names, steps, inputs, strict=True)}
        return cls(nodes, tuned_on)

    def fuse(
        self,
        tables: Sequence[DetectionTable],
        progress: Callable[[str], None] | None = None,
        *,
        device: str = "cpu",
    ) -> DetectionTable:
        """Run the recipe.

        Args:
            tables: The members; each is known by its metadata's name.
            progress: Called with the name of each node before it runs.
            device: "cpu", "cuda", or "auto" for the GPU where there is one.

        Returns:
            The answer of the node "output".

        Raises:
            InputError: If a member that the recipe names was not given, or the device cannot be used.
        """
        self.check_tables(tables)
        session = open_session(device, tables, [node.step for node in self.nodes.values()])
        if session is None:
            table: DetectionTable = self._run(apply, tables, progress)
            return table
        return session.fuse(lambda run, inputs: self._run(run, inputs, progress))

    def check_tables(self, tables: Sequence[DetectionTable]) -> None:
        """Require that the tables are of the categories that the recipe was tuned on; other images are right.

        Raises:
            InputError: If they are of others.
        """
        if self.tuned_on is None:
            return
        for number, table in enumerate(tables):
            said = table.metadata
            names = {str(key): name for key, name, _ in said.category_names.sample} if said.category_names else {}
            self.tuned_on.check(f"recipe, on table {said.member or number}", said.categories, names)

    def _run(
        self, run: Callable[[Step, Any], Any], tables: Sequence[DetectionTable], progress: Callable[[str], None] | None
    ) -> Any:
        """Run all nodes; `run` does one step on tables or on what it answered with before."""
        members = {table.metadata.member or f"table{number}": table for number, table in enumerate(tables)}
        shadowed = sorted(set(members) & set(self.nodes))
        if shadowed:
            raise InputError("recipe", f"node {shadowed[0]!r} has the name of a table", "Rename the node")
        done: dict[str, Any] = {}
        uses = [name for node in self.nodes.values() for name in node.inputs]
        for name, node in self.nodes.items():
            if progress is not None:
                progress(name)
            inputs: list[Any] = []
            for source in node.inputs:
                if source == ALL:
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
            done[name] = run(node.step, inputs).with_metadata(member=name)
            # a node's table is let go with its last reader
            done = {key: table for key, table in done.items() if key in uses or key == name}
        return done[OUTPUT].with_metadata(member=None)

    def to_toml(self) -> str:
        """Write the recipe in its one canonical form, with every parameter spelled out."""
        document: dict[str, Any] = {"recipe": FORMAT}
        if self.tuned_on is not None:
            document["tuned_on"] = self.tuned_on.to_dict()
        document["nodes"] = {
            name: {"step": name_of(node.step), "inputs": list(node.inputs), **_options(node.step)}
            for name, node in self.nodes.items()
        }
        return tomli_w.dumps(document, multiline_strings=True)


def _options(step: Step) -> dict[str, Any]:
    """The parameters of a step as TOML values; None, which TOML does not have, is left out."""
    values = {field.name: getattr(step, field.name) for field in dataclasses.fields(step)}  # type: ignore[arg-type]
    return {name: toml_value(value) for name, value in values.items() if value is not None}
