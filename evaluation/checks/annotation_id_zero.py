"""Annotation id 0."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from evaluation.checks.base import Subject, TruthFinding, at
from evaluation.coco_ground_truth import ID_ZERO
from evaluation.ground_truth import GroundTruth

__all__ = ["look"]


def look(subject: Subject) -> Iterator[TruthFinding]:
    """Find an annotation whose id stands for "no match" in pycocotools and lvis-api."""
    truth = subject.truth
    rows = np.flatnonzero(truth.annotation_id == 0)
    if len(rows) and truth.positive is None and not truth.crowd[rows].all():
        yield TruthFinding(
            ID_ZERO,
            "the object counts as never found, and what finds it as wrong; number annotations from 1",
            len(rows),
            changes=True,
            examples=at(truth, rows),
            mended=lambda: _renumbered(truth, rows),
        )


def _renumbered(truth: GroundTruth, rows: np.ndarray) -> GroundTruth:
    ids = truth.annotation_id.copy()
    ids[rows] = ids.max() + 1
    return replace(truth, annotation_id=ids)
