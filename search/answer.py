"""What a search has found: the candidate chosen, and what can be said of it on images it never saw."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from evaluation.comparison import Difference, compare, difference_of
from evaluation.open_images_result import OpenImagesResult
from evaluation.result import CocoResult
from evaluation.statistics import Replicates, bootstrap
from fusion.printed_table import PrintedTable, notebook_html
from fusion.recipe import Recipe
from search.baselines import single
from search.dissection import Change, NodeAp, nodes_of, with_defaults, without_each
from search.genome import Genome, Operator, used_members
from search.journal import Trial
from search.problem import Problem
from search.stack import Stack, best_stack, learn_more, measured_on
from search.study import Study
from search.tree import depths

__all__ = [
    "FIRST",
    "Answer",
    "Gain",
    "Rival",
    "choose",
    "find_answer",
    "front",
    "paired_error",
    "recipe_with",
]

FIRST = "first candidate"
"""What a flat ensemble with learned scores is called among rivals: it is there before trials are."""

_TOP = 20
_REPLICATES = 500
_ALARM = 0.01  # in honest searches the alarm rings in less than 5 % then: benchmarks/alarm_rate.py


@dataclass(frozen=True)
class Rival:
    """A candidate on one split.

    Attributes:
        name: Such as "best member".
        genome: The candidate.
        replicates: Its AP on the bootstrap of the split's images; intervals are in it.
    """

    name: str
    genome: Genome
    replicates: Replicates


@dataclass(frozen=True)
class Gain:
    """How much better the answer is than a rival.

    Attributes:
        over: Name of the rival.
        split: Where it was measured.
        difference: AP of the answer minus the rival's, paired over images.
    """

    over: str
    split: str
    difference: Difference


@dataclass(frozen=True)
class Answer:
    """What a search has found.

    Attributes:
        problem: Members and splits.
        trial: The best candidate among trees.
        stack: A candidate whose boxes are scored by a learned model, where that is better; then it is the answer.
        stacks: All candidates that scores were learned for, the first candidate of the search first.
        rivals: By split, the answer first, then the best member as imported, naive ensemble, greedy selection, and
            where the answer is another the first candidate and the best tree.
        nodes: The tree's nodes, leaves included.
        without_member: What is lost when a member is left out.
        genes: What is lost when one gene is set to its default, the largest loss first.
        top: Search and verify AP of the best trials.
    """

    problem: Problem
    trial: Trial
    stack: Stack | None
    stacks: tuple[Stack, ...]
    rivals: dict[str, tuple[Rival, ...]]
    nodes: tuple[NodeAp, ...]
    without_member: tuple[Change, ...]
    genes: tuple[Change, ...]
    top: np.ndarray

    def __repr__(self) -> str:
        quoted = list(self.rivals)[-1]
        own, gain = self.rivals[quoted][0].replicates.intervals["AP"], self.gain("best member", quoted)
        members = f"{len(used_members(self.genome))} of {len(self.problem.names)} members"
        gained = f"{100 * gain.value:+.2f} ({100 * gain.low:+.2f} to {100 * gain.high:+.2f}) over the best member"
        return f"Answer({members}; AP {100 * own.value:.2f} on the {quoted} split, {gained})"

    def _repr_html_(self) -> str:
        return notebook_html(self, self.to_table())

    def to_table(self) -> PrintedTable:
        """Return AP of the answer and its gains over each rival, per split, as a table to print; in points."""
        table = PrintedTable.of(("", *(f"{split} split" for split in self.rivals)), (), left=1)
        own = [rivals[0].replicates.observed["AP"] for rivals in self.rivals.values()]
        table.rows.append(["AP of the answer", *(f"{100 * value:.2f}" for value in own)])
        for rival in next(iter(self.rivals.values()))[1:]:
            gains = [self.gain(rival.name, split) for split in self.rivals]
            cells = [f"{100 * g.value:+.2f} ({100 * g.low:+.2f} to {100 * g.high:+.2f})" for g in gains]
            table.rows.append([f"over the {rival.name}", *cells])
        return table

    @property
    def genome(self) -> Genome:
        """The answer's tree."""
        return self.trial.genome if self.stack is None else self.stack.genome

    @property
    def recipe(self) -> Recipe:
        """The answer, to be replayed on tables of the members as imported."""
        return self.problem.recipe(self.genome, None if self.stack is None else self.stack.model)

    @cached_property
    def gains(self) -> tuple[Gain, ...]:
        """Gain over each rival on each split."""
        gains = []
        for split, (own, *others) in self.rivals.items():
            for other in others:
                difference = compare(other.replicates, own.replicates).figures["AP"]
                gains.append(Gain(other.name, split, difference))
        return tuple(gains)

    def gain(self, over: str, split: str) -> Difference:
        """Return one of the gains."""
        return next(gain.difference for gain in self.gains if (gain.over, gain.split) == (over, split))

    @property
    def strongest(self) -> str:
        """Name of the rival with the highest AP on the search split."""
        rivals = next(iter(self.rivals.values()))[1:]
        return max(rivals, key=lambda rival: rival.replicates.observed["AP"]).name

    @property
    def rank_correlation(self) -> float:
        """Spearman's correlation of AP on the search and the verify split over the best trials; NaN below 3."""
        from scipy.stats import spearmanr

        if len(self.top) < 3 or np.ptp(self.top[:, 0]) == 0 or np.ptp(self.top[:, 1]) == 0:
            return float("nan")
        return float(spearmanr(self.top[:, 0], self.top[:, 1]).statistic)

    @property
    def depth_correlation(self) -> tuple[float, float]:
        """Spearman's correlation of members' AP and their depth in the tree, and its p-value; NaN below 4 members."""
        from scipy.stats import spearmanr

        tree = self.genome.pruned
        depth = {} if tree is None else depths(tree)
        if len(depth) < 4 or len(set(depth.values())) < 2:
            return float("nan"), float("nan")
        result = spearmanr([self.problem.member_ap[leaf] for leaf in depth], list(depth.values()))
        return float(result.statistic), float(result.pvalue)

    @property
    def alarm(self) -> str | None:
        """Why the answer is suspected of fitting the search split only; None where it is not.

        It is if a rival is better on the split to quote, by more than chance. That a gain is larger on the search split
        says nothing: there it is the best of many draws, and shrinks after every search.
        """
        searched, *_, quoted = self.rivals
        gains = [gain for gain in self.gains if gain.split == quoted and gain.difference.p < _ALARM]
        lost = min(gains, key=lambda gain: gain.difference.value, default=None)
        if lost is None or lost.difference.value >= 0:
            return None
        return (
            f"on the {quoted} split the {lost.over} is {-100 * lost.difference.value:.2f} AP points better than the "
            f"answer (p = {lost.difference.p:.1g}), where on the {searched} split the answer gained "
            f"{100 * self.gain(lost.over, searched).value:.2f}"
        )


def choose(study: Study, error: Callable[[Genome, Genome], float]) -> Trial:
    """Choose the simplest of the best trials: at most one standard error of the paired difference behind the best.

    Simple is: few members, then few genes that are not at their default.

    Args:
        study: With at least one trial.
        error: Standard error of the AP difference of two candidates on the search split.
    """
    best, *others = study.measured[:_TOP]
    near = [best]
    for trial in others:
        behind = best.outcome.value - trial.outcome.value
        if _complexity(trial.genome) < _complexity(best.genome) and behind <= error(best.genome, trial.genome):
            near.append(trial)
    return min(near, key=lambda trial: _complexity(trial.genome))  # of equals the better one, which comes first


def find_answer(
    problem: Problem,
    study: Study,
    *,
    scores: bool = True,
    learned: Sequence[Stack] = (),
    figures: Sequence[str] | None = None,
    chosen: Callable[[Recipe], None] | None = None,
    progress: Callable[[str], None] | None = None,
) -> Answer:
    """Choose, and measure the choice and its rivals on every split.

    With two splits the choice is that of `choose`, by the first alone. With three, the best trials are ranked by the
    second one, and the third is the one to quote. Whether learned scores are taken is told by parts of the first split
    that were held back; see `best_stack`.

    Args:
        problem: Members and splits.
        study: A search, ended or interrupted.
        scores: Whether scores may be learned for more candidates.
        learned: Candidates that scores were learned for before trials, the first candidate of the search first.
        figures: Names, of `evaluation.figures`, of what is measured of answer and rivals beside AP, with intervals; by
            default what entries are compared by, without.
        chosen: Given the recipe as soon as it is known, before figures are worked out: the best so far, then the
            answer's, if scores were learned that are better.
        progress: Told what is being done.
    """

    def tell(what: str) -> None:
        if progress is not None:
            progress(what)

    tell("choosing among the best trials")
    search, verify = problem.search, problem.others[0]
    best = study.measured[:_TOP]
    top = [(t.outcome.value, measured_on(problem, verify, t.genome).AP) for t in best]
    if len(problem.others) > 1:
        # a split is left to quote, so that this one may choose
        trial = best[int(np.argmax([ap for _, ap in top]))]
    else:
        trial = choose(study, lambda a, b: paired_error(problem, a, b))
    stacks = [*learned]
    own = measured_on(problem, search, trial.genome)
    plain = next((t.genome for t in study.measured if t.phase in ("members", "naive")), trial.genome)
    # a simple trial that was chosen may be a little behind
    simple = min(measured_on(problem, search, plain), own, key=lambda result: result.AP)
    stacked = best_stack(simple, stacks, own, trial.genome)
    if chosen is not None:
        chosen(recipe_with(problem, trial.genome, stacked))
    if scores:
        known = stacked
        learn_more(problem, study, trial, stacks, tell)
        stacked = best_stack(simple, stacks, own, trial.genome)
        if chosen is not None and stacked is not known:
            chosen(recipe_with(problem, trial.genome, stacked))
    named: dict[str, tuple[Genome, Stack | None]] = {}
    if any(t.phase == "naive" for t in study.trials):
        named["naive ensemble"] = study.naive.genome, None
    if learned and stacked is not learned[0]:
        named[FIRST] = learned[0].genome, learned[0]
    if study.greedy is not None:
        named["greedy selection"] = study.greedy.genome, None
    if stacked is not None:
        named["best tree"] = trial.genome, None
    answer = trial.genome if stacked is None else stacked.genome
    rivals = {}
    for side in (search, *problem.others):
        tell(f"measuring on the {side.name} split")
        own = measured_on(problem, side, answer, stacked)
        member = side.prepared.evaluate(side.tables[0])
        results = {"answer": (answer, own), "best member": (single(0, len(problem.names)), member)}
        results |= {name: (genome, measured_on(problem, side, genome, one)) for name, (genome, one) in named.items()}
        rivals[side.name] = tuple(
            Rival(name, genome, _drawn(result, figures)) for name, (genome, result) in results.items()
        )
    tell("taking the answer apart")
    full = measured_on(problem, verify, answer).AP
    return Answer(
        problem=problem,
        trial=trial,
        stack=stacked,
        stacks=tuple(stacks),
        rivals=rivals,
        nodes=tuple(nodes_of(problem, verify, answer)),
        without_member=tuple(without_each(problem, verify, answer, full)),
        genes=tuple(sorted(with_defaults(problem, verify, answer, full), key=lambda change: -change.loss)),
        top=np.array(top),
    )


def recipe_with(problem: Problem, genome: Genome, stacked: Stack | None) -> Recipe:
    """Return the recipe of a candidate with learned scores, or of another where there is none."""
    return problem.recipe(genome) if stacked is None else problem.recipe(stacked.genome, stacked.model)


def front(study: Study) -> list[Trial]:
    """Return the best trial for each number of members that no smaller number reaches, from few to many."""
    best: dict[int, Trial] = {}
    for trial in study.measured:
        best.setdefault(len(used_members(trial.genome)), trial)
    front: list[Trial] = []
    for count in sorted(best):
        if not front or best[count].outcome.value > front[-1].outcome.value:
            front.append(best[count])
    return front


def paired_error(problem: Problem, a: Genome, b: Genome) -> float:
    """Return the standard error of the AP difference of two candidates on the search split."""
    ours, theirs = (_drawn(measured_on(problem, problem.search, genome)) for genome in (a, b))
    return difference_of(
        ours.observed["AP"], theirs.observed["AP"], ours.values["AP"], theirs.values["AP"], ours.units
    ).error


def _drawn(result: CocoResult | OpenImagesResult, figures: Sequence[str] | None = None) -> Replicates:
    drawn = ("AP",) if figures is None else None
    return bootstrap(result, replicates=_REPLICATES, figures=figures, drawn=drawn)


def _complexity(genome: Genome) -> tuple[int, int]:
    changed = sum(operator != Operator() for operator in genome.operators) + sum(
        w not in (0, 1) for w in genome.weights
    )
    return len(used_members(genome)), changed
