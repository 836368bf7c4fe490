"""Ground truth of some of its categories."""

from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np

from evaluation.ground_truth import GroundTruth, Labels
from fusion.errors import InputError

__all__ = ["check_categories", "of_categories"]


def of_categories(truth: GroundTruth, category_ids: Collection[int]) -> GroundTruth:
    """Return ground truth of some of its categories: annotations and labels of others are gone, all images stay.

    Args:
        truth: The ground truth.
        category_ids: Ids, in any order; they stay what they are.

    Raises:
        InputError: If none is given, or one is unknown.
    """
    ids = truth.category_id.tolist()
    check_categories(category_ids, ids, truth.source)
    kept = np.flatnonzero(np.isin(truth.category_id, list(category_ids)))
    if len(kept) == len(ids):
        return truth
    place = np.full(len(ids), -1, np.int32)
    place[kept] = np.arange(len(kept), dtype=np.int32)
    some = truth.only(np.flatnonzero(place[truth.category] >= 0))
    rows = kept.tolist()
    return replace(
        some,
        category_id=truth.category_id[kept],
        category_name=tuple(truth.category_name[row] for row in rows),
        category=place[some.category],
        frequency=None if truth.frequency is None else tuple(truth.frequency[row] for row in rows),
        category_label=None if truth.category_label is None else tuple(truth.category_label[row] for row in rows),
        negative=_known(truth.negative, place),
        not_exhaustive=_known(truth.not_exhaustive, place),
        positive=_known(truth.positive, place),
    )


def check_categories(wanted: Collection[int], ids: Sequence[int], where: str) -> None:
    """Check that some categories are named, and all of them are among those that there are.

    Raises:
        InputError: If not.
    """
    unknown = sorted(set(wanted) - set(ids))
    if unknown or not wanted:
        raise InputError(
            where,
            f"has no category {unknown[0]}" if unknown else "no category was named",
            f"Its categories are {', '.join(map(str, ids[:8]))}{' ...' if len(ids) > 8 else ''}",
        )


def _known(labels: Labels | None, place: np.ndarray) -> Labels | None:
    """Return the labels of categories that have a place, under its number."""
    if labels is None:
        return None
    category = place[labels.category]
    before = np.concatenate(([0], np.cumsum(category >= 0)))
    return Labels(before[labels.start].astype(np.int64), category[category >= 0])
