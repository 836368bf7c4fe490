"""Areas that are not those of the masks or boxes."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from evaluation.checks.base import Subject, TruthFinding, at
from evaluation.protocol import AREA_RANGES
from fusion.errors import InputError

__all__ = ["look"]

_SHARE = 0.1


def look(subject: Subject) -> Iterator[TruthFinding]:
    """Find areas that differ by more than a tenth from the mask's, or from w * h where there is none."""
    truth, masks = subject.truth, subject.masks
    if truth.unit != "pixel" or truth.positive is not None:
        return  # Open Images has no areas
    true = truth.xywh[:, 2] * truth.xywh[:, 3]
    if masks is not None and not isinstance(masks, InputError):
        true[masks.rows] = masks.runs.area
    off = ~truth.crowd & (np.abs(truth.area - true) > np.maximum(_SHARE * true, 1))
    ranges = list(AREA_RANGES.values())[1:]
    moved = off & np.any(
        [((truth.area < low) | (truth.area > high)) != ((true < low) | (true > high)) for low, high in ranges], axis=0
    )
    same, other = np.flatnonzero(off & ~moved), np.flatnonzero(moved)
    of = "that of their mask (of w * h without one)" if masks is not None else "w * h"
    if len(other):
        yield TruthFinding(
            f"{len(other):,} objects have an area in another range of sizes than {of}",
            "they count as small, medium or large where they are not: APs, APm, APl and so on are of other objects",
            len(other),
            changes=True,
            examples=at(truth, other),
            mended=lambda: replace(truth, area=np.where(moved, true, truth.area)),
            figures=("APs", "APm", "APl"),
        )
    if len(same):
        yield TruthFinding(
            f"{len(same):,} objects have an area more than a tenth off {of}, in the same range of sizes",
            "no figure depends on it",
            len(same),
            examples=at(truth, same),
        )
