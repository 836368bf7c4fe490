"""Fusing and measuring candidates: only what changed is run again."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from fusion.concat import Concat
from fusion.dropout import Dropout
from fusion.support import Support
from fusion.table import DetectionTable
from search.genome import Genome, Operator
from search.merged import dropped, fused, merge, pooled, supported
from search.pruning import Incumbent
from search.sheet import Grid, Leaves, Sheet, table_of, weighted
from search.tree import Tree, key

__all__ = ["Engine", "Outcome", "Profile", "category_chunks"]

_Signature: TypeAlias = "tuple[Any, ...]"

Measure = Callable[[DetectionTable, np.ndarray], np.ndarray]
"""From a table and int32 [c] category ids to float64 [c], the AP of these categories, NaN without ground truth."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a candidate.

    Attributes:
        value: AP: the mean over the categories that have ground truth. Of a pruned candidate an estimate.
        per_category: float64 [k], NaN where there is no ground truth or the candidate was pruned before.
        pruned: Whether it was given up before all categories were measured.
        seconds: Wall time.
    """

    value: float
    per_category: np.ndarray
    pruned: bool
    seconds: float


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


class Engine:
    """Members in memory, and the results of sub-trees as long as they fit.

    A node's result depends on what is below it alone, so it is kept under the genes below: a change at
    one node costs the way from there to the root. Categories are worked through in chunks, since no step of
    a tree looks across categories: after each chunk a hopeless candidate is given up.
    """

    def __init__(
        self, members: Sequence[Leaves], measure: Measure, chunks: Sequence[np.ndarray], *, memory: int
    ) -> None:
        """Take the members.

        Args:
            members: Of each chunk, from `leaves_of`.
            measure: Tells the AP per category.
            chunks: Category ids, int32, of each chunk, together all of the ground truth's.
            memory: Bytes that kept results may take; the least recently used go first. 0 keeps nothing.
        """
        self._members = members
        self._chunks = [np.asarray(ids, dtype=np.int32) for ids in chunks]
        self._measure = measure
        self._kept: OrderedDict[tuple[int, _Signature], Sheet] = OrderedDict()
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
            incumbent: The best candidate so far; one that is significantly worse on the categories measured
                so far is given up. None measures all categories.
        """
        begin = time.perf_counter()
        ids = np.concatenate(self._chunks)
        order = np.argsort(ids, kind="stable")
        figures = np.full(len(ids), np.nan)
        if genome.pruned is None:
            return Outcome(0.0, np.zeros(len(ids)), False, 0.0)
        done = 0
        for number, chunk in enumerate(self._chunks):
            table = self.fuse(genome, number)
            with self.profile.timing("measure"):
                figures[done : done + len(chunk)] = self._measure(table, chunk)
            done += len(chunk)
            if incumbent is not None and number + 1 < len(self._chunks):
                estimate = incumbent.hopeless(ids[:done], figures[:done])
                if estimate is not None:
                    return Outcome(estimate, figures[order], True, time.perf_counter() - begin)
        known = figures[~np.isnan(figures)]
        value = float(np.mean(known)) if len(known) else 0.0
        return Outcome(value, figures[order], False, time.perf_counter() - begin)

    def fuse(self, genome: Genome, chunk: int) -> DetectionTable:
        """Return what the candidate's recipe gives on a chunk, to the last bit."""
        tree = genome.pruned
        if tree is None:
            raise ValueError("the genome uses no member")
        sheet = self._result(genome, tree, chunk, root=True)
        with self.profile.timing("table"):
            return table_of(self._members[chunk].grid, sheet)

    def _result(self, genome: Genome, tree: Tree, chunk: int, *, root: bool = False) -> Sheet:
        leaves = self._members[chunk]
        if isinstance(tree, int):
            leaf = leaves.sheets[tree]
            weight = genome.weights[tree]
            return leaf if weight == 1.0 else weighted(leaf, weight)
        place = chunk, _signature(genome, tree)
        sheet = None if root else self._recall(place)
        if sheet is None:
            first, second = (self._result(genome, child, chunk) for child in tree)
            sheet = self._node(leaves.grid, genome.operators[key(tree) - 1], first, second)
            if not root:
                self._keep(place, sheet)
        return sheet

    def _node(self, grid: Grid, operator: Operator, first: Sheet, second: Sheet) -> Sheet:
        """Do what `recipe_of` writes down for one inner node."""
        if operator.part != "both":
            side, _, part = operator.part.partition("_")
            with self.profile.timing("Dropout"):
                if side == "first":
                    first = dropped(grid, first, second, Dropout(part=part))
                else:
                    second = dropped(grid, second, first, Dropout(part=part))
        with self.profile.timing("merge"):
            merged = merge(grid, first, second)
        if operator.factor < 1.0:
            with self.profile.timing("Support"):
                merged = supported(merged, Support(factor=operator.factor, iou=operator.iou))
        step = operator.step
        with self.profile.timing(type(step).__name__):
            return pooled(merged) if isinstance(step, Concat) else fused(merged, step)

    def _recall(self, place: tuple[int, _Signature]) -> Sheet | None:
        sheet = self._kept.get(place)
        if sheet is not None:
            self._kept.move_to_end(place)
            self.profile.reused += 1
        return sheet

    def _keep(self, place: tuple[int, _Signature], sheet: Sheet) -> None:
        if sheet.nbytes > self._memory:
            return
        self._kept[place] = sheet
        self._bytes += sheet.nbytes
        while self._bytes > self._memory:
            _, old = self._kept.popitem(last=False)
            self._bytes -= old.nbytes


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
