"""What is right and wrong from some score on, of results that have their detections in memory."""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from evaluation.columns import Judged

__all__ = ["ByScore"]


class ByScore:
    """A result that has `judged`."""

    if TYPE_CHECKING:

        @property
        def judged(self) -> Judged:
            """Right and wrong detections."""

        @property
        def category_ids(self) -> np.ndarray:
            """int32 [k]."""

    def by_score(self, score: float | None) -> "Judged":
        """Return right and wrong detections by score, of which images and categories may not be known.

        An entry may stand for all detections from its score up to the next higher one; there is one of each score of
        something right, of the highest score, and of the one that is given.

        Args:
            score: A score that is asked for.
        """
        return self.judged

    def counted_from(self, least: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return what is right and wrong of at least some score, and the objects, float64 [k] each."""
        judged, k = self.judged, len(self.category_ids)
        kept = int(np.searchsorted(-judged.score, -least, "right"))
        right, wrong = (np.bincount(judged.category[:kept], amount[:kept], k) for amount in judged[3:5])
        return right, wrong, np.bincount(judged.object_category, judged.objects, k)
