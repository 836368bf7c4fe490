"""The result of an evaluation by the Open Images protocol."""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from evaluation.kernels.open_images import FALSE
from evaluation.kernels.open_images_curve import resampled, resampled_entry_by_entry
from evaluation.open_images_curve import Outcomes, TrueEntries, keys_of
from evaluation.open_images_truth import Positives
from evaluation.protocol import OpenImages
from fusion.errors import InputError
from fusion.kernels.jit import run

if TYPE_CHECKING:
    import pandas as pd
    from rich.table import Table

__all__ = ["OpenImagesCategory", "OpenImagesResult"]

_LANES = 64  # replicates of one kernel call: their weights of some thousand images stay in the cache


class OpenImagesCategory(NamedTuple):
    """Figures of one category; NaN where it has no ground truth that counts.

    Attributes:
        category_id: As in the data set.
        name: As in the data set.
        AP: Area under the curve of precision over recall.
        recall: Highest recall.
        truths: Number of objects that count.
        groups: Number of group-of regions that count.
        detections: Number of true and false positives.
    """

    category_id: int
    name: str
    AP: float
    recall: float
    truths: int
    groups: int
    detections: int


class _Entries(NamedTuple):
    """All true and false entries by category, score descending, image, place in the image."""

    start: np.ndarray
    image: np.ndarray
    label: np.ndarray
    run: np.ndarray


@dataclass(frozen=True, eq=False)
class OpenImagesResult:
    """Figures of one evaluation by the Open Images protocol.

    Attributes:
        AP: Mean over the categories that have ground truth, the official mAP; NaN where none has.
        average_precision_per_category: float64 [k]; NaN where a category has no ground truth that counts.
        recall: float64 [k], highest recall; NaN likewise.
        images: Number of images of the ground truth.
        category_ids: int32 [k].
        category_names: Names of the k categories.
        truths: int64 [k], objects that count.
        groups: int64 [k], group-of regions that count.
        detections: int64 [k], true and false positives.
        notes: What the reader of the figures has to know.
        protocol: Options of the evaluation.
        positives: Ground truth that counts, per category and image.
        trues: True entries in order.
        outcomes: All detections; None after `evaluate_parts`, which does not keep them.
    """

    AP: float
    average_precision_per_category: np.ndarray
    recall: np.ndarray
    images: int
    category_ids: np.ndarray
    category_names: tuple[str, ...]
    truths: np.ndarray
    groups: np.ndarray
    detections: np.ndarray
    notes: tuple[str, ...]
    protocol: OpenImages
    positives: Positives
    trues: TrueEntries
    outcomes: Outcomes | None

    @property
    def stats(self) -> dict[str, float]:
        """The figures by name; there is one."""
        return {"AP": self.AP}

    @cached_property
    def per_category(self) -> tuple[OpenImagesCategory, ...]:
        """Figures of each category, in order of id."""
        columns = (
            self.category_ids.tolist(),
            self.category_names,
            self.average_precision_per_category.tolist(),
            self.recall.tolist(),
            self.truths.tolist(),
            self.groups.tolist(),
            self.detections.tolist(),
        )
        return tuple(OpenImagesCategory(*row) for row in zip(*columns, strict=True))

    def to_dict(self) -> dict[str, Any]:
        """Return all figures, ready for JSON at full precision; None where there is no ground truth."""
        rows = [
            {name: None if value != value else value for name, value in row._asdict().items()}
            for row in self.per_category
        ]
        options = {"iou_threshold": self.protocol.iou_threshold, "group_of_weight": self.protocol.group_of_weight}
        return {
            "AP": None if self.AP != self.AP else self.AP,
            **options,
            "notes": list(self.notes),
            "per_category": rows,
        }

    def to_frame(self) -> "pd.DataFrame":
        """Return the figures per category as a data frame, one row each, indexed by category id."""
        import pandas as pd

        return pd.DataFrame(list(self.per_category), columns=list(OpenImagesCategory._fields)).set_index("category_id")

    def to_rich(self, *, per_category: bool = False) -> "Table":
        """Return a table for the terminal: the figure, or a line per category."""
        from rich.table import Table

        if not per_category:
            table = Table("figure", "value")
            table.add_row("AP", _shown(self.AP))
            return table
        table = Table(*OpenImagesCategory._fields)
        for row in self.per_category:
            table.add_row(*(_shown(value) if isinstance(value, float) else str(value) for value in row))
        return table

    def resample(self, weights: np.ndarray) -> dict[str, np.ndarray]:
        """Return the figures of replicates of the data set in which images occur any number of times.

        A replicate is the data set in which every image is copied as often as its weight says, copies
        standing side by side in the order of images.

        Args:
            weights: int32 [b, images of the ground truth, in its order], none below 0.

        Returns:
            "AP": float64 [b, k], of each category; NaN where the replicate has no ground truth of it.

        Raises:
            InputError: If the weights do not fit, or the detections were not kept.
        """
        if self.outcomes is None:
            raise InputError(
                "resample",
                "the detections are not in memory after evaluation part by part",
                "Evaluate the whole table with `evaluate`",
            )
        images = self.images
        given = np.asarray(weights)
        if given.ndim != 2 or given.shape[1] != images or given.dtype.kind not in "iu" or np.any(given < 0):
            raise InputError(
                "resample, weights",
                f"expected whole numbers of at least 0, [replicates, {images} images], got {given.dtype} "
                f"{list(given.shape)}",
            )
        truth, weight = self.positives, float(self.protocol.group_of_weight)
        amount = truth.counts[:, 0] + weight * truth.counts[:, 1]
        out = np.empty((len(given), len(self.category_ids)))

        def task(low: int, high: int) -> None:
            block = np.zeros((images, _LANES), np.int32)
            block[:, : high - low] = given[low:high].T
            figures = np.empty((len(self.category_ids), _LANES))
            if self._exact:
                resampled(*self._entries, truth.start, truth.image, amount, block, figures)
            else:
                counts = truth.counts
                resampled_entry_by_entry(*self._entries, truth.start, truth.image, counts, weight, block, figures)
            out[low:high] = figures[:, : high - low].T

        run(task, [(low, min(low + _LANES, len(given))) for low in range(0, len(given), _LANES)])
        return {"AP": out}

    @property
    def _exact(self) -> bool:
        """Whether no sum of weights is ever rounded, so that it does not matter how they are added up."""
        return bool((self.protocol.group_of_weight * 2.0**20).is_integer())

    @cached_property
    def _entries(self) -> _Entries:
        if self.outcomes is None:
            raise InputError("resample", "the detections are not in memory")
        rows = np.flatnonzero(self.outcomes.outcome == FALSE)
        trues = self.trues
        category = np.concatenate((trues.category, self.outcomes.category[rows]))
        score = np.concatenate((trues.score, self.outcomes.score[rows]))
        key = np.concatenate((trues.key, keys_of(self.outcomes, rows)))
        label = np.concatenate((trues.label, np.zeros(len(rows))))
        order = np.lexsort((key, -score, category))
        category, score, label, image = category[order], score[order], label[order], (key[order] >> 32).astype(np.int32)
        start = np.searchsorted(category, np.arange(len(self.category_ids) + 1)).astype(np.int64)
        return _Entries(start, image, label, _runs(category, score, image, label > 0, not self._exact))


def _runs(category: np.ndarray, score: np.ndarray, image: np.ndarray, true: np.ndarray, every: bool) -> np.ndarray:
    """Return int32 [n]: at the last of several entries of one image and score, true and false, their number; else 1.

    With `every`, the number of entries of one image and score at the last of them, and 0 at the others.
    """
    run = np.zeros(len(category), np.int32) if every else np.ones(len(category), np.int32)
    if not len(category):
        return run
    new = (category[1:] != category[:-1]) | (score[1:] != score[:-1]) | (image[1:] != image[:-1])
    heads = np.flatnonzero(np.concatenate(([True], new)))
    size = np.diff(heads, append=len(category))
    trues = np.add.reduceat(true.astype(np.int64), heads)
    mixed = np.full(len(size), True) if every else (trues > 0) & (trues < size)
    run[heads[mixed] + size[mixed] - 1] = size[mixed]
    return run


def _shown(value: float) -> str:
    return "-" if value != value else f"{value:.4f}"
