"""Labels of images that contradict the objects."""

from collections.abc import Iterator

import numpy as np

from evaluation.checks.base import Subject, TruthFinding, at

__all__ = ["look"]


def look(subject: Subject) -> Iterator[TruthFinding]:
    """Find objects of categories that their image is said not to have."""
    truth, k = subject.truth, len(subject.truth.category_id)
    if truth.negative is None:
        return
    image = np.repeat(np.arange(len(truth.image_id)), np.diff(truth.negative.start))
    absent = image * k + truth.negative.category
    rows = np.flatnonzero(np.isin(truth.image.astype(np.int64) * k + truth.category, absent))
    if len(rows):
        yield TruthFinding(
            f"{len(rows):,} objects are of a category that their image is said not to have",
            "the objects count all the same: one of the two is wrong",
            len(rows),
            examples=at(truth, rows),
        )
