"""From matches to average precision in the Open Images protocol, in memory bounded by the ground truth."""

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from evaluation.kernels.open_images import TRUE
from evaluation.kernels.open_images_curve import count_false, curve_terms

__all__ = ["KEY_BITS", "Outcomes", "TrueEntries", "Trues", "average_precision", "keys_of", "true_entries"]

KEY_BITS = 32
"""Of a key, for the place in the image."""


class Outcomes(NamedTuple):
    """Detections and what became of them, sorted by image.

    Attributes:
        start: int64 [images + 1], offsets of the images.
        image: int32 [n], dense index.
        category: int32 [n], dense index; -1 for one the ground truth does not have.
        score: float64 [n].
        outcome: uint8 [n]: left out, false or true.
    """

    start: np.ndarray
    image: np.ndarray
    category: np.ndarray
    score: np.ndarray
    outcome: np.ndarray


class TrueEntries(NamedTuple):
    """True positives, and group-of regions that absorbed a detection.

    Attributes:
        category: int32 [t].
        score: float64 [t].
        key: int64 [t], image and place in it: among equal scores the smaller one comes first.
        label: float64 [t], what it adds to the true positives: 1, or the weight of a region.
    """

    category: np.ndarray
    score: np.ndarray
    key: np.ndarray
    label: np.ndarray


def keys_of(outcomes: Outcomes, rows: np.ndarray) -> np.ndarray:
    """Return image and place in it of some rows, int64: the order of equal scores."""
    image = outcomes.image[rows].astype(np.int64)
    return np.asarray((image << KEY_BITS) | (rows - outcomes.start[image]))


def true_entries(
    outcomes: Outcomes, truth_image: np.ndarray, truth_category: np.ndarray, group_score: np.ndarray, weight: float
) -> TrueEntries:
    """Collect the true entries of some images.

    Args:
        outcomes: Detections of these images.
        truth_image: int32 [g], image of the ground truth.
        truth_category: int32 [g].
        group_score: float64 [g], best score that a region absorbed; 0 where it absorbed none.
        weight: Of a region.

    Returns:
        The entries, in no order.
    """
    rows = np.flatnonzero(outcomes.outcome == TRUE)
    # a region counts only where its score and its weight are above 0
    groups = np.flatnonzero(group_score > 0) if weight > 0 else np.zeros(0, np.int64)
    image = truth_image[groups].astype(np.int64)
    # regions follow all detections of their image
    after = outcomes.start[image + 1] - outcomes.start[image] + groups - np.searchsorted(truth_image, image)
    return TrueEntries(
        np.concatenate((outcomes.category[rows], truth_category[groups])),
        np.concatenate((outcomes.score[rows], group_score[groups])),
        np.concatenate((keys_of(outcomes, rows), (image << KEY_BITS) | after)),
        np.concatenate((np.ones(len(rows)), np.full(len(groups), weight))),
    )


@dataclass(frozen=True, eq=False)
class Trues:
    """True entries by category, score descending, image, place in the image; and the false ones between them.

    Attributes:
        place: int64 [k + 1], offsets of the categories.
        entries: The entries.
        between: int64 [t + k], false positives after i of category k's entries at place[k] + k + i.
        counts: int64 [k], detections evaluated.
    """

    place: np.ndarray
    entries: TrueEntries
    between: np.ndarray = field(repr=False)
    counts: np.ndarray = field(repr=False)

    @classmethod
    def of(cls, entries: TrueEntries, categories: int) -> "Trues":
        """Sort entries; no false ones yet."""
        order = np.lexsort((entries.key, -entries.score, entries.category))
        ordered = TrueEntries(*(column[order] for column in entries))
        place = np.searchsorted(ordered.category, np.arange(categories + 1)).astype(np.int64)
        return cls(place, ordered, np.zeros(len(order) + categories, np.int64), np.zeros(categories, np.int64))

    def add_false(self, outcomes: Outcomes) -> bool:
        """Count the false positives of some images; return whether one has the score of a true entry."""
        return bool(count_false(*outcomes, self.place, self.entries.score, self.entries.key, self.between, self.counts))

    def average_precision(self, positives: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
        """Return the area under each category's curve, its highest recall, and more; see `average_precision`."""
        return average_precision(self.place, self.entries.label, self.between, positives)


def average_precision(
    place: np.ndarray, label: np.ndarray, between: np.ndarray, positives: np.ndarray
) -> tuple[np.ndarray, np.ndarray, int]:
    """Return the area under each category's curve, its highest recall, and whether rounding took it above 1.

    Args:
        place: int64 [k + 1], offsets of the categories.
        label: float64 [t], of the true entries, in order.
        between: int64 [t + k], as of `Trues`.
        positives: float64 [k], ground truth that counts.

    Returns:
        float64 [k] twice, NaN where there is no ground truth; and the number of categories whose curve is cut off, as
        officially, where weights of regions added up to more than the ground truth.
    """
    categories = len(positives)
    # a strip more than entries: the one after the last
    terms = np.zeros(len(label) + categories)
    ends = np.zeros(categories, np.int64)
    recall = np.empty(categories)
    beyond = curve_terms(place, label, between, positives, terms, ends, recall)
    starts = place[:-1] + np.arange(categories)
    # NumPy's own sum, category by category: it adds in pairs, and so does the official figure
    areas = [terms[low:high].sum() for low, high in zip(starts.tolist(), ends.tolist(), strict=True)]
    return np.where(np.isnan(recall), np.nan, areas), recall, int(beyond)
