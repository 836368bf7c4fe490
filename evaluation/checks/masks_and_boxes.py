"""Masks that cannot be read, are empty, of another size than their image, or do not fit their boxes."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from evaluation.checks.base import Subject, TruthFinding, at
from evaluation.ground_truth import GroundTruth
from fusion.errors import InputError

__all__ = ["look"]

_PIXELS, _SHARE = 3.0, 0.1  # sides that differ by more, both in pixels and of the box's own side


def look(subject: Subject) -> Iterator[TruthFinding]:
    """Compare each mask with the image and the box that it belongs to."""
    truth, masks = subject.truth, subject.masks
    if isinstance(masks, InputError):
        yield TruthFinding(str(masks).rstrip("."), "masks cannot be measured before it is mended", 1, changes=True)
        return
    if masks is None or truth.unit != "pixel":
        return
    rows, runs = masks.rows, masks.runs
    counted = ~truth.crowd[rows]
    empty = rows[counted & (runs.area == 0)]
    if len(empty):
        yield TruthFinding(
            f"{len(empty):,} objects have a mask without a pixel",
            "by masks no detection overlaps them, so they count as missed",
            len(empty),
            changes=True,
            examples=at(truth, empty),
        )
    width, height = truth.width[truth.image[rows]], truth.height[truth.image[rows]]
    sized = (width > 0) & (height > 0)
    other = rows[sized & ((runs.width != width) | (runs.height != height))]
    if len(other):
        yield TruthFinding(
            f"{len(other):,} masks are of another size than their image",
            "by masks no detection of the image's size overlaps them, so they count as missed",
            len(other),
            changes=True,
            examples=at(truth, other),
        )
    x1, y1, x2, y2 = runs.box.T
    x, y, w, h = truth.xywh[rows].T
    off = np.maximum.reduce([np.abs(x1 - x), np.abs(y1 - y), np.abs(x2 - x - w), np.abs(y2 - y - h)])
    wrong = counted & (runs.area > 0) & (off > _PIXELS) & (off > _SHARE * np.minimum(w, h))
    if wrong.any():
        unfit = rows[wrong]

        def fitted() -> GroundTruth:
            boxes = truth.xywh.copy()
            boxes[unfit] = np.stack([x1, y1, x2 - x1, y2 - y1], axis=1)[wrong]
            return replace(truth, xywh=boxes, far=None)

        yield TruthFinding(
            f"{len(unfit):,} objects have a box that does not fit their mask: a side is off by more than "
            f"{_PIXELS:g} pixels and a tenth of the box",
            "figures by boxes and by masks are of different objects; one of the two is wrong",
            len(unfit),
            changes=True,
            examples=at(truth, unfit),
            mended=fitted,
        )
