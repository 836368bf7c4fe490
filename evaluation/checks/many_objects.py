"""More objects of a category in an image than detections count."""

from collections.abc import Iterator

import numpy as np

from evaluation.checks.base import Subject, TruthFinding

__all__ = ["look"]


def look(subject: Subject) -> Iterator[TruthFinding]:
    """Find images that even a perfect detector cannot find all objects of."""
    truth, k = subject.truth, len(subject.truth.category_id)
    cell = truth.image.astype(np.int64) * k + truth.category
    cells, counts = np.unique(cell[~truth.crowd], return_counts=True)
    over = np.flatnonzero(counts > subject.caps)
    if len(over):
        lost = int((counts[over] - subject.caps).sum())
        order = over[np.argsort(-counts[over], kind="stable")][:5]
        yield TruthFinding(
            f"{len(over):,} times an image has more than {subject.caps} objects of a category",
            f"no more than {subject.caps} detections count there: {lost:,} objects are missed by every detector",
            len(over),
            changes=True,
            examples=[
                {
                    "image": truth.image_id[cells[n] // k],
                    "category": truth.category_name[cells[n] % k],
                    "objects": int(counts[n]),
                }
                for n in order.tolist()
            ],
        )
