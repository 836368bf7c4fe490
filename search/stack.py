"""A candidate whose boxes are scored by a learned model, measured on images that the model was not learned on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from evaluation.measured import Measured
from evaluation.open_images_result import OpenImagesResult
from evaluation.result import CocoResult
from evaluation.score_models import learn_scores
from fusion.errors import InputError
from fusion.score_models import ScoreModel
from fusion.table import DetectionTable
from search.baselines import flat
from search.genome import Genome, Operator
from search.journal import Trial
from search.preparation import worthwhile
from search.problem import Problem, Side
from search.study import Study

__all__ = ["Stack", "best_stack", "learn_first", "learn_more", "measured_on", "stack"]

# With learned scores the best bases are those that leave most boxes, which by their own scores they are not
# (benchmarks/score_bases.py): high thresholds, and soft-NMS, which keeps every box. So many detections take it some
# hundred MB and a minute.
_TIGHT, _ALL = Operator(kind="wbf", iou=0.85), Operator(kind="soft_nms")
_MOST = 300_000


@dataclass(frozen=True, eq=False)
class Stack:
    """A candidate and a model of its scores.

    Attributes:
        genome: The candidate.
        model: Learned on the whole search split.
        AP: What the boxes' own scores and those of each kind of model give on parts that were held back.
        boxes: The candidate's boxes on the search split, each image's scored by a model learned without its fold.
        result: Their evaluation.
    """

    genome: Genome
    model: ScoreModel
    AP: Mapping[str, float]
    boxes: DetectionTable
    result: CocoResult | OpenImagesResult


def stack(problem: Problem, genome: Genome) -> Stack:
    """Learn the scores of a candidate's boxes on the search split.

    Raises:
        InputError: If there is nothing to learn from.
    """
    prepared = problem.search.prepared
    boxes = problem.fused(genome)
    learned = learn_scores(boxes, problem.preparation.tables, prepared, groups=problem.fold)
    scored = boxes.with_scores(learned.held_back)
    return Stack(genome, learned.model, learned.AP, scored, prepared.evaluate(scored))


def measured_on(
    problem: Problem, side: Side, genome: Genome, stacked: Stack | None = None
) -> CocoResult | OpenImagesResult:
    """Evaluate a candidate; on the search split by what was learned without each image's fold."""
    if side is problem.search:
        return side.prepared.evaluate(problem.fused(genome)) if stacked is None else stacked.result
    recipe = problem.recipe(genome, None if stacked is None else stacked.model)
    return side.prepared.evaluate(recipe.fuse(side.tables))


def best_stack(
    plain: Measured, stacks: Sequence[Stack], found: Measured | None = None, tree: Genome | None = None
) -> Stack | None:
    """Return the candidate whose learned scores are to be taken.

    They must be better than the best flat ensemble or member by its own scores, by more than a standard error. The best
    of many trials seems better than it is, so it must be better than they are by as much to be taken instead.

    Args:
        plain: What the best flat ensemble or member by its own scores has on the search split.
        stacks: Candidates with learned scores.
        found: What the best trial by its own scores has there.
        tree: That trial: learned scores on it are taken where they are better than those on flat ensembles by more than
            a standard error.

    Returns:
        None where own scores are as good.
    """
    flats = [one for one in stacks if one.genome != tree]
    best = max(flats, key=lambda one: one.result.AP, default=None)
    for one in stacks:
        if one.genome == tree and (best is None or worthwhile(best.result, one.result)):
            best = one
    if best is None or not worthwhile(plain, best.result):
        return None
    return None if found is not None and worthwhile(best.result, found) else best


def learn_more(problem: Problem, study: Study, trial: Trial, stacks: list[Stack], tell: Callable[[str], None]) -> None:
    """Learn scores for flat ensembles that leave many boxes and for a trial; add those that are not there."""
    few = sum(map(len, problem.preparation.tables)) <= _MOST
    wanted = dict.fromkeys([*_first_bases(problem, study), *([_flat(problem, _ALL)] if few else []), trial.genome])
    try:
        stacks.extend(_learned(problem, [one for one in wanted if all(one != known.genome for known in stacks)], tell))
    except KeyboardInterrupt:  # the best so far
        return


def _first_bases(problem: Problem, study: Study) -> list[Genome]:
    """Return the flat ensembles that scores are learned for before trials: the best one, and a tight one."""
    naive = [trial.genome for trial in study.measured if trial.phase == "naive"]
    return list(dict.fromkeys([*naive[:1], _flat(problem, _TIGHT)]))


def learn_first(problem: Problem, study: Study, tell: Callable[[str], None]) -> list[Stack]:
    """Learn scores for flat ensembles; return those for which it went, the best one first."""
    return sorted(_learned(problem, _first_bases(problem, study), tell), key=lambda one: -one.result.AP)


def _learned(problem: Problem, genomes: Sequence[Genome], tell: Callable[[str], None]) -> Iterator[Stack]:
    for number, genome in enumerate(genomes, 1):
        tell(f"learning scores, base {number} of {len(genomes)}")
        with suppress(InputError):  # nothing to learn from: all right or all wrong
            yield stack(problem, genome)


def _flat(problem: Problem, operator: Operator) -> Genome:
    return flat([1.0] * len(problem.names), operator)
