"""Objects that are there twice."""

from collections.abc import Iterator

import numpy as np

from evaluation.checks.base import Subject, TruthFinding, at

__all__ = ["look"]


def look(subject: Subject) -> Iterator[TruthFinding]:
    """Find objects with the box (and mask) of another of their image: of the same category, and of another."""
    truth = subject.truth
    rows = np.flatnonzero(~truth.crowd & (truth.xywh[:, 2:] > 0).all(axis=1))
    keys = np.column_stack([truth.image[rows], truth.xywh[rows], truth.category[rows]])
    masks = None if truth.positive is not None else truth.masks
    if masks is not None:  # people share the box of what they carry: with masks, these have to be equal too
        texts = masks.field("counts").to_pylist()
        number = {text: place for place, text in enumerate(dict.fromkeys(texts))}
        keys = np.insert(keys, 5, [number[texts[row]] for row in rows.tolist()], axis=1)
    twice = rows[_later(keys)]
    if len(twice):
        share = "box and mask" if masks is not None else "box"
        yield TruthFinding(
            f"{len(twice):,} objects have the same {share} as another of their category in the image",
            "a detection finds one of them: the other is missed, or a double detection is right",
            len(twice),
            changes=True,
            examples=at(truth, twice),
            mended=lambda: truth.only(np.setdiff1d(np.arange(len(truth)), twice)),
        )
    others = np.setdiff1d(rows[_later(keys[:, :-1])], twice)
    if len(others):
        yield TruthFinding(
            f"{len(others):,} objects have the same box as one of another category in the image",
            "each is an object of its own: a detector has to name both categories",
            len(others),
            examples=at(truth, others),
        )


def _later(keys: np.ndarray) -> np.ndarray:
    """Return the places of rows that an earlier one is equal to."""
    first = np.unique(keys, axis=0, return_index=True)[1]
    return np.setdiff1d(np.arange(len(keys)), first)
