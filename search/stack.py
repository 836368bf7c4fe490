"""A candidate whose boxes are scored by a learned model, measured on images that the model was not learned on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from evaluation.open_images_result import OpenImagesResult
from evaluation.result import CocoResult
from evaluation.score_models import learn_scores
from fusion.score_models import ScoreModel
from fusion.table import DetectionTable
from search.genome import Genome
from search.problem import Problem

__all__ = ["Stack", "stack"]


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
