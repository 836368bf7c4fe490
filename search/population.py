"""Evolution of whole candidates: tree, weights and operators at once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from search.genome import FACTORS, IOUS, KINDS, PARTS, WEIGHTS, Genome, Operator
from search.tree import Tree, clades, leaves, node, regraft, swap, without

__all__ = ["Population", "mutated"]

_SIZE = 24
_TRIES = 20

# What a mutation touches and how often; the shares are those of `specs/search.md`, section 4.
_MOVES = {"tree": 0.30, "weight": 0.20, "kind": 0.15, "iou": 0.15, "factor": 0.12, "part": 0.08}


class Population:
    """Steady-state evolution with truncation survival.

    Parents are the best of three drawn by rank; with probability 1/2 a part of one's tree replaces these leaves of the
    other's, with its weights and operators: what both have been measured with need not be run again. Then there are
    1 + Poisson(1/2) mutations.
    """

    def __init__(
        self, seed: np.random.SeedSequence, start: Iterable[tuple[Genome, float]], *, fixed_tree: bool
    ) -> None:
        """Take the first population.

        Args:
            seed: Of the random numbers.
            start: Measured candidates; the best 24 are taken, at least one.
            fixed_tree: Whether trees stay as they are, as in the second of two stages.
        """
        self._rng = np.random.default_rng(seed)
        self._alive: list[tuple[float, Genome]] = []
        self._seen: set[Genome] = set()
        self._fixed_tree = fixed_tree
        for genome, value in start:
            self.tell(genome, value)

    def ask(self, count: int) -> list[Genome]:
        """Return children that were not proposed before."""
        children = []
        for _ in range(count):
            child = self._child()
            for _ in range(_TRIES):
                if child not in self._seen:
                    break
                child = self._child()
            self._seen.add(child)
            children.append(child)
        return children

    def tell(self, genome: Genome, value: float) -> None:
        """Let a candidate live if it is among the best."""
        self._seen.add(genome)
        if any(genome == other for _, other in self._alive):
            return
        self._alive.append((value, genome))
        self._alive.sort(key=lambda entry: -entry[0])  # stable: the earlier of equals stays
        del self._alive[_SIZE:]

    def _child(self) -> Genome:
        mother = self._parent()
        if self._rng.random() < 0.5:
            mother = self._crossed(mother, self._parent())
        for _ in range(1 + self._rng.poisson(0.5)):
            mother = mutated(mother, self._rng, fixed_tree=self._fixed_tree)
        return mother.canonical()

    def _parent(self) -> Genome:
        return self._alive[int(self._rng.integers(len(self._alive), size=3).min())][1]

    def _crossed(self, mother: Genome, father: Genome) -> Genome:
        """Put a part of the father's tree, with its weights and operators, in the place of these leaves."""
        parts = list(clades(father.tree))[:-1]
        if not parts:
            return mother
        part = parts[int(self._rng.integers(len(parts)))]
        own = set(leaves(part))
        tree = mother.tree
        if part not in clades(tree):
            if self._fixed_tree:
                return mother
            anchor = next(leaf for leaf in leaves(tree) if leaf in own)
            rest = [leaf for leaf in own if leaf != anchor]
            tree = _replaced(without(tree, rest), anchor, part)
        weights = tuple(father.weights[i] if i in own else weight for i, weight in enumerate(mother.weights))
        inner = own - {min(own)}
        operators = tuple(
            father.operators[number - 1] if number in inner else operator
            for number, operator in enumerate(mother.operators, 1)
        )
        return Genome(tree, weights, operators)


def _replaced(tree: Tree | None, leaf: int, part: Tree) -> Tree:
    """Put a tree in the place of a leaf."""
    if tree is None or isinstance(tree, int):
        return part if tree is None or tree == leaf else tree
    return node(_replaced(tree[0], leaf, part), _replaced(tree[1], leaf, part))


def mutated(genome: Genome, rng: np.random.Generator, *, fixed_tree: bool = False) -> Genome:
    """Change one thing about a candidate.

    Args:
        genome: What to change.
        rng: Random numbers.
        fixed_tree: Whether the tree stays as it is.
    """
    moves = {name: share for name, share in _MOVES.items() if not (fixed_tree and name == "tree")}
    shares = np.array(list(moves.values()))
    move = list(moves)[int(rng.choice(len(moves), p=shares / shares.sum()))]
    if move == "tree":
        return replace(genome, tree=_moved(genome.tree, rng))
    if move == "weight" or not genome.operators:
        place = int(rng.integers(len(genome.weights)))
        weight = _weight(genome.weights[place], rng)
        return replace(genome, weights=(*genome.weights[:place], weight, *genome.weights[place + 1 :]))
    place = int(rng.integers(len(genome.operators)))
    operator = _operator(genome.operators[place], move, rng)
    return replace(genome, operators=(*genome.operators[:place], operator, *genome.operators[place + 1 :]))


def _moved(tree: Tree, rng: np.random.Generator) -> Tree:
    places: list[Tree] = [*leaves(tree), *clades(tree)]
    part, place = (places[int(rng.integers(len(places)))] for _ in range(2))
    if rng.random() < 0.5 and isinstance(part, int) and isinstance(place, int):
        return swap(tree, part, place)
    return regraft(tree, part, place)


def _weight(weight: float, rng: np.random.Generator) -> float:
    if rng.random() < 0.15:
        return 0.0 if weight > 0 else 1.0
    drawn = (weight or 0.5) * np.exp(rng.normal(0, 0.5))
    return _nearest(WEIGHTS[1:], min(drawn, 1.0))


def _operator(operator: Operator, move: str, rng: np.random.Generator) -> Operator:
    if move == "kind":
        return replace(operator, kind=_other(KINDS, operator.kind, rng))
    if move == "part":
        return replace(operator, part=_other(PARTS, operator.part, rng))
    if move == "iou":
        return replace(operator, iou=_nearest(IOUS, operator.iou + rng.normal(0, 0.1)))
    return replace(operator, factor=_nearest(FACTORS, operator.factor + rng.normal(0, 0.15)))


def _other(choices: tuple[str, ...], present: str, rng: np.random.Generator) -> str:
    left = [choice for choice in choices if choice != present]
    return left[int(rng.integers(len(left)))]


def _nearest(steps: tuple[float, ...], value: float) -> float:
    return min(steps, key=lambda step: abs(step - value))
