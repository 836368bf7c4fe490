"""What a search varies: a tree, a weight per member, an operator per inner node; and the recipe it stands for."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any, TypeAlias

import msgspec

from fusion.learned import TunedOn
from fusion.recipe import OUTPUT, Node, Recipe
from fusion.score_models import ScoreModel
from fusion.steps.adj_nms import AdjNms
from fusion.steps.base import Step
from fusion.steps.calibrate import Calibrate
from fusion.steps.concat import Concat
from fusion.steps.correct_boxes import CorrectBoxes
from fusion.steps.dropout import Dropout
from fusion.steps.nms import Nms
from fusion.steps.nmw import Nmw
from fusion.steps.rescore import Rescore
from fusion.steps.reweight import Reweight
from fusion.steps.soft_nms import SoftNms
from fusion.steps.support import Support
from fusion.steps.vote import Vote
from fusion.steps.wbf import Wbf
from search.tree import Tree, key, leaves, node, without

__all__ = [
    "FACTORS",
    "IOUS",
    "KINDS",
    "PARTS",
    "WEIGHTS",
    "Genome",
    "Operator",
    "Sides",
    "blended",
    "recipe_of",
    "used_members",
    "with_sides",
]

Sides: TypeAlias = "tuple[float, ...]"
"""Weights of the left, upper, right and lower side of a member's boxes in means."""

KINDS = ("concat", "nms", "soft_nms", "adj_nms", "vote", "wbf", "nmw")
PARTS = ("both", "first_scores", "first_boxes", "second_scores", "second_boxes")
# quantised: what two images decide is not worth a digit, and equal trials need not be run again
IOUS = tuple(round(0.3 + 0.05 * step, 2) for step in range(13))
FACTORS = tuple(step / 12 for step in range(2, 13))
WEIGHTS = tuple(step / 12 for step in range(13))
_AVERAGES = (Vote, Wbf, Nmw)
# what the nodes of a recipe that do the first steps of an inner node are called
_SUFFIXES: Mapping[type[Any], str] = {Dropout: "-part", Support: "-support"}
# and those that do the steps of a leaf
_PREPARED: Mapping[type[Any], str] = {CorrectBoxes: "corrected", Calibrate: "calibrated"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Operator:
    """What an inner node does with its two children (mmfruit-openimages2019, sec. 4.2).

    Attributes:
        kind: How their boxes become one list: "concat" keeps all, so that a node above decides.
        iou: Threshold of that, and of the two below; soft_nms does without.
        factor: Factor on the scores of boxes that only one child has (`fusion.support`).
        part: Element dropout (`fusion.dropout`): "first_scores" uses of the first child only the scores.
    """

    kind: str = "vote"
    iou: float = 0.5
    factor: float = 1.0
    part: str = "both"

    @property
    def step(self) -> Step:
        """The step of `kind`."""
        if self.kind == "soft_nms":
            return SoftNms()
        if self.kind == "concat":
            return Concat()
        kinds: Mapping[str, Any] = {"nms": Nms, "adj_nms": AdjNms, "vote": Vote, "wbf": Wbf, "nmw": Nmw}
        step: Step = kinds[self.kind](iou=self.iou)
        return step

    def fuse(self, run: Callable[[Step, Sequence[Any]], Any], first: Any, second: Any) -> Any:
        """Fuse two children.

        Args:
            run: Runs one step on some inputs: the children, or what it has answered with before.
            first: The first child.
            second: The second.

        Returns:
            The answer to the last step.
        """
        if self.part != "both":
            side, _, part = self.part.partition("_")
            if side == "first":
                first = run(Dropout(part=part), (first, second))
            else:
                second = run(Dropout(part=part), (second, first))
        inputs: tuple[Any, ...] = (first, second)
        if self.factor < 1.0:
            inputs = (run(Support(factor=self.factor, iou=self.iou), inputs),)
        return run(self.step, inputs)


@dataclass(frozen=True, slots=True)
class Genome:
    """One candidate.

    Attributes:
        tree: Over the members, canonical; leaves count from 0 in the order of the members.
        weights: Factor on the scores of each member, in [0, 1]; a member of weight 0 is not used.
        operators: Of the inner node with key j at place j - 1.
    """

    tree: Tree
    weights: tuple[float, ...]
    operators: tuple[Operator, ...]

    @property
    def pruned(self) -> Tree | None:
        """The tree without the members of weight 0; None where none is left."""
        return without(self.tree, [leaf for leaf, weight in enumerate(self.weights) if weight == 0])

    def canonical(self) -> Genome:
        """Return the genome with everything that has no effect at its default; equal candidates become equal.

        Members of weight 0 are hung above the rest. Where one leaves a node with a single child, that child takes over
        the node's operator if it only pools: a pool keeps the operator above it when a member leaves.
        """
        pool = Operator(kind="concat")
        dropped = [leaf for leaf, weight in enumerate(self.weights) if weight == 0]
        operators = [pool] * len(self.operators)

        def settle(tree: Tree, above: Operator) -> None:
            if isinstance(tree, int):
                return
            own = _plain(self.operators[key(tree) - 1])
            own = above if own == pool else own
            first, second = (without(child, dropped) for child in tree)
            if first is None or second is None:
                settle(tree[1] if first is None else tree[0], own)
                return
            operators[max(min(leaves(first)), min(leaves(second))) - 1] = own
            for child in tree:
                settle(child, pool)

        settle(self.tree, pool)
        left = self.pruned
        whole = [*([] if left is None else [left]), *dropped]
        return Genome(reduce(node, whole), self.weights, tuple(operators))

    def encode(self) -> bytes:
        """Return the genome as JSON."""
        return msgspec.json.encode(self)

    @classmethod
    def decode(cls, text: bytes | str) -> Genome:
        """Read a genome from JSON.

        Raises:
            msgspec.ValidationError: If it is none.
        """
        raw = msgspec.json.decode(text)
        operators = tuple(msgspec.convert(operator, Operator) for operator in raw["operators"])
        return cls(_tupled(raw["tree"]), tuple(map(float, raw["weights"])), operators)


def recipe_of(
    genome: Genome,
    members: Sequence[str],
    *,
    leaf_steps: Mapping[str, Sequence[Step]] | None = None,
    box_weights: Mapping[str, Sides] | None = None,
    model: ScoreModel | None = None,
    tuned_on: TunedOn | None = None,
) -> Recipe:
    """Write a genome as a recipe, to be replayed on other tables of the same members.

    Args:
        genome: Canonical, with at least one member of weight above 0.
        members: Their names, in the order of the leaves.
        leaf_steps: Steps that each member goes through first, such as its calibration.
        box_weights: Of each member's sides, for the steps that average boxes; see `with_sides`.
        model: Scores what comes out, by all members.
        tuned_on: The data of the search.
    """
    tree = genome.pruned
    if tree is None:
        raise ValueError("the genome uses no member")
    nodes: dict[str, Node] = {}
    voices = {} if box_weights is None else {name: _Voices({name: box_weights[name]}, False) for name in members}

    def add(name: str, step: Step, *inputs: str) -> str:
        if voices:
            heard = [voices[source] for source in inputs]
            step = with_sides(step, {voice: sides for one in heard for voice, sides in one.sides.items()})
            voices[name] = _heard_after(name, step, heard)
        nodes[name] = Node(step, inputs)
        return name

    def prepared(number: int) -> str:
        name = members[number]
        for place, step in enumerate((leaf_steps or {}).get(name, ())):
            node = f"leaf{number}-{_PREPARED.get(type(step), f'step{place}')}"
            name = node if node in nodes else add(node, step, name)
        return name

    def leaf(number: int) -> str:
        name, member = prepared(number), members[number]
        if genome.weights[number] != 1.0:
            name = add(f"leaf{number}-weighted", Reweight(weights={member: genome.weights[number]}), name)
        return name

    def build(part: Tree) -> str:
        if isinstance(part, int):
            return leaf(part)
        number = key(part)

        def run(step: Step, inputs: Sequence[str]) -> str:
            return add(f"node{number}{_SUFFIXES.get(type(step), '')}", step, *inputs)

        first, second = map(build, part)
        name: str = genome.operators[number - 1].fuse(run, first, second)
        return name

    top = build(tree)
    if model is not None:
        # all members have a say, in the order of the model, those too that are not in the tree
        top = add("learned-scores", Rescore(model=model), top, *map(prepared, range(len(members))))
    if top in nodes:
        nodes[OUTPUT] = nodes.pop(top)
    else:
        nodes[OUTPUT] = Node(Concat(), (top,))
    return Recipe(nodes, tuned_on)


def with_sides(step: Step, sides: Mapping[str, Sides]) -> Step:
    """Return a step with weights of the sides of its inputs' members, if it is one that averages boxes.

    Args:
        step: The step.
        sides: Of each member that its inputs bring. A fusion that made new boxes is a member with `blended` weights.
    """
    return replace(step, box_weights=dict(sides)) if isinstance(step, _AVERAGES) else step


def blended(sides: Iterable[Sequence[float]]) -> Sides:
    """Return the weights of boxes that were averaged from those of some members: the mean, in whatever order."""
    columns = zip(*sides, strict=True)
    return tuple(math.fsum(column) / len(column) for column in columns)


@dataclass(frozen=True, slots=True)
class _Voices:
    """Whom a table's rows are of: weights of each, and whether a column of the table names them, or its name alone."""

    sides: Mapping[str, Sides]
    column: bool


def _heard_after(name: str, step: Step, inputs: Sequence[_Voices]) -> _Voices:
    """Return the members of the table of a node, as `fusion` names them."""
    if isinstance(step, Dropout):  # what is left is of the first table
        [left, _] = inputs
        return left if left.column else _Voices(dict.fromkeys((name,), *left.sides.values()), False)
    sides = {voice: own for one in inputs for voice, own in one.sides.items()}
    if isinstance(step, _AVERAGES):
        return _Voices({name: blended(sides.values())}, False)
    return _Voices(sides, True)


def _plain(operator: Operator) -> Operator:
    """Return an operator with what it does not look at at the default."""
    if operator.kind in ("soft_nms", "concat") and operator.factor == 1.0:
        operator = replace(operator, iou=Operator().iou)
    return operator


def _tupled(raw: Any) -> Tree:
    return raw if isinstance(raw, int) else (_tupled(raw[0]), _tupled(raw[1]))


def used_members(genome: Genome) -> tuple[int, ...]:
    """Return the members that have a say, by number."""
    tree = genome.pruned
    return () if tree is None else tuple(sorted(leaves(tree)))
