"""The confusion matrix: what objects are taken for."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from evaluation.analysis.overlaps import NOTHING, Overlaps
from evaluation.prepared import Prepared

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Confusion", "confusion_matrix", "confusion_of"]


@dataclass(frozen=True, eq=False)
class Confusion:
    """Counts of objects by their category and that of the detection that got them.

    Attributes:
        matrix: int64 [k + 1, k + 1]: row the object's category, column the detection's. The last row
            holds detections without an object, the last column objects without a detection.
        category_ids: int32 [k].
        category_names: Their names.
        iou: The IoU threshold.
        least_score: Detections with a lower score were left out.
    """

    matrix: np.ndarray
    category_ids: np.ndarray
    category_names: tuple[str, ...]
    iou: float
    least_score: float

    def to_frame(self) -> "pd.DataFrame":
        """Return the cells that are not 0, largest first: object, detection (names, "background"), count, share.

        The share is of the objects of the row's category; NaN in the row of the background.
        """
        import pandas as pd

        row, column = np.nonzero(self.matrix)
        count = self.matrix[row, column]
        names = np.array([*self.category_names, "background"], dtype=object)
        total = self.matrix.sum(axis=1).astype(np.float64)
        total[-1] = np.nan
        order = np.argsort(-count, kind="stable")
        columns = {"object": names[row], "detection": names[column], "count": count, "share": count / total[row]}
        return pd.DataFrame(columns).iloc[order].reset_index(drop=True)


def confusion_matrix(overlaps: Overlaps, iou: float = 0.5, least_score: float = 0.5) -> Confusion:
    """Count what objects are taken for.

    Image by image, detections of at least `least_score` in order of score (ties: in the table's order) take
    the free object of highest IoU from `iou` on, whatever its category; of equal IoUs their own
    category goes first. Those without one that lie in a crowd region of their category (share of
    the detection at least `iou`) are left out. Crowd regions are no objects.

    Args:
        overlaps: Detections and ground truth, with pairs across categories.
        iou: At least what the pairs were found with.
        least_score: The score at which detections would be shown to somebody.
    """
    return confusion_of([overlaps], overlaps.prepared, iou, least_score)


def confusion_of(pieces: Iterable[Overlaps], prepared: Prepared, iou: float, least_score: float) -> Confusion:
    """Count what `confusion_matrix` does, of pieces of a table, each with all detections of its images."""
    truth, k = prepared.truth, len(prepared.category_ids)
    matrix = np.zeros((k + 1, k + 1), np.int64)
    missed = (truth.outside & 1) == 0
    for overlaps in pieces:
        found = overlaps.found
        assigned = overlaps.assign(iou, cap=len(found.score), least_score=least_score, across=True)
        hit = np.flatnonzero(assigned.truth >= 0)
        np.add.at(matrix, (truth.category[assigned.truth[hit]], found.category[hit]), 1)
        matrix[k, :k] += np.bincount(found.category[assigned.truth == NOTHING], minlength=k)
        missed[assigned.truth[hit]] = False
    matrix[:k, k] = np.bincount(truth.category[missed], minlength=k)
    return Confusion(matrix, prepared.category_ids, prepared.category_names, iou, least_score)
