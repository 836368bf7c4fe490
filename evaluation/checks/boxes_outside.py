"""Boxes that leave their image."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from evaluation.checks.base import Subject, TruthFinding, at
from evaluation.coco_ground_truth import beyond
from evaluation.ground_truth import GroundTruth

__all__ = ["look"]

_SLACK = 1.0  # pixel: annotators round


def look(subject: Subject) -> Iterator[TruthFinding]:
    """Find boxes that are outside their image, or reach out of it by more than a pixel."""
    truth = subject.truth
    width, height = subject.sides
    x, y, w, h = truth.xywh.T
    away = (x >= width) | (y >= height) | (x + w <= 0) | (y + h <= 0)
    away &= (w > 0) & (h > 0)
    slack = _SLACK if truth.unit == "pixel" else 1e-6
    out = beyond(truth, 0.0) & ((x < -slack) | (y < -slack) | (x + w > width + slack) | (y + h > height + slack))
    gone, over = np.flatnonzero(away & ~truth.crowd), np.flatnonzero(out & ~away & ~truth.crowd)
    if len(gone):
        yield TruthFinding(
            f"{len(gone):,} objects lie outside their image altogether",
            "no detector finds them, so they count as missed; are images exchanged, or sizes wrong?",
            len(gone),
            changes=True,
            examples=at(truth, gone),
            mended=lambda: truth.only(np.setdiff1d(np.arange(len(truth)), gone)),
        )
    if len(over):

        def clipped() -> GroundTruth:
            corners = np.stack([x, y, x + w, y + h], axis=1)[over]
            sides = np.stack([width, height, width, height], axis=1)[over]
            corners = np.clip(corners, 0, sides)
            boxes = truth.xywh.copy()
            boxes[over] = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)
            return replace(truth, xywh=boxes, far=None)

        yield TruthFinding(
            f"{len(over):,} objects reach out of their image by more than a pixel",
            "detections end at the border, so they overlap these boxes less, and miss high IoU thresholds",
            len(over),
            changes=True,
            examples=at(truth, over),
            mended=clipped,
        )
