"""Crowd regions that are objects as well."""

from collections.abc import Iterator

import numpy as np

from evaluation.checks.base import Subject, TruthFinding, at

__all__ = ["look"]


def look(subject: Subject) -> Iterator[TruthFinding]:
    """Find crowd regions with the box of an object of their category, and regions without area."""
    truth = subject.truth
    if truth.positive is not None or not truth.crowd.any():
        return
    keys = np.column_stack([truth.image, truth.category, truth.xywh])
    objects = set(map(tuple, keys[~truth.crowd].tolist()))
    regions = np.flatnonzero(truth.crowd)
    both = np.array([row for row in regions.tolist() if tuple(keys[row].tolist()) in objects], np.int64)
    if len(both):
        yield TruthFinding(
            f"{len(both):,} crowd regions have the box of an object of their category",
            "further detections of the object are ignored there, and not wrong",
            len(both),
            changes=True,
            examples=at(truth, both),
            mended=lambda: truth.only(np.setdiff1d(np.arange(len(truth)), both)),
        )
    empty = regions[(truth.xywh[regions, 2:] <= 0).any(axis=1)]
    if len(empty):
        yield TruthFinding(
            f"{len(empty):,} crowd regions have a box without width or height",
            "they ignore nothing by boxes",
            len(empty),
            examples=at(truth, empty),
        )
