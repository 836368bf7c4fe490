"""The whole way: members in, the best fusion of them out, and what it is worth on images that chose nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from evaluation.comparison import Difference
from evaluation.folds import folds_of
from evaluation.ground_truth import GroundTruth
from evaluation.open_images import PreparedOpenImages
from evaluation.prepared import prepare
from evaluation.protocol import Coco, Lvis, OpenImages
from fusion.errors import InputError
from fusion.printed_table import notebook_html
from fusion.recipe import Recipe
from fusion.recipe_file import write_recipe
from fusion.table import DetectionTable
from search.answer import Answer
from search.baselines import single
from search.journal import Journal
from search.preparation import prepare_members
from search.problem import Problem, Side, agreement, pose
from search.seek import in_words, seek
from search.splits import dealt
from search.stack import stack
from search.study import Settings, Study

__all__ = ["Improvement", "improve", "why_not"]

_TRIALS = 4000
_PATIENCE = 200
_SEARCHING = 0.6  # part of the time that trials may take; learning scores and measuring take the rest
_AHEAD = 0.1  # AP by which a member that far ahead leaves little to fuse
_FINDS = 0.1  # AP50 from which a member finds objects at all
_LOOSE = 0.2  # AP75 over AP50 below which a member's boxes are loose
_ALIKE = 0.85  # share of the objects found by either of two members that both find


@dataclass(frozen=True, eq=False)
class Improvement:
    """What became of some members.

    Attributes:
        answer: What the search found.
        study: The search.
        recipe: The answer, learned again on all images; the best member alone where fusing does not help.
        fused: The detections of all images, each by what was learned without its fold.
        helps: Whether the answer is better than the best member on the verify split.
        why_not: Why not, in words; "" where it helps.
        brings: By member, the AP that the answer's tree loses on the verify split without it.
    """

    answer: Answer
    study: Study
    recipe: Recipe
    fused: DetectionTable
    helps: bool
    why_not: str
    brings: Mapping[str, float]

    def __repr__(self) -> str:
        if self.helps:
            return f"Improvement({self.answer})"
        return f"Improvement(fusing does not help: {self.why_not}; the answer is {self.answer.problem.names[0]} alone)"

    def _repr_html_(self) -> str:
        return notebook_html(self, self.answer.to_table())

    @property
    def gain(self) -> Difference:
        """AP of the answer over the best member, on the verify split."""
        return self.answer.gain("best member", "verify")


def improve(
    tables: Sequence[DetectionTable],
    truth: GroundTruth,
    protocol: Coco | Lvis | OpenImages | None = None,
    *,
    groups: np.ndarray | None = None,
    seconds: float = 300.0,
    seed: int = 0,
    folder: Path | None = None,
    progress: Callable[[str], None] | None = None,
) -> Improvement:
    """Find the best fusion of some members, and say what it is worth.

    The images are dealt into two splits, groups kept together. On the first, corrections, calibrations, trees and
    learned scores are learned and chosen; the second says what they are worth, and whether they are better than the
    best member of the first. Then everything is learned again on all images.

    Args:
        tables: One per member, each with its name.
        truth: Ground truth of their images.
        protocol: What is measured; COCO's boxes by default.
        groups: [images] label of each image: a video, a day; see `evaluation.folds.groups_in_names`.
        seconds: About how long it may take.
        seed: Of everything random.
        folder: Where trials are kept, so that the same call goes on where it was interrupted, and the best recipe so
            far.
        progress: Told what is being done.

    Raises:
        InputError: If there is no member, or the images are too few to be dealt.
    """

    def tell(what: str) -> None:
        if progress is not None:
            progress(what)

    begin = time.monotonic()
    if not tables:
        raise InputError("auto", "no member was given", "Give the result files of two detectors or more")
    if len(truth.image_id) < 4 or not len(truth):
        raise InputError(truth.source, "has too few images with annotations to learn on some and measure on others")
    splits = dealt(truth, ("search", "verify"), groups=groups, seed=seed)
    problem = pose(tables, truth, splits, protocol or Coco(), groups=groups, progress=progress)
    journal = None if folder is None else Journal(folder / "trials.journal", problem.origin, 0)

    def over() -> str | None:
        return "the time is over" if time.monotonic() - begin > _SEARCHING * seconds else None

    def keep(recipe: Recipe) -> None:
        if folder is not None:
            write_recipe(recipe, folder / "best.toml")

    study, answer = seek(
        problem,
        Settings(budget=_TRIALS, patience=_PATIENCE, seed=seed),
        journal=journal,
        stop=over,
        chosen=keep,
        said=progress,
        progress=in_words(tell),
    )
    gain = answer.gain("best member", "verify")
    helps = gain.value > 0
    tell("learning again on all images")
    recipe, fused = _on_all(answer, tables, truth, groups, helps=helps)
    return Improvement(
        answer=answer,
        study=study,
        recipe=recipe,
        fused=fused,
        helps=helps,
        why_not="" if helps else why_not(problem),
        brings={change.what: change.loss for change in answer.without_member} if helps else {},
    )


def _on_all(
    answer: Answer, tables: Sequence[DetectionTable], truth: GroundTruth, groups: np.ndarray | None, *, helps: bool
) -> tuple[Recipe, DetectionTable]:
    """Learn the answer again on all images; return its recipe and the detections, held back fold by fold."""
    problem = answer.problem
    by_name = {str(table.metadata.member): table.select_images(truth.image_id) for table in tables}
    members = tuple(by_name[name] for name in problem.names)
    genome = answer.genome if helps else single(0, len(members))
    treatment = problem.preparation.treatment if helps else "as they are"
    prepared, fold = prepare(truth, problem.search.prepared.protocol), folds_of(truth, groups)
    whole = replace(
        problem,
        preparation=prepare_members(members, prepared, fold, treatment),
        fold=fold,
        search=Side("all", prepared, members),
    )
    if helps and answer.stack is not None:
        scored = stack(whole, genome)
        return whole.recipe(genome, scored.model), scored.boxes
    return whole.recipe(genome), whole.fused(genome)


def why_not(problem: Problem) -> str:
    """Say why fusing some members does not help, as far as can be seen on the search split."""
    ap = problem.member_ap
    if len(ap) == 1:
        return "there is one member; fusion needs two or more that err differently"
    loose = _loose(problem)
    if loose:
        return f"the boxes of {loose} are loose"
    if ap[0] - ap[1] > _AHEAD:
        return f"{problem.names[0]} is {100 * (ap[0] - ap[1]):.0f} AP points ahead of the next"
    alike = agreement(problem.search)
    if np.min(alike[np.triu_indices(len(alike), 1)]) > _ALIKE:
        return "the members find the same objects"
    return f"{len(problem.search.truth.image_id):,} images are too few to learn what the members are worth"


def _loose(problem: Problem) -> str:
    """Name the members but the best whose boxes find objects without fitting them; "" where not all of them do so."""
    prepared = problem.search.prepared
    if isinstance(prepared, PreparedOpenImages):  # which asks for an IoU of .5 alone
        return ""
    told = []
    for name, member in zip(problem.names[1:], problem.search.tables[1:], strict=True):
        at = prepared.evaluate(member).figures(("AP50", "AP75"))
        if at["AP50"] < _FINDS or at["AP75"] >= _LOOSE * at["AP50"]:
            return ""
        told.append(f"{name} (AP50 {100 * at['AP50']:.0f}, AP75 {100 * at['AP75']:.0f})")
    return ", ".join(told)
