"""What a check is given, and what it finds."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from evaluation.columns import MaskRuns
from evaluation.ground_truth import GroundTruth
from evaluation.pairs import decode_masks
from fusion.errors import InputError
from fusion.masks import mask_text, taken

__all__ = ["DecodedMasks", "Subject", "TruthFinding", "at", "images_named"]

_SHOWN = 5


@dataclass(frozen=True)
class TruthFinding:
    """Something unusual.

    Attributes:
        what: What was found, in words.
        effect: What of it changes the official figures, and how.
        count: How many.
        changes: Whether it changes official figures.
        examples: Some of them: ids of annotations and images, and names of categories.
        mended: Makes the ground truth without it, to measure what it does; None where nothing can be mended.
        official: The ground truth as the official code takes it, where that is not what it says.
        figures: Figures that it changes.
        check: Name of the check; filled in by `check_truth`.
        measured: Those figures by detector and name: as it is, and mended; filled in by `check_truth`.
    """

    what: str
    effect: str
    count: int
    changes: bool = False
    examples: Sequence[Mapping[str, Any]] = ()
    mended: Callable[[], GroundTruth] | None = field(default=None, repr=False)
    official: GroundTruth | None = field(default=None, repr=False)
    figures: tuple[str, ...] = ("AP",)
    check: str = ""
    measured: Mapping[str, Mapping[str, tuple[float, float]]] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """Name of the check in words."""
        return self.check.replace("_", " ")

    def to_dict(self) -> dict[str, Any]:
        """Return all of it, ready for JSON."""
        measured = {
            detector: {
                name: {"as_it_is": _none(given), "mended": _none(mended)} for name, (given, mended) in figures.items()
            }
            for detector, figures in self.measured.items()
        }
        return {
            "check": self.check,
            "changes_figures": self.changes,
            "count": self.count,
            "what": self.what,
            "effect": self.effect,
            "examples": [dict(example) for example in self.examples],
            "measured": measured,
        }


@dataclass(frozen=True, eq=False)
class DecodedMasks:
    """Decoded masks of some annotations.

    Attributes:
        rows: int64 [n], annotations that have one.
        runs: Their masks.
    """

    rows: np.ndarray
    runs: MaskRuns


@dataclass(frozen=True, eq=False)
class Subject:
    """What is looked at.

    Attributes:
        truth: Ground truth.
        caps: Detections that count of an image and category.
        beside: File names of the images of other splits, by name of the split.
        lists: int64 places of the images of lists of this ground truth, by name of the list.
    """

    truth: GroundTruth
    caps: int = 100
    beside: Mapping[str, Sequence[str]] = field(default_factory=dict)
    lists: Mapping[str, np.ndarray] = field(default_factory=dict)

    @cached_property
    def sides(self) -> tuple[np.ndarray, np.ndarray]:
        """Width and height of the image of each annotation in the unit of the boxes, float64 [a]; NaN where unknown."""
        if self.truth.unit == "normalized":
            return np.ones(len(self.truth)), np.ones(len(self.truth))
        width, height = (side[self.truth.image].astype(np.float64) for side in (self.truth.width, self.truth.height))
        return np.where(width > 0, width, np.nan), np.where(height > 0, height, np.nan)

    @cached_property
    def masks(self) -> DecodedMasks | InputError | None:
        """Decoded masks; None where no annotation has one, an error where one cannot be read."""
        try:
            given = self.truth.masks
            if given is None:
                return None
            rows = np.flatnonzero(given.is_valid().to_numpy(zero_copy_only=False))
            where = f"{self.truth.source}, annotation"
            return DecodedMasks(rows, decode_masks(mask_text(taken(given, rows)), where, rows))
        except InputError as error:
            return error


def at(truth: GroundTruth, rows: np.ndarray) -> list[dict[str, Any]]:
    """Return the first of some annotations, by id, with image and category."""
    first = rows[:_SHOWN]
    ids, images = truth.annotation_id[first].tolist(), truth.image_id[truth.image[first]].tolist()
    names = [truth.category_name[k] for k in truth.category[first].tolist()]
    return [{"annotation": i, "image": j, "category": k} for i, j, k in zip(ids, images, names, strict=True)]


def images_named(truth: GroundTruth, places: np.ndarray) -> list[dict[str, Any]]:
    """Return the first of some images, by id and file name."""
    first = places[:_SHOWN]
    return [
        {"image": image, "file_name": name}
        for image, name in zip(truth.image_id[first].tolist(), truth.file_name[first].tolist(), strict=True)
    ]


def _none(value: float) -> float | None:
    return None if value != value or value < 0 else value
