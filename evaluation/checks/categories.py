"""Categories without objects, and with the same name."""

from collections.abc import Iterator

import numpy as np

from evaluation.checks.base import Subject, TruthFinding

__all__ = ["look"]


def look(subject: Subject) -> Iterator[TruthFinding]:
    """Find categories that nothing can be measured of, and names that stand for two."""
    truth = subject.truth
    k = len(truth.category_id)
    objects = np.bincount(truth.category[~truth.crowd], minlength=k)
    regions = np.bincount(truth.category[truth.crowd], minlength=k)
    bare = np.flatnonzero((objects == 0) & (regions == 0))
    if len(bare):
        yield TruthFinding(
            f"{len(bare):,} of {k:,} categories have no object",
            "they are left out of all means, and detections of them cost nothing",
            len(bare),
            examples=_some(subject, bare),
        )
    crowded = np.flatnonzero((objects == 0) & (regions > 0))
    if len(crowded):
        what = "group-of boxes" if truth.positive is not None else "crowd regions"
        yield TruthFinding(
            f"{len(crowded):,} categories have nothing but {what}",
            "by COCO and LVIS they are left out of all means, by Open Images a region counts as an object",
            len(crowded),
            examples=_some(subject, crowded),
        )
    names: dict[str, list[int]] = {}
    for place, name in enumerate(truth.category_name):
        names.setdefault(" ".join(name.casefold().replace("_", " ").split()), []).append(place)
    twice = np.array([place for places in names.values() if len(places) > 1 for place in places], np.int64)
    if len(twice):
        yield TruthFinding(
            f"{len(twice):,} categories share their name with another",
            "detections under the id of one are wrong for objects of the other, and each has its share of the mean",
            len(twice),
            changes=bool((objects[twice] > 0).any()),
            examples=_some(subject, twice),
        )


def _some(subject: Subject, places: np.ndarray) -> list[dict[str, object]]:
    truth = subject.truth
    return [{"category_id": int(truth.category_id[k]), "category": truth.category_name[k]} for k in places[:5].tolist()]
