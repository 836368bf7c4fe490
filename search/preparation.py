"""What members go through before they are fused: learned on a split, and tried on parts of it that were held back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from evaluation.box_corrections import learn_box_correction
from evaluation.calibration import learn_calibration
from evaluation.comparison import difference_of
from evaluation.measured import Measured
from evaluation.open_images import PreparedOpenImages
from evaluation.prepared import Prepared, prepare
from evaluation.statistics import bootstrap
from fusion.box_corrections import BoxCorrection
from fusion.box_weights import box_weights_of
from fusion.run import apply
from fusion.score_scales import scales_of, unlike
from fusion.steps.base import Step
from fusion.steps.calibrate import Calibrate
from fusion.steps.correct_boxes import CorrectBoxes
from fusion.steps.nms import Nms
from fusion.steps.wbf import Wbf
from fusion.table import DetectionTable
from search.genome import Sides, with_sides

__all__ = ["LEARNED", "TREATMENTS", "Held", "Preparation", "by_fold", "prepare_members", "worthwhile"]

TREATMENTS: Mapping[str, tuple[str, ...]] = {
    "as they are": (),
    "calibrated": ("calibrate",),
    "corrected": ("correct",),
    "corrected and calibrated": ("correct", "calibrate"),
    "corrected, calibrated and weighted by side": ("correct", "calibrate", "weigh"),
}
"""What members may go through, in words, from nothing to all."""
LEARNED = {"all": None, "calibration": "calibrated", "nothing": "as they are"}
"""What a search may learn, and the treatment that it stands for; None for the one that helps a fusion."""

_FLAT: tuple[Step, ...] = (Wbf(iou=0.55), Wbf(iou=0.65), Wbf(iou=0.75), Nms(iou=0.6))
_REPLICATES = 300


class Held(NamedTuple):
    """A fold: ids of its images, and by name of the member the weights of its sides as learned without it."""

    image_id: np.ndarray
    box_weights: Mapping[str, Sides]


@dataclass(frozen=True, eq=False)
class Preparation:
    """Members made ready for fusion; m members.

    Attributes:
        treatment: What they go through, one of `TREATMENTS`.
        steps: By name of the member, the steps learned on the whole split.
        tables: The m members on the split: what each image's detections become by steps learned on the other folds, so
            that what is seen on them is not what they were learned on.
        box_weights: By name of the member, the weights of its sides in means, learned on the whole split; None where
            all are equal.
        held: For each fold the ids of its images, and these weights as learned without it; none where all are equal.
        AP: By treatment, the AP of the best flat fusion of all members so treated.
    """

    treatment: str
    steps: Mapping[str, tuple[Step, ...]]
    tables: tuple[DetectionTable, ...]
    box_weights: Mapping[str, Sides] | None
    held: tuple[Held, ...]
    AP: Mapping[str, float]


def prepare_members(
    tables: Sequence[DetectionTable],
    prepared: Prepared | PreparedOpenImages,
    fold: np.ndarray,
    treatment: str | None = None,
    *,
    weigh: bool = True,
    progress: Callable[[str], None] | None = None,
) -> Preparation:
    """Learn corrections of boxes, weights of their sides and calibrations of scores; take what helps a fusion.

    A member's own AP cannot tell whether a calibration helps, for it never changes; so every treatment is tried in flat
    fusions of all members, on images that were held back. A treatment is taken instead of a simpler one if its AP is
    higher by more than a standard error of the paired difference.

    Args:
        tables: One per member, with its name, on the images of the ground truth.
        prepared: Ground truth and protocol.
        fold: int64 [images], see `evaluation.folds.folds_of`.
        treatment: One of `TREATMENTS`; the best one when None.
        weigh: Whether that may weight sides, which nothing on a GPU does.
        progress: Told what is being done.
    """
    wanted = {treatment: TREATMENTS[treatment]} if treatment is not None else _possible(tables, weigh=weigh)
    kinds = sorted({kind for steps in wanted.values() for kind in steps})
    ways = dict.fromkeys(map(_of_members, wanted.values()))
    parts: dict[tuple[str, ...], list[list[DetectionTable]]] = {way: [[] for _ in tables] for way in ways}
    folds: list[Held] = []
    truth = prepared.ground_truth
    for number in np.unique(fold) if kinds else ():
        if progress is not None:
            progress(f"learning without fold {number + 1} of {fold.max() + 1}")
        rest = prepare(truth.subset(truth.image_id[fold != number]), prepared.protocol)
        held = truth.image_id[fold == number]
        learned = [_learn(table, rest, fold[fold != number], kinds) for table in tables]
        for place, table in enumerate(tables):
            for way, own in parts.items():
                own[place].append(_through(_taken(learned[place], way), table.select_images(held)))
        if "weigh" in kinds:
            folds.append(Held(held, _box_weights(learned)))
    made = {way: tuple(map(_joined, own)) if kinds else tuple(tables) for way, own in parts.items()}
    chosen = next(iter(wanted))
    figures: dict[str, float] = {}
    if len(wanted) > 1:
        results = {}
        for name, all_kinds in wanted.items():
            if progress is not None:
                progress(f"trying members {name}")
            ready = made[_of_members(all_kinds)]
            runs = (_flat(step, ready, folds if "weigh" in all_kinds else ()) for step in _FLAT)
            results[name] = max(map(prepared.evaluate, runs), key=lambda result: result.AP)
            figures[name] = float(results[name].AP)
        for name in list(wanted)[1:]:
            if worthwhile(results[chosen], results[name]):
                chosen = name
    if progress is not None:
        progress("learning on all images")
    way = _of_members(TREATMENTS[chosen])
    learned = [_learn(table, prepared, fold, way) for table in tables]
    steps = {str(table.metadata.member): _taken(own, way) for table, own in zip(tables, learned, strict=True)}
    weigh = "weigh" in TREATMENTS[chosen]
    box_weights = _box_weights(learned) if weigh else None
    return Preparation(chosen, steps, made[way], box_weights, tuple(folds) if weigh else (), figures)


def _of_members(kinds: Sequence[str]) -> tuple[str, ...]:
    """Return what of a treatment each member goes through by itself."""
    return tuple(kind for kind in kinds if kind != "weigh")


def _taken(learned: Mapping[str, Step], way: Sequence[str]) -> tuple[Step, ...]:
    return tuple(learned[kind] for kind in way if kind in learned)


def _possible(tables: Sequence[DetectionTable], *, weigh: bool) -> Mapping[str, tuple[str, ...]]:
    """Return the treatments to choose from: scores on unlike scales cannot stay as they are."""
    scales = {name: scale for table in tables for name, scale in scales_of(table).items()}
    must = set() if unlike(scales) is None else {"calibrate"}
    return {name: kinds for name, kinds in TREATMENTS.items() if must <= set(kinds) and (weigh or "weigh" not in kinds)}


def worthwhile(simple: Measured, rich: Measured) -> bool:
    """Whether a result is better than that of something simpler by more than a standard error of the difference.

    Args:
        simple: A result of the evaluation.
        rich: Another one on the same images.
    """
    if rich.AP <= simple.AP:
        return False
    one, other = (bootstrap(result, replicates=_REPLICATES, drawn=("AP",)) for result in (simple, rich))
    told = difference_of(one.observed["AP"], other.observed["AP"], one.values["AP"], other.values["AP"], one.units)
    return bool(told.value > told.error)


def _learn(
    table: DetectionTable, prepared: Prepared | PreparedOpenImages, fold: np.ndarray, kinds: Sequence[str]
) -> dict[str, Step]:
    name, truth = str(table.metadata.member), prepared.ground_truth
    seen = table.select_images(truth.image_id)
    learned: dict[str, Step] = {}
    if "correct" in kinds:
        groups = fold if len(np.unique(fold)) > 1 else None
        learned["correct"] = CorrectBoxes(corrections={name: learn_box_correction(seen, truth, groups=groups)})
    if "calibrate" in kinds and len(seen):
        learned["calibrate"] = Calibrate(maps={name: learn_calibration(seen, prepared)})
    return learned


def _box_weights(learned: Sequence[Mapping[str, Step]]) -> Mapping[str, Sides]:
    corrections: dict[str, BoxCorrection] = {}
    for own in learned:
        if isinstance(step := own["correct"], CorrectBoxes):
            corrections.update(step.corrections)
    return box_weights_of(corrections)


def by_fold(
    tables: Sequence[DetectionTable],
    folds: Sequence[Held],
    fuse: Callable[[Sequence[DetectionTable], Mapping[str, Sides] | None], DetectionTable],
) -> DetectionTable:
    """Fuse tables, the images of each fold with the weights of sides that were learned without it.

    Args:
        tables: One per member.
        folds: Those of `Preparation.held`; none where all sides are equal.
        fuse: Fuses tables with weights of their sides, or with none.
    """
    if not folds:
        return fuse(tables, None)
    return _joined([fuse([table.select_images(one.image_id) for table in tables], one.box_weights) for one in folds])


def _flat(step: Step, tables: Sequence[DetectionTable], folds: Sequence[Held]) -> DetectionTable:
    return by_fold(tables, folds, lambda part, sides: apply(step if sides is None else with_sides(step, sides), part))


def _through(steps: Sequence[Step], table: DetectionTable) -> DetectionTable:
    """Run steps on a member's table; the answer bears its name, as the table did."""
    name = table.metadata.member
    for step in steps:
        table = apply(step, table)
    return replace(
        table, arrow=table.arrow.drop_columns(list({"member"} & set(table.arrow.column_names)))
    ).with_metadata(member=name)


def _joined(parts: Sequence[DetectionTable]) -> DetectionTable:
    """Join tables of different images of one member."""
    arrow = pa.concat_tables([part.arrow for part in parts], promote_options="permissive").unify_dictionaries()
    return DetectionTable.from_arrow(arrow, parts[0].metadata, "members")
