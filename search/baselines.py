"""Candidates without a tree of their own: single members, flat ensembles, greedy selection; they start every search."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from search.genome import WEIGHTS, Genome, Operator
from search.tree import Tree, node

__all__ = ["Greedy", "flat", "grown", "similarity_tree", "single"]


def single(member: int, members: int) -> Genome:
    """Return one member on its own."""
    return flat([float(leaf == member) for leaf in range(members)], Operator())


def flat(weights: Sequence[float], operator: Operator) -> Genome:
    """Return all members of weight above 0 pooled, with one operator over the pool."""
    members = len(weights)
    tree: Tree = 0
    for leaf in range(1, members):
        tree = node(tree, leaf)
    operators = (Operator(kind="concat"),) * (members - 2) + (operator,)
    return Genome(tree, tuple(weights), operators[: members - 1]).canonical()


def grown(tree: Tree, members: int, operator: Operator) -> Genome:
    """Return a tree with the same operator at every node and equal weights."""
    return Genome(tree, (1.0,) * members, (operator,) * (members - 1)).canonical()


def similarity_tree(likeness: np.ndarray) -> Tree:
    """Return the dendrogram (average linkage) of members: those that agree most are joined first.

    Args:
        likeness: float64 [m, m] in [0, 1], symmetric.
    """
    from scipy.cluster.hierarchy import linkage

    count = len(likeness)
    parts: list[Tree] = list(range(count))
    if count > 1:
        for a, b, *_ in linkage((1 - likeness)[np.triu_indices(count, 1)], "average"):
            parts.append(node(parts[int(a)], parts[int(b)]))
    return parts[-1]


class Greedy:
    """Forward selection with replacement (Caruana 2004) of members into a flat ensemble.

    Each round tries every member once more and keeps the best; a member's weight is its number of picks over
    the largest number. It ends when a round brings nothing.
    """

    def __init__(self, members: int, operator: Operator) -> None:
        """Start without any member."""
        self._operator = operator
        self._picks = np.zeros(members, np.int64)
        self._best = -np.inf
        self._genome: Genome | None = None
        self._round: list[tuple[Genome, np.ndarray]] = []
        self._waiting: list[tuple[Genome, np.ndarray]] = []
        self._told: list[tuple[float, Genome, np.ndarray]] = []
        self._start_round()

    @property
    def best(self) -> tuple[Genome, float] | None:
        """The selection so far and its value; None before the first round has ended."""
        return None if self._genome is None else (self._genome, self._best)

    def ask(self, count: int) -> list[Genome]:
        """Return the next candidates of the round."""
        asked, self._round = self._round[:count], self._round[count:]
        self._waiting += asked
        return [genome for genome, _ in asked]

    def tell(self, genome: Genome, value: float) -> None:
        """Learn a value; the last one of a round starts the next. Of others it has no use."""
        picks = next((picks for waiting, picks in self._waiting if waiting == genome), None)
        if picks is None:
            return
        self._waiting = [entry for entry in self._waiting if entry[0] != genome]
        self._told.append((value, genome, picks))
        if self._round or self._waiting:
            return
        value, genome, picks = max(self._told, key=lambda entry: entry[0])
        self._told = []
        if value > self._best:
            self._best, self._genome, self._picks = value, genome, picks
            self._start_round()

    def _start_round(self) -> None:
        seen = set()
        for member in range(len(self._picks)):
            picks = self._picks.copy()
            picks[member] += 1
            steps = [_step(count / picks.max()) for count in picks.tolist()]
            genome = flat(steps, self._operator)
            if genome not in seen and genome != self._genome:
                seen.add(genome)
                self._round.append((genome, picks))


def _step(weight: float) -> float:
    """Return the nearest weight that a search knows, above 0 for those that are."""
    return min(WEIGHTS if weight == 0 else WEIGHTS[1:], key=lambda step: abs(step - weight))
