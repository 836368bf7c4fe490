"""Boxes without area, and thinner than a pixel."""

from collections.abc import Iterator

import numpy as np

from evaluation.checks.base import Subject, TruthFinding, at

__all__ = ["look"]


def look(subject: Subject) -> Iterator[TruthFinding]:
    """Find boxes without width or height, and those thinner than a pixel."""
    truth = subject.truth
    counted = ~truth.crowd
    thin = truth.xywh[:, 2:].min(axis=1, initial=np.inf)
    empty = np.flatnonzero(counted & (thin <= 0))
    if len(empty):
        yield TruthFinding(
            f"{len(empty):,} objects have a box without width or height",
            "no detection overlaps them, so they count as missed (LVIS leaves out those whose area is 0 as well)",
            len(empty),
            changes=True,
            examples=at(truth, empty),
            mended=lambda: truth.only(np.setdiff1d(np.arange(len(truth)), empty)),
        )
    narrow = np.flatnonzero(counted & (thin > 0) & (thin < 1)) if truth.unit == "pixel" else empty[:0]
    if len(narrow):
        yield TruthFinding(
            f"{len(narrow):,} objects have a box thinner than a pixel",
            "they count as objects, which hardly any detector finds; boxes in shares of the image look alike",
            len(narrow),
            examples=at(truth, narrow),
        )
