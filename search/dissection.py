"""A candidate taken apart: its nodes, and what it loses where something of it is changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from search.genome import Genome, Operator, used_members
from search.problem import Problem, Side
from search.stack import measured_on
from search.tree import clades, depths, key, without

__all__ = ["Change", "NodeAp", "nodes_of", "with_defaults", "without_each"]


@dataclass(frozen=True)
class NodeAp:
    """One node of the answer's tree: the members below it, its operator and its AP on the verify split."""

    members: tuple[int, ...]
    operator: Operator | None
    depth: int
    ap: float


@dataclass(frozen=True)
class Change:
    """What the answer is worth on the verify split with one thing changed, and what it loses by that."""

    what: str
    ap: float
    loss: float


def nodes_of(problem: Problem, side: Side, genome: Genome) -> list[NodeAp]:
    """Return the nodes of a tree, leaves first, with their AP on a split."""
    tree = genome.pruned
    if tree is None:
        return []
    nodes = []
    depth = depths(tree)
    for leaf in depth:
        ap = side.prepared.evaluate(side.tables[leaf]).AP
        nodes.append(NodeAp((leaf,), None, depth[leaf], ap))
    for pair in clades(tree):
        below = tuple(depths(pair))
        weights = tuple(w if leaf in below else 0.0 for leaf, w in enumerate(genome.weights))
        ap = measured_on(problem, side, replace(genome, weights=weights).canonical()).AP
        above = min(depth[leaf] - own for leaf, own in depths(pair).items())
        nodes.append(NodeAp(below, genome.operators[key(pair) - 1], above, ap))
    return nodes


def without_each(problem: Problem, side: Side, genome: Genome, full: float) -> list[Change]:
    """Leave out one member at a time; `full` is the AP with all."""
    changes = []
    for leaf in used_members(genome):
        if genome.pruned is None or without(genome.pruned, (leaf,)) is None:
            continue
        weights = tuple(0.0 if other == leaf else w for other, w in enumerate(genome.weights))
        ap = measured_on(problem, side, replace(genome, weights=weights).canonical()).AP
        changes.append(Change(problem.names[leaf], ap, full - ap))
    return changes


def with_defaults(problem: Problem, side: Side, genome: Genome, full: float) -> list[Change]:
    """Set one gene at a time to its default; `full` is the AP as it is."""
    changed: list[tuple[str, Genome]] = []
    for leaf in used_members(genome):
        if genome.weights[leaf] != 1:
            weights: Sequence[float] = [1.0 if other == leaf else w for other, w in enumerate(genome.weights)]
            changed.append((f"weight of {problem.names[leaf]}", replace(genome, weights=tuple(weights))))
    default = Operator()
    used = [] if genome.pruned is None else [key(pair) for pair in clades(genome.pruned)]
    for number in used:
        operator = genome.operators[number - 1]
        for field in ("kind", "iou", "factor", "part"):
            if getattr(operator, field) != getattr(default, field):
                operators = list(genome.operators)
                operators[number - 1] = replace(operator, **{field: getattr(default, field)})
                changed.append((f"{field} of node {number}", replace(genome, operators=tuple(operators))))
    return [Change(what, ap := measured_on(problem, side, other.canonical()).AP, full - ap) for what, other in changed]
