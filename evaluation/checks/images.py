"""Images without size, and files that stand for two images."""

from collections.abc import Iterator

import numpy as np

from evaluation.checks.base import Subject, TruthFinding, images_named

__all__ = ["look"]


def look(subject: Subject) -> Iterator[TruthFinding]:
    """Find images without width and height, of a shared file name, and without objects."""
    truth = subject.truth
    sizeless = np.flatnonzero((truth.width <= 0) | (truth.height <= 0))
    if len(sizeless) and truth.unit == "pixel":
        yield TruthFinding(
            f"{len(sizeless):,} images have no width or height",
            "no figure by boxes depends on it; polygons, normalized results and boxes that leave the image need it",
            len(sizeless),
            examples=images_named(truth, sizeless),
        )
    names, _first, count = np.unique(truth.file_name.astype(str), return_index=True, return_counts=True)
    shared = np.flatnonzero(np.isin(truth.file_name.astype(str), names[(count > 1) & (names != "")]))
    if len(shared):
        yield TruthFinding(
            f"{len(shared):,} images share their file name with another",
            "a picture that is there twice counts twice in every figure",
            len(shared),
            changes=True,
            examples=images_named(truth, shared),
        )
    bare = np.flatnonzero(np.bincount(truth.image, minlength=len(truth.image_id)) == 0)
    if len(bare) and truth.negative is None:
        yield TruthFinding(
            f"{len(bare):,} of {len(truth.image_id):,} images have no annotation",
            "all that is found there is wrong; right where there is nothing, and not where nobody has looked",
            len(bare),
            examples=images_named(truth, bare),
        )
