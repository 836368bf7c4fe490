"""What a search works on: members in the order of their AP, on the images of each split."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from evaluation.analysis.members import analyze_members
from evaluation.folds import folds_of
from evaluation.ground_truth import GroundTruth
from evaluation.kernels.open_images import TRUE
from evaluation.learning import tuned_on
from evaluation.open_images import PreparedOpenImages
from evaluation.prepared import Prepared, prepare
from evaluation.protocol import Coco, Lvis, OpenImages
from fusion.errors import InputError
from fusion.recipe import Recipe
from fusion.score_models import ScoreModel
from fusion.table import DetectionTable
from search.engine import category_chunks
from search.genome import Genome, recipe_of
from search.preparation import Preparation, by_fold, prepare_members
from search.sheet import FoldSides

__all__ = ["CategoryAp", "Problem", "Side", "agreement", "pose"]

_CHUNKS = 5


@dataclass(frozen=True, eq=False)
class Side:
    """One split.

    Attributes:
        name: Such as "search" or "verify".
        prepared: Its ground truth.
        tables: The members' detections on its images as imported, in the order of the leaves.
    """

    name: str
    prepared: Prepared | PreparedOpenImages
    tables: tuple[DetectionTable, ...]

    @property
    def truth(self) -> GroundTruth:
        """Its ground truth."""
        return self.prepared.ground_truth

    @property
    def category_ids(self) -> np.ndarray:
        """int32 [k], the categories measured, ascending."""
        return self.truth.category_id


@dataclass(frozen=True, eq=False)
class CategoryAp:
    """Tells the AP of some categories; what the engine measures with."""

    prepared: Prepared | PreparedOpenImages

    def __call__(self, table: DetectionTable, category_ids: np.ndarray) -> np.ndarray:
        """Return float64 [c], NaN without ground truth."""
        prepared = self.prepared
        if isinstance(prepared, PreparedOpenImages):
            figures = prepared.evaluate(table).average_precision_per_category
        else:
            figures = prepared.average_precision_per_category(table)
        chosen: np.ndarray = figures[np.searchsorted(prepared.ground_truth.category_id, category_ids)]
        return chosen


@dataclass(frozen=True, eq=False)
class Problem:
    """Members and splits.

    Attributes:
        names: Of the members, the one with the highest AP on the search split first.
        member_ap: float64 [m], their AP on the search split.
        preparation: What each member goes through first, learned on the search split.
        fold: int64 [images of the search split], the fold that each is held back in.
        search: The split that candidates are measured on.
        others: Splits that nothing is learned on: "verify" first.
    """

    names: tuple[str, ...]
    member_ap: np.ndarray
    preparation: Preparation
    fold: np.ndarray
    search: Side
    others: tuple[Side, ...]

    def __repr__(self) -> str:
        splits = ", ".join(f"{side.name} {len(side.truth.image_id):,} images" for side in (self.search, *self.others))
        return f"Problem({len(self.names)} members; {splits})"

    @property
    def origin(self) -> dict[str, Any]:
        """What trials depend on besides the genome, for the journal."""
        sides = self.sides
        weighed = {} if sides is None else {"sides": hashlib.sha256(sides.weight.tobytes()).hexdigest()}
        return {
            "members": list(self.names),
            "detections": [len(table) for table in self.search.tables],
            "ground truth": self.search.truth.fingerprint,
            "protocol": repr(self.search.prepared.protocol),
            "learned": self.preparation.treatment,
            "folds": hashlib.sha256(self.fold.tobytes()).hexdigest(),
            **weighed,
        }

    @property
    def chunks(self) -> list[np.ndarray]:
        """Category ids of each chunk that a candidate is measured on in turn."""
        ids = self.search.category_ids
        if isinstance(self.search.prepared.protocol, Lvis):
            return [ids]  # the cap of an image looks at all of its categories
        counts = np.zeros(len(ids), np.int64)
        for table in self.search.tables:
            place = np.searchsorted(ids, table.category_id)
            known = ids[np.minimum(place, len(ids) - 1)] == table.category_id
            counts += np.bincount(place[known], minlength=len(ids))
        return category_chunks(ids, counts, _CHUNKS)

    def fused(self, genome: Genome) -> DetectionTable:
        """Fuse the members on the search split as a candidate does, each image by what was learned without its fold."""
        made = self.preparation
        return by_fold(
            made.tables,
            made.held,
            lambda tables, sides: recipe_of(genome, self.names, box_weights=sides).fuse(tables),
        )

    @property
    def sides(self) -> FoldSides | None:
        """Weights of the sides of each member's boxes in means on the search split; None where all are equal."""
        folds = self.preparation.held
        if not folds:
            return None
        weight = np.array([[one.box_weights[name] for name in self.names] for one in folds])
        return FoldSides(weight, self.search.truth.image_id, self.fold)

    def recipe(self, genome: Genome, model: ScoreModel | None = None) -> Recipe:
        """Return the recipe of a candidate, to be replayed on tables of the members as imported.

        Args:
            genome: The candidate.
            model: Scores its boxes.
        """
        origin = tuned_on(self.search.truth, "auto-ensemble search")
        made = self.preparation
        return recipe_of(
            genome,
            self.names,
            leaf_steps=made.steps,
            box_weights=made.box_weights,
            model=model,
            tuned_on=origin,
        )


def pose(
    tables: Sequence[DetectionTable],
    truth: GroundTruth,
    splits: Mapping[str, np.ndarray],
    protocol: Coco | Lvis | OpenImages,
    *,
    treatment: str | None = None,
    groups: Sequence[object] | np.ndarray | None = None,
    weigh: bool = True,
    progress: Callable[[str], None] | None = None,
) -> Problem:
    """Cut members and ground truth into splits, order the members, and learn what they go through first.

    Args:
        tables: One per member, each with its name.
        truth: Ground truth of all images.
        splits: Image ids by name of split; the first is searched on.
        protocol: What is measured.
        treatment: What members go through, one of `search.preparation.TREATMENTS`; what helps a fusion when None.
            Weights of a tree are factors, which cannot bring score scales of different shape together.
        groups: [images] label of each image of `truth`; those of one are held back together.
        weigh: Whether sides of boxes may be weighted, which nothing on a GPU does.
        progress: Told what is being done.

    Raises:
        InputError: If there are fewer than two splits, or they share images.
    """
    if len(splits) < 2:
        raise InputError("splits", f"expected at least two, got {list(splits)}", "Give --split search,verify")
    taken: dict[Any, str] = {}
    for name, ids in splits.items():
        for image in ids.tolist():
            if image in taken:
                raise InputError("splits", f"image {image!r} is in {taken[image]!r} and in {name!r}", "Deal it once")
            taken[image] = name
    names = [str(table.metadata.member) for table in tables]
    sides = []
    for name, ids in splits.items():
        part = truth.subset(ids)
        chosen = tuple(table.select_images(part.image_id) for table in tables)
        sides.append(Side(name, prepare(part, protocol), chosen))
    figures = [sides[0].prepared.evaluate(table).AP for table in sides[0].tables]
    order = np.argsort(-np.array(figures), kind="stable")
    ranked = [Side(side.name, side.prepared, tuple(side.tables[i] for i in order)) for side in sides]
    own = None if groups is None else np.asarray(groups)[np.isin(truth.image_id, ranked[0].truth.image_id)]
    fold = folds_of(ranked[0].truth, own)
    return Problem(
        names=tuple(names[i] for i in order),
        member_ap=np.array(figures)[order],
        preparation=prepare_members(
            ranked[0].tables, ranked[0].prepared, fold, treatment, weigh=weigh, progress=progress
        ),
        fold=fold,
        search=ranked[0],
        others=tuple(ranked[1:]),
    )


def agreement(side: Side) -> np.ndarray:
    """Return how much members agree: the share of the objects that either finds which both find.

    By COCO and LVIS objects are found at IoU .5; by Open Images, at the protocol's threshold, they are known by
    number only: of a category in an image both find as many as the one that finds fewer.

    Returns:
        float64 [m, m].
    """
    if isinstance(side.prepared, PreparedOpenImages):
        return _agreement_in_numbers(side.prepared, side.tables)
    _, jaccard, _ = analyze_members(side.tables, side.prepared).agreement()
    likeness: np.ndarray = np.nan_to_num(jaccard)
    return likeness


def _agreement_in_numbers(prepared: PreparedOpenImages, tables: Sequence[DetectionTable]) -> np.ndarray:
    width = len(prepared.ground_truth.category_id)
    keys = []
    for table in tables:
        outcomes = prepared.evaluate(table).outcomes
        if outcomes is None:
            raise TypeError("the evaluation of a table keeps its outcomes")
        true = outcomes.outcome == TRUE
        keys.append(outcomes.image[true] * np.int64(width) + outcomes.category[true])
    cells = np.unique(np.concatenate(keys))
    counts = np.stack([np.bincount(np.searchsorted(cells, key), minlength=len(cells)) for key in keys])
    both = np.array([[np.minimum(a, b).sum() for b in counts] for a in counts])
    either = counts.sum(axis=1)[:, None] + counts.sum(axis=1) - both
    likeness: np.ndarray = both / np.maximum(either, 1)
    return likeness
