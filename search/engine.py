"""Fusing and measuring candidates: only what changed is run again."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeAlias, TypeVar

import numpy as np

from search.genome import Genome, Operator
from search.pruning import Incumbent
from search.tree import Tree, key

__all__ = ["Engine", "Fuser", "Outcome", "Profile", "category_chunks"]

_Signature: TypeAlias = "tuple[Any, ...]"
_R = TypeVar("_R")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a candidate.

    Attributes:
        value: AP: the mean over the categories that have ground truth. Of a pruned candidate an estimate.
        per_category: float64 [k], NaN where there is no ground truth or the candidate was pruned before.
        pruned: Whether it was given up before all categories were measured.
        seconds: Wall time.
        ended: When it was done, in seconds since 1970.
    """

    value: float
    per_category: np.ndarray
    pruned: bool
    seconds: float
    ended: float = field(default_factory=time.time)


@dataclass(slots=True)
class Profile:
    """Where the time of an engine went, in wall seconds and calls; per kind of work."""

    seconds: dict[str, float] = field(default_factory=dict)
    calls: dict[str, int] = field(default_factory=dict)
    reused: int = 0

    @contextmanager
    def timing(self, name: str) -> Iterator[None]:
        """Count one call and its time."""
        begin = time.perf_counter()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - begin
        self.calls[name] = self.calls.get(name, 0) + 1


class Fuser(Protocol[_R]):
    """Computes the nodes of candidates on the members' rows of some categories; what it answers with is its own."""

    @property
    def looks(self) -> Sequence[np.ndarray]:
        """Ids of its categories, int32 each, in the order in which they are looked at."""
        ...

    def leaf(self, member: int, weight: float, profile: Profile) -> _R:
        """Return a member with its scores multiplied."""
        ...

    def node(self, operator: Operator, first: _R, second: _R, profile: Profile) -> _R:
        """Fuse two children."""
        ...

    def measure(self, result: _R, profile: Profile) -> np.ndarray:
        """Return AP, NaN without ground truth, of the categories of all looks one behind the other: float64 [c]."""
        ...

    def size(self, result: _R) -> int:
        """Return the bytes that a result takes."""
        ...


class Engine(Generic[_R]):
    """Walks the trees of candidates, and keeps the results of sub-trees as long as they fit.

    A node's result depends on what is below it alone, so it is kept under the genes below: a change at
    one node costs the way from there to the root. No step of a tree looks across categories, so these are worked
    through in parts, and looked at in chunks: after each chunk a hopeless candidate is given up.
    """

    def __init__(self, fusers: Sequence[Fuser[_R]], *, memory: int) -> None:
        """Take what computes the nodes.

        Args:
            fusers: One for each part of the categories, together all of the ground truth's.
            memory: Bytes that kept results may take; the least recently used go first. 0 keeps nothing.
        """
        self._fusers = fusers
        self._kept: OrderedDict[tuple[int, _Signature], _R] = OrderedDict()
        self._bytes = 0
        self._memory = memory
        self.profile = Profile()

    @property
    def kept_bytes(self) -> int:
        """Size of the results kept."""
        return self._bytes

    def evaluate(self, genome: Genome, incumbent: Incumbent | None = None) -> Outcome:
        """Fuse and measure a candidate.

        Args:
            genome: What to run; without any member its AP is 0.
            incumbent: The best candidate so far; one that is significantly worse on the categories looked at
                so far is given up. None looks at all categories.
        """
        begin = time.perf_counter()
        ids = np.concatenate([look for fuser in self._fusers for look in fuser.looks])
        order = np.argsort(ids, kind="stable")
        figures = np.full(len(ids), np.nan)
        if genome.pruned is None:
            return Outcome(0.0, np.zeros(len(ids)), False, 0.0)
        done = 0
        for number, fuser in enumerate(self._fusers):
            first = done
            measured = fuser.measure(self.fuse(genome, number), self.profile)
            for look in fuser.looks:
                last = done + len(look)
                figures[done:last] = measured[done - first : last - first]
                done = last
                if incumbent is not None and done < len(ids):
                    estimate = incumbent.hopeless(ids[:done], figures[:done])
                    if estimate is not None:
                        return Outcome(estimate, figures[order], True, time.perf_counter() - begin)
        known = figures[~np.isnan(figures)]
        value = float(np.mean(known)) if len(known) else 0.0
        return Outcome(value, figures[order], False, time.perf_counter() - begin)

    def fuse(self, genome: Genome, part: int) -> _R:
        """Return what the candidate's recipe gives on a part of the categories, to the last bit."""
        tree = genome.pruned
        if tree is None:
            raise ValueError("the genome uses no member")
        return self._result(genome, tree, part, root=True)

    def _result(self, genome: Genome, tree: Tree, part: int, *, root: bool = False) -> _R:
        fuser = self._fusers[part]
        if isinstance(tree, int):
            return fuser.leaf(tree, genome.weights[tree], self.profile)
        place = part, _signature(genome, tree)
        result = None if root else self._recall(place)
        if result is None:
            first, second = (self._result(genome, child, part) for child in tree)
            result = fuser.node(genome.operators[key(tree) - 1], first, second, self.profile)
            if not root:
                self._keep(place, result, fuser.size(result))
        return result

    def _recall(self, place: tuple[int, _Signature]) -> _R | None:
        result = self._kept.get(place)
        if result is not None:
            self._kept.move_to_end(place)
            self.profile.reused += 1
        return result

    def _keep(self, place: tuple[int, _Signature], result: _R, size: int) -> None:
        if size > self._memory:
            return
        self._kept[place] = result
        self._bytes += size
        while self._bytes > self._memory:
            (number, _), old = self._kept.popitem(last=False)
            self._bytes -= self._fusers[number].size(old)


def _signature(genome: Genome, tree: Tree) -> _Signature:
    """Return what a node's result depends on."""
    if isinstance(tree, int):
        return tree, genome.weights[tree]
    return genome.operators[key(tree) - 1], _signature(genome, tree[0]), _signature(genome, tree[1])


def category_chunks(category_ids: np.ndarray, detections: np.ndarray, count: int) -> list[np.ndarray]:
    """Deal categories into chunks of about equal cost.

    The categories with the most detections come last: AP of the others already tells most candidates apart,
    as the mean over categories counts each the same.

    Args:
        category_ids: int32 [k].
        detections: int64 [k], of all members.
        count: Number of chunks wanted; fewer where there are fewer categories.

    Returns:
        Ids of each chunk.
    """
    order = np.argsort(detections, kind="stable")
    cost = np.cumsum(detections[order] + 1)
    cuts = np.searchsorted(cost, cost[-1] * np.arange(1, count) / count) if len(cost) else []
    return [part for part in np.split(category_ids[order], cuts) if len(part)] or [category_ids]
