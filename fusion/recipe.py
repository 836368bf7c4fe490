"""Recipes: a written-down tree of fusion steps that can be replayed on other tables."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import tomli_w

from fusion.errors import InputError
from fusion.relations import Relations
from fusion.run import apply, open_session
from fusion.scales import Scales
from fusion.score_maps import CategoryMaps, ScoreMap
from fusion.steps.adj_nms import AdjNms
from fusion.steps.base import Step
from fusion.steps.calibrate import Calibrate
from fusion.steps.concat import Concat
from fusion.steps.consensus import Consensus
from fusion.steps.cooccurrence import Cooccurrence
from fusion.steps.dropout import Dropout
from fusion.steps.expand_hierarchy import ExpandHierarchy
from fusion.steps.mask_nms import MaskNms
from fusion.steps.merge_scales import MergeScales
from fusion.steps.nms import Nms
from fusion.steps.nms_then_soft import NmsThenSoft
from fusion.steps.nmw import Nmw
from fusion.steps.prob_fusion import ProbFusion
from fusion.steps.reweight import Reweight
from fusion.steps.select_experts import SelectExperts
from fusion.steps.select_views import SelectViews
from fusion.steps.soft_nms import SoftNms
from fusion.steps.support import Support
from fusion.steps.surround import Surround
from fusion.steps.vote import Vote
from fusion.steps.vote_masks import VoteMasks
from fusion.steps.wbf import Wbf
from fusion.table import DetectionTable

__all__ = ["ALL", "FORMAT", "OUTPUT", "STEPS", "Node", "Recipe", "TunedOn", "agreed_origin", "toml_value"]

STEPS: Mapping[str, type[Any]] = {
    "adj_nms": AdjNms,
    "calibrate": Calibrate,
    "concat": Concat,
    "consensus": Consensus,
    "cooccurrence": Cooccurrence,
    "dropout": Dropout,
    "expand_hierarchy": ExpandHierarchy,
    "mask_nms": MaskNms,
    "merge_scales": MergeScales,
    "nms": Nms,
    "nms_then_soft": NmsThenSoft,
    "nmw": Nmw,
    "prob_fusion": ProbFusion,
    "reweight": Reweight,
    "select_experts": SelectExperts,
    "select_views": SelectViews,
    "soft_nms": SoftNms,
    "support": Support,
    "surround": Surround,
    "vote": Vote,
    "vote_masks": VoteMasks,
    "wbf": Wbf,
}
_NAMES = {step: name for name, step in STEPS.items()}
FORMAT = 1
ALL = "*"
OUTPUT = "output"


def agreed_origin(learned: Mapping[str, "TunedOn | None"]) -> "TunedOn | None":
    """Return what several learned things were learned on, the first of them; None where none says.

    Args:
        learned: What to call each -> what it was learned on.

    Raises:
        InputError: If two were learned on other categories.
    """
    known = {name: origin for name, origin in learned.items() if origin is not None}
    for first, one in known.items():
        for name, other in known.items():
            other.check(name, one.categories, one.category_names, f"those of {first}")
    return next(iter(known.values()), None)


_TUNED_ON = ("fingerprint", "images", "note")


@dataclass(frozen=True, slots=True, kw_only=True)
class TunedOn:
    """The data a recipe's numbers were learned on.

    Attributes:
        fingerprint: Of the ground truth, `GroundTruth.fingerprint`.
        images: Number of its images.
        note: In words.
        categories: Fingerprint of its categories; "" where it is not known.
        category_names: Some of them: id as text -> name.
    """

    fingerprint: str
    images: int
    note: str = ""
    categories: str = ""
    category_names: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return what TOML stores: what is not known is left out."""
        return {name: value for name, value in dataclasses.asdict(self).items() if value or name in _TUNED_ON}

    def check(self, where: str, categories: str | None, names: Mapping[str, str], than: str = "the tables") -> None:
        """Require that something else is of the same categories, as far as is known.

        Args:
            where: What was learned, for messages.
            categories: Fingerprint of the other's categories.
            names: Some of these: id as text -> name.
            than: What the other is.

        Raises:
            InputError: If they differ.
        """
        if not self.categories or not categories or self.categories == categories:
            return
        differ = [key for key, name in self.category_names.items() if names.get(key) and name != names[key]]
        said = "".join(
            f": category {key} is {self.category_names[key]!r} there, not {names[key]!r}" for key in differ[:1]
        )
        problem = f"was learned on other categories than {than} have{said} ({self.note or 'no note'})"
        raise InputError(where, problem, "Learn it on ground truth of the same data set")


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
            name: {"step": _NAMES[type(node.step)], "inputs": list(node.inputs), **_options(node.step)}
            for name, node in self.nodes.items()
        }
        return tomli_w.dumps(document, multiline_strings=True)


def _options(step: Step) -> dict[str, Any]:
    """The parameters of a step as TOML values; None, which TOML does not have, is left out."""
    values = {field.name: getattr(step, field.name) for field in dataclasses.fields(step)}  # type: ignore[arg-type]
    return {name: toml_value(value) for name, value in values.items() if value is not None}


def toml_value(value: Any) -> Any:
    """Turn a parameter into what TOML knows: mappings with text keys, lists, numbers, texts."""
    if isinstance(value, ScoreMap):
        return {"kind": value.kind, "score": list(map(float, value.score)), "value": list(map(float, value.value))}
    if isinstance(value, Relations):
        return value.to_dict()
    if isinstance(value, CategoryMaps):
        return {"pooled": toml_value(value.pooled), "category": toml_value(value.category)}
    if isinstance(value, Scales):
        return {field.name: toml_value(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): toml_value(entry) for key, entry in value.items()}
    return list(value) if isinstance(value, tuple) else value
