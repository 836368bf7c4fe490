"""The search itself: phases of proposers, one after the other, until the budget is spent."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from fusion.checks import at_least, one_of, within
from search.baselines import Greedy, flat, grown, similarity_tree, single
from search.engine import Outcome
from search.evaluators import Evaluator
from search.genome import Genome, Operator
from search.journal import Journal, Trial
from search.population import Population, mutated
from search.proposer import Listed, Proposer
from search.pruning import Incumbent
from search.tpe import OperatorTpe, TreeTpe

__all__ = ["MODES", "Progress", "Settings", "Study"]

MODES = ("hybrid", "two-stage", "flat", "greedy")

_BATCH = 8  # candidates proposed at a time, whatever the number of workers: the search does not depend on it
_NAIVE = (
    Operator(kind="vote"),
    Operator(kind="wbf", iou=0.55),
    Operator(kind="wbf", iou=0.65),
    Operator(kind="wbf", iou=0.75),
    Operator(kind="nms"),
    Operator(kind="adj_nms"),
    Operator(kind="soft_nms"),
    Operator(kind="nmw"),
)
# each is tried at every node of the dendrogram; the best one is what all nodes of the first trees do
_EVERYWHERE = tuple(
    Operator(kind=kind, iou=iou, factor=factor)
    for kind, iou in (("vote", 0.5), ("vote", 0.7), ("wbf", 0.55), ("nmw", 0.55))
    for factor in (1.0, 0.5)
)
# A candidate is given up when it is clearly worse than the best of these phases; in others, than the best of all.
_RIVALS = {
    "greedy": ("greedy",),
    "dendrogram": ("dendrogram",),
    "trees": ("dendrogram", "trees"),
    "operators": ("dendrogram", "trees", "operators"),
    "refinement": ("dendrogram", "trees", "operators", "refinement"),
}
_NEAR = 15  # candidates near the best tree that TPE begins with: from random operators it does not find back
_OPERATOR_TPE = 200  # operator trials after which TPE's cost per trial exceeds its use (specs/search.md, 2.4)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a search may spend and how it goes about it.

    Attributes:
        mode: "hybrid": trees by TPE for a quarter of the budget, then evolution of everything; "two-stage":
            trees, then operators on the best tree, as the report does; "flat": weights and one operator
            without a tree; "greedy": forward selection only.
        budget: Number of trials.
        seed: Of everything random.
        level: Significance at which a candidate is given up early; 0 measures all to the end.
        patience: Stop when the best has not improved for so many trials by more than a standard error of the
            paired difference; None never stops early.
        code: How TPE sees trees: "line" or "attach".
    """

    mode: str = "hybrid"
    budget: int = 1000
    seed: int = 0
    level: float = 0.01
    patience: int | None = None
    code: Literal["line", "attach"] = "line"

    def __post_init__(self) -> None:
        one_of("mode", self.mode, MODES)
        one_of("code", self.code, ("line", "attach"))
        at_least("budget", self.budget, 1, whole=True)
        at_least("seed", self.seed, 0, whole=True)
        within("level", self.level, 0.0, 1.0)
        if self.patience is not None:
            at_least("patience", self.patience, 1, whole=True)


@dataclass(frozen=True, slots=True)
class _Phase:
    name: str
    proposer: Proposer
    trials: int


Progress = Callable[[str, int, int, float], None]
"""Called with the phase, the number of trials done and wanted, and the best AP so far."""


@dataclass(slots=True)
class Study:
    """A search under way, or done.

    Attributes:
        settings: What it may spend.
        category_ids: int32 [k], ascending.
        likeness: float64 [m, m], agreement of the members, best member first.
        trials: What was measured, in order.
        stopped: Why it ended.
    """

    settings: Settings
    category_ids: np.ndarray
    likeness: np.ndarray
    trials: list[Trial] = field(default_factory=list)
    stopped: str = "the budget is spent"
    _arrived: list[tuple[Genome, float]] = field(default_factory=list)

    def __repr__(self) -> str:
        best = f", best AP {self.measured[0].outcome.value:.4f}" if self.measured else ""
        return f"Study({self.settings.mode}, {len(self.trials):,} trials of {self.members} members{best})"

    @property
    def members(self) -> int:
        """Number of members."""
        return len(self.likeness)

    @property
    def measured(self) -> list[Trial]:
        """Trials measured to the end, the best first; of equals the earlier."""
        return sorted((t for t in self.trials if not t.outcome.pruned), key=lambda trial: -trial.outcome.value)

    @property
    def naive(self) -> Trial:
        """The best flat ensemble of all members with equal weights."""
        return max((t for t in self.trials if t.phase == "naive"), key=lambda trial: trial.outcome.value)

    @property
    def best_member(self) -> Trial:
        """The best member on its own."""
        return max((t for t in self.trials if t.phase == "members"), key=lambda trial: trial.outcome.value)

    @property
    def greedy(self) -> Trial | None:
        """The outcome of greedy selection; None where the search ended before."""
        return max((t for t in self.trials if t.phase == "greedy"), key=lambda t: t.outcome.value, default=None)

    def run(
        self,
        evaluator: Evaluator,
        journal: Journal | None = None,
        *,
        paired_error: Callable[[Genome, Genome], float] | None = None,
        begun: Callable[[], None] | None = None,
        stop: Callable[[], str | None] | None = None,
        progress: Progress | None = None,
    ) -> None:
        """Search until the budget is spent, the best improves no more, or Ctrl-C.

        Trials in the journal are not run again, and the proposers learn from them as they did the first time: a
        resumed search goes on as if it had never been interrupted.

        Args:
            evaluator: Runs candidates.
            journal: Where trials are kept.
            paired_error: Standard error of the AP difference of two candidates; for `patience`.
            begun: Called when members and naive ensembles are measured, before anything is searched.
            stop: Asked after every batch of trials whether to end, and why.
            progress: Told after every trial.
        """
        known: dict[Genome, Outcome] = {}
        if journal is not None:
            known.update(journal.trials())
        asked = 0
        mark = 0
        best: Trial | None = None
        marked: Trial | None = None
        try:
            for phase in self._phases():
                spent = 0
                while spent < phase.trials and asked < self.settings.budget:
                    batch = phase.proposer.ask(min(_BATCH, phase.trials - spent, self.settings.budget - asked))
                    if not batch:
                        break
                    incumbent = self._incumbent(phase.name)
                    for genome, outcome in self._outcomes(batch, known, evaluator, incumbent):
                        if genome not in known:
                            known[genome] = outcome
                            if journal is not None:
                                journal.add(Trial(len(self.trials), phase.name, genome, outcome))
                        trial = Trial(len(self.trials), phase.name, genome, outcome)
                        self.trials.append(trial)
                        if not outcome.pruned and (best is None or outcome.value > best.outcome.value):
                            best = trial
                        phase.proposer.tell(genome, outcome.value)
                        asked += 1
                        spent += 1
                        if progress is not None and best is not None:
                            progress(phase.name, asked, self.settings.budget, best.outcome.value)
                    for genome, outcome in journal.arrivals() if journal is not None else ():
                        known.setdefault(genome, outcome)
                        self._arrived.append((genome, outcome.value))
                        if phase.name == "evolution":
                            phase.proposer.tell(genome, outcome.value)
                    if best is not None and self._settled(best, marked, asked - mark, paired_error):
                        self.stopped = f"no better by a standard error in {self.settings.patience} trials"
                        return
                    # members and naive ensembles are what an answer is compared with, however late it is
                    reason = None if stop is None or phase.name in ("members", "naive") else stop()
                    if reason is not None:
                        self.stopped = reason
                        return
                    if marked is None or asked - mark >= (self.settings.patience or self.settings.budget):
                        marked, mark = best, asked
                if begun is not None and phase.name == ("naive" if self.members > 1 else "members"):
                    begun()
            if asked < self.settings.budget:
                self.stopped = "nothing was left to try"
        except KeyboardInterrupt:
            self.stopped = "it was interrupted"

    def _outcomes(
        self,
        batch: Sequence[Genome],
        known: dict[Genome, Outcome],
        evaluator: Evaluator,
        incumbent: Incumbent | None,
    ) -> Iterator[tuple[Genome, Outcome]]:
        """Yield the outcome of each candidate of a batch in order, running those that are new once."""
        new = [genome for genome in dict.fromkeys(batch) if genome not in known]
        fresh: dict[Genome, Outcome] = {}
        running = evaluator.run(new, incumbent)
        for genome in batch:
            while genome not in known and genome not in fresh:
                fresh[new[len(fresh)]] = next(running)
            yield genome, known[genome] if genome in known else fresh[genome]

    def _incumbent(self, phase: str) -> Incumbent | None:
        """Members and naive ensembles are measured to the end: they are what the answer is compared with."""
        if self.settings.level <= 0 or phase in ("members", "naive"):
            return None
        rivals = _RIVALS.get(phase)
        best = max(
            (t for t in self.trials if not t.outcome.pruned and (rivals is None or t.phase in rivals)),
            key=lambda trial: trial.outcome.value,
            default=None,
        )
        return None if best is None else Incumbent(self.category_ids, best.outcome.per_category, self.settings.level)

    def _settled(
        self,
        best: Trial,
        marked: Trial | None,
        since: int,
        paired_error: Callable[[Genome, Genome], float] | None,
    ) -> bool:
        if self.settings.patience is None or marked is None or since < self.settings.patience:
            return False
        gain = best.outcome.value - marked.outcome.value
        if gain == 0 or paired_error is None:
            return gain == 0
        return gain <= paired_error(best.genome, marked.genome)

    def _phases(self) -> Iterator[_Phase]:
        """Yield the phases; each is made when those before are done."""
        settings, count = self.settings, self.members
        seeds = np.random.SeedSequence(settings.seed).spawn(3)
        numbers = [int(seed.generate_state(1)[0]) for seed in seeds]
        equal = [1.0] * count
        yield _Phase("members", Listed([single(leaf, count) for leaf in range(count)]), count)
        if count == 1:
            return
        flats = [flat(equal, operator) for operator in _NAIVE]
        yield _Phase("naive", Listed(flats), len(flats))
        top = self.naive.genome
        operator = next(o for o, genome in zip(_NAIVE, flats, strict=True) if genome == top)
        quarter = max(settings.budget // 4, 1)
        yield _Phase("greedy", Greedy(count, operator), settings.budget if settings.mode == "greedy" else quarter)
        if settings.mode == "greedy":
            return
        if settings.mode == "flat":
            yield _Phase("flat", OperatorTpe([top], numbers[0], tree=False), settings.budget)
            return
        likeliest = similarity_tree(self.likeness)
        first = [grown(likeliest, count, operator) for operator in _EVERYWHERE]
        yield _Phase("dendrogram", Listed(first), len(first))
        tried = {trial.genome: trial.outcome.value for trial in self.trials if trial.phase == "dendrogram"}
        default = max(_EVERYWHERE, key=lambda operator: tried.get(grown(likeliest, count, operator), -1.0))
        trees = settings.budget // (4 if settings.mode == "hybrid" else 3)
        yield _Phase("trees", TreeTpe(count, default, numbers[1], settings.code), trees)
        if settings.mode == "hybrid":
            start = [(trial.genome, trial.outcome.value) for trial in self.measured]
            start += self._arrived
            yield _Phase("evolution", Population(seeds[2], start, fixed_tree=False), settings.budget)
            return
        stage = [trial for trial in self.measured if trial.phase in _RIVALS["trees"]]
        found, rng = stage[0].genome, np.random.default_rng(seeds[2])
        near = [mutated(found, rng, fixed_tree=True) for _ in range(_NEAR)]
        yield _Phase("operators", OperatorTpe([found, *near], numbers[2]), _OPERATOR_TPE)
        tree = found.tree
        start = [(t.genome, t.outcome.value) for t in self.measured if t.genome.tree == tree]
        yield _Phase("refinement", Population(seeds[2], start, fixed_tree=True), settings.budget)
