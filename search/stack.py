"""A candidate whose boxes are scored by a learned model, measured on images that the model was not learned on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from evaluation.measured import Measured
from evaluation.open_images_result import OpenImagesResult
from evaluation.result import CocoResult
from evaluation.score_models import learn_scores
from fusion.errors import InputError
from fusion.score_models import ScoreModel
from fusion.table import DetectionTable
from search.genome import Genome
from search.journal import Trial
from search.preparation import worthwhile
from search.problem import Problem
from search.study import Study

__all__ = ["Stack", "best_stack", "learn_more", "stack"]

_FLATS = 2  # flat ensembles that scores are learned for


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


def best_stack(own: Measured, stacks: Sequence[Stack], tree: Genome) -> Stack | None:
    """Return the candidate whose learned scores are to be taken.

    Args:
        own: What the best candidate by its own scores has on the search split.
        stacks: Candidates with learned scores.
        tree: That candidate: learned scores on it are taken where they are better than those on flat ensembles by more
            than a standard error.

    Returns:
        None where the own scores are as good.
    """
    flats = [one for one in stacks if one.genome != tree]
    best = max(flats, key=lambda one: one.result.AP, default=None)
    for one in stacks:
        if one.genome == tree and (best is None or worthwhile(best.result, one.result)):
            best = one
    return best if best is not None and worthwhile(own, best.result) else None


def learn_more(problem: Problem, study: Study, trial: Trial, stacks: list[Stack], tell: Callable[[str], None]) -> None:
    """Learn scores for a trial and for the best flat ensembles; add those that are not there."""
    flats = sorted((t for t in study.measured if t.phase == "naive"), key=lambda t: -t.outcome.value)
    wanted = dict.fromkeys([*(t.genome for t in flats[:_FLATS]), trial.genome])
    genomes = [genome for genome in wanted if all(genome != one.genome for one in stacks)]
    for number, genome in enumerate(genomes, 1):
        tell(f"learning scores, base {number} of {len(genomes)}")
        try:
            stacks.append(stack(problem, genome))
        except InputError:  # nothing to learn from: all right or all wrong
            continue
        except KeyboardInterrupt:  # the best so far
            break
