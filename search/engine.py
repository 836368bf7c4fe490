"""Fusing and measuring candidates: only what changed is run again."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from fusion.pool import apply
from fusion.recipe import OUTPUT, Recipe
from fusion.table import DetectionTable
from search.genome import Genome, recipe_of
from search.pruning import Incumbent

__all__ = ["Engine", "Outcome", "Profile", "category_chunks"]

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
    """Where the time of an engine went, in wall seconds and calls; per step, and "measure"."""

    seconds: dict[str, float] = field(default_factory=dict)
    calls: dict[str, int] = field(default_factory=dict)
    reused: int = 0

    def add(self, name: str, seconds: float) -> None:
        """Count one call."""
        self.seconds[name] = self.seconds.get(name, 0.0) + seconds
        self.calls[name] = self.calls.get(name, 0) + 1


class Engine:
    """Members in memory, and the results of sub-trees as long as they fit.

    A node's result depends on what is below it alone, so it is kept under the steps below: a change at
    one node costs the way from there to the root. Categories are worked through in chunks, since no step of
    a tree looks across categories: after each chunk a hopeless candidate is given up.
    """

    def __init__(
        self,
        members: Sequence[Sequence[DetectionTable]],
        measure: Measure,
        chunks: Sequence[np.ndarray],
        *,
        memory: int,
    ) -> None:
        """Take the members.

        Args:
            members: For each chunk one table per leaf, each with its member's name.
            measure: Tells the AP per category.
            chunks: Category ids, int32, of each chunk, together all of the ground truth's.
            memory: Bytes that kept results may take; the least recently used go first. 0 keeps nothing.
        """
        self.names = [str(table.metadata.member) for table in members[0]]
        self._tables = members
        self._chunks = [np.asarray(ids, dtype=np.int32) for ids in chunks]
        self._measure = measure
        self._kept: OrderedDict[tuple[int, str], DetectionTable] = OrderedDict()
        self._bytes = 0
        self._memory = memory
        self.profile = Profile()

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
        recipe = recipe_of(genome, self.names)
        done = 0
        for number, chunk in enumerate(self._chunks):
            table = self._run(recipe, number)
            start = time.perf_counter()
            figures[done : done + len(chunk)] = self._measure(table, chunk)
            self.profile.add("measure", time.perf_counter() - start)
            done += len(chunk)
            if incumbent is not None and number + 1 < len(self._chunks):
                estimate = incumbent.hopeless(ids[:done], figures[:done])
                if estimate is not None:
                    return Outcome(estimate, figures[order], True, time.perf_counter() - begin)
        known = figures[~np.isnan(figures)]
        value = float(np.mean(known)) if len(known) else 0.0
        return Outcome(value, figures[order], False, time.perf_counter() - begin)

    def fuse(self, genome: Genome) -> DetectionTable:
        """Return the fused table of all categories, as the recipe's replay gives it."""
        recipe = recipe_of(genome, self.names)
        parts = [self._run(recipe, number) for number in range(len(self._chunks))]
        return parts[0] if len(parts) == 1 else _joined(parts)

    def _run(self, recipe: Recipe, chunk: int) -> DetectionTable:
        """Run a recipe on a chunk as `Recipe.fuse` does, taking what was kept."""
        members = dict(zip(self.names, self._tables[chunk], strict=True))
        signature = {name: name for name in self.names}
        for name, node in recipe.nodes.items():
            # the node's name is in, since a table of new boxes is a member of that name further up
            signature[name] = f"{name}={node.step!r}({','.join(signature[source] for source in node.inputs)})"
        done: dict[str, DetectionTable] = {}

        def result(name: str) -> DetectionTable:
            if name in members:
                return members[name]
            if name in done:
                return done[name]
            table = self._recall((chunk, signature[name]))
            if table is None:
                node = recipe.nodes[name]
                inputs = [result(source) for source in node.inputs]
                begin = time.perf_counter()
                table = apply(node.step, inputs).with_metadata(member=name)
                self.profile.add(type(node.step).__name__, time.perf_counter() - begin)
                if name != OUTPUT:
                    self._keep((chunk, signature[name]), table)
            done[name] = table
            return table

        return result(OUTPUT)

    def _recall(self, key: tuple[int, str]) -> DetectionTable | None:
        table = self._kept.get(key)
        if table is not None:
            self._kept.move_to_end(key)
            self.profile.reused += 1
        return table

    def _keep(self, key: tuple[int, str], table: DetectionTable) -> None:
        size = table.arrow.nbytes
        if size > self._memory:
            return
        self._kept[key] = table
        self._bytes += size
        while self._bytes > self._memory:
            _, old = self._kept.popitem(last=False)
            self._bytes -= old.arrow.nbytes


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


def _joined(parts: Sequence[DetectionTable]) -> DetectionTable:
    """Put the chunks' rows together in order of image and category, the order of a fusion of all categories."""
    import pyarrow as pa

    arrow = pa.concat_tables([part.arrow for part in parts], promote_options="permissive")
    whole = DetectionTable.from_arrow(arrow, parts[0].metadata, "fused")
    image = np.repeat(np.arange(len(whole.image_ids)), np.diff(whole.image_start))
    order = np.lexsort((whole.category_id, image))
    return DetectionTable.from_arrow(whole.arrow.take(pa.array(order)), whole.metadata, "fused")
