"""Few objects of many categories."""

from collections.abc import Iterator

import numpy as np

from evaluation.checks.base import Subject, TruthFinding

__all__ = ["look"]

_FEW, _RATIO = 10, 100


def look(subject: Subject) -> Iterator[TruthFinding]:
    """Find categories whose figures rest on a handful of objects, and how unequal they are."""
    truth = subject.truth
    objects = np.bincount(truth.category[~truth.crowd], minlength=len(truth.category_id))
    measured = np.flatnonzero(objects)
    rare = measured[objects[measured] < _FEW]
    if len(measured) < 2 or (not len(rare) and objects.max() < _RATIO * objects[measured].min()):
        return
    most = int(objects.argmax())
    least = int(measured[objects[measured].argmin()])
    yield TruthFinding(
        f"{len(rare):,} of {len(measured):,} categories have less than {_FEW} objects; {truth.category_name[most]!r} "
        f"has {objects[most]:,}, {truth.category_name[least]!r} {objects[least]:,}",
        "each category weighs the same in the mean, so that it rests on few objects; `quorum compare` gives intervals",
        len(rare),
        examples=[{"category": truth.category_name[k], "objects": int(objects[k])} for k in rare[:5].tolist()],
    )
