"""What LVIS does before matching: federated labels, and the cut of an image's or a category's best detections."""

from dataclasses import dataclass

import numpy as np

from evaluation.columns import Found, Truth
from evaluation.fixed_ap import LastOfCategory
from evaluation.ground_truth import GroundTruth, Labels
from evaluation.kernels.federated import best_of_images, judge
from evaluation.protocol import FIXED_AP_DETECTIONS, Lvis
from fusion.errors import InputError
from fusion.kernels.jit import chunks, run

__all__ = ["Federated"]


@dataclass(frozen=True, eq=False)
class Federated:
    """Labels of a federated data set, and the protocol's caps.

    Attributes:
        truth: Annotations that count or are ignored; their categories are known in their image.
        negative: Categories known to be absent from an image.
        partial: Categories not fully annotated in an image.
        categories: Number of categories.
        protocol: The options.
    """

    truth: Truth
    negative: Labels
    partial: Labels
    categories: int
    protocol: Lvis

    @classmethod
    def of(cls, ground_truth: GroundTruth, truth: Truth, protocol: Lvis) -> "Federated":
        """Take the labels from ground truth.

        Raises:
            InputError: If it has none, or no frequency groups: it is not an LVIS file.
        """
        fields = {
            "neg_category_ids": ground_truth.negative,
            "not_exhaustive_category_ids": ground_truth.not_exhaustive,
            "frequency": ground_truth.frequency,
        }
        missing = [name for name, value in fields.items() if value is None]
        if missing or ground_truth.negative is None or ground_truth.not_exhaustive is None:
            raise InputError(
                ground_truth.source,
                f"the LVIS protocol needs {' and '.join(missing)}, which it does not have",
                "Use LVIS annotations, or the COCO protocol",
            )
        labels = ground_truth.negative, ground_truth.not_exhaustive
        return cls(truth, *labels, len(ground_truth.category_id), protocol)

    def judged(self, start: np.ndarray, category: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Find the detections whose category is known to be present in or absent from their image.

        Args:
            start: int64 [images + 1], offsets of the images.
            category: int32 [n], dense index or -1.

        Returns:
            int32 [n], the category, -1 where the detection does not count; and bool [n], whether the
            category is not fully annotated there.
        """
        counted = np.full(len(category), -1, np.int32)
        incomplete = np.zeros(len(category), bool)
        lists = self.truth, self.negative, self.partial

        def task(low: int, high: int) -> None:
            judge(low, high, *lists, start, category, self.categories, counted, incomplete)

        run(task, chunks(start))
        return counted, incomplete

    def cut(self, found: Found, named: np.ndarray, last: LastOfCategory | None = None) -> Found:
        """Leave out detections beyond the cap: of an image, or for fixed AP of a category.

        The cut comes before the labels are looked at, so every detection takes its place.

        Args:
            found: Detections; category -1 where one does not count.
            named: int32 [n], their categories as submitted, -1 where the data set does not have it.
            last: For fixed AP of some of the images, what the detections of all of them say.

        Returns:
            The detections, with category -1 where they were cut.
        """
        keep = np.ones(len(found.score), bool)
        if last is not None:
            keep = last.keeps(named, found.score, found.image, found.start)
        elif self.protocol.fixed_ap:
            for k in np.flatnonzero(np.bincount(named[named >= 0], minlength=1) > FIXED_AP_DETECTIONS):
                rows = np.flatnonzero(named == k)
                order = np.argsort(-found.score[rows], kind="stable")
                keep[rows[order[FIXED_AP_DETECTIONS:]]] = False
        elif np.diff(found.start).max(initial=0) > self.protocol.max_dets:

            def task(low: int, high: int) -> None:
                best_of_images(low, high, found.start, found.score, self.protocol.max_dets, keep)

            run(task, chunks(found.start))
        return found if keep.all() else found._replace(category=np.where(keep, found.category, -1).astype(np.int32))
