"""The result of an evaluation by the Open Images protocol."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from evaluation.columns import Judged
from evaluation.gathering import gathered, numbered
from evaluation.kernels.open_images import FALSE
from evaluation.kernels.open_images_curve import positives_of, resampled, resampled_entry_by_entry
from evaluation.measured import Measured
from evaluation.open_images_curve import KEY_BITS, Outcomes, TrueEntries, Trues, keys_of
from evaluation.open_images_truth import Positives
from evaluation.protocol import OpenImages
from fusion.errors import InputError
from fusion.kernels.jit import run

__all__ = ["OpenImagesResult", "RankedEntries"]

_LANES = 64  # replicates of one kernel call: their weights of some thousand images stay in the cache


class RankedEntries(NamedTuple):
    """All true and false entries by category, score descending, image, place in the image; n entries.

    Attributes:
        start: int64 [k + 1], offsets of the categories.
        image: int32 [n].
        label: float64 [n], what each adds to the true ones.
        run: int32 [n], see `_runs`.
    """

    start: np.ndarray
    image: np.ndarray
    label: np.ndarray
    run: np.ndarray


@dataclass(frozen=True, eq=False, repr=False)
class OpenImagesResult(Measured):
    """Figures of one evaluation by the Open Images protocol; `result.AP` is the official mAP, NaN without ground truth.

    Attributes:
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
        outcomes: All detections; None after `evaluate_parts`, which leaves them on disk.
    """

    none = float("nan")

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

    @classmethod
    def of(
        cls,
        trues: Trues,
        outcomes: Outcomes | None,
        positives: Positives,
        images: int,
        categories: tuple[np.ndarray, tuple[str, ...]],
        notes: tuple[str, ...],
        protocol: OpenImages,
    ) -> "OpenImagesResult":
        """Make the result of true entries with the false ones counted; the rest is as the attributes say."""
        ids, names = categories
        amount = positives_of(positives.start, positives.counts, float(protocol.group_of_weight), len(ids))
        average_precision, recall, beyond = trues.average_precision(amount)
        rounded = (
            f"{beyond} categories reach a recall above 1, since regions of weight {protocol.group_of_weight} are "
            "added up with rounding; what comes from there on is left out, as officially",
        )
        counts = np.zeros((len(positives.counts) + 1, 2), np.int64)
        np.cumsum(positives.counts, axis=0, out=counts[1:])
        per_category = np.diff(counts[positives.start], axis=0)
        return cls(
            average_precision_per_category=average_precision,
            recall=recall,
            images=images,
            category_ids=ids,
            category_names=names,
            truths=per_category[:, 0],
            groups=per_category[:, 1],
            detections=trues.counts,
            notes=notes + (rounded if beyond else ()),
            protocol=protocol,
            positives=positives,
            trues=trues.entries,
            outcomes=outcomes,
        )

    def on(self, images: np.ndarray) -> "OpenImagesResult":
        """Return the result of some of the images, see `Measured.on`.

        Raises:
            InputError: If the detections were not kept.
        """
        number, (rows, start) = numbered(images, self.images), gathered(self.kept.start, images)
        _, image, *columns = self.kept
        outcomes = Outcomes(start, number[image[rows]], *(column[rows] for column in columns))
        own = number[self.trues.key >> KEY_BITS].astype(np.int64)
        entries = TrueEntries(*(column[own >= 0] for column in self.trues))
        key = (own[own >= 0] << KEY_BITS) | (entries.key & ((1 << KEY_BITS) - 1))
        trues = Trues.of(entries._replace(key=key), len(self.category_ids))
        trues.add_false(outcomes)
        positives = self.positives_on(number)
        categories = self.category_ids, self.category_names
        return self.of(trues, outcomes, positives, len(images), categories, self.notes, self.protocol)

    def positives_on(self, number: np.ndarray) -> Positives:
        """Return the ground truth that counts on some images; int32 [images], their new numbers, else -1."""
        kept = number[self.positives.image] >= 0
        return Positives(
            np.concatenate(([0], np.cumsum(kept)))[self.positives.start],
            number[self.positives.image[kept]],
            self.positives.counts[kept],
        )

    @property
    def frequency(self) -> None:
        """None: there are no groups of categories."""

    @cached_property
    def judged(self) -> Judged:
        """Right and wrong detections, and group-of regions that absorbed one, with their weight.

        Raises:
            InputError: If the detections were not kept.
        """
        trues, (image, category, score) = self.trues, self._false()
        right = np.concatenate((trues.label, np.zeros(len(score))))
        image = np.concatenate(((trues.key >> KEY_BITS).astype(np.int32), image))
        category = np.concatenate((trues.category, category))
        score = np.concatenate((trues.score, score))
        order = np.argsort(-score, kind="stable")
        wrong = np.arange(len(score)) >= len(trues.label)
        columns = image[order], category[order], score[order], right[order], wrong[order].astype(np.float64)
        return Judged(*columns, *self.objects)

    @property
    def objects(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Ground truth that counts, by cell: int32 [p] images and categories, and how much, float64."""
        truth = self.positives
        cells = np.repeat(np.arange(len(self.category_ids), dtype=np.int32), np.diff(truth.start))
        amount = truth.counts[:, 0] + float(self.protocol.group_of_weight) * truth.counts[:, 1]
        return truth.image, cells, amount

    def _false(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return images, categories and scores of the false positives, in order of the table."""
        outcomes = self.kept
        rows = np.flatnonzero(outcomes.outcome == FALSE)
        return outcomes.image[rows], outcomes.category[rows], outcomes.score[rows]

    def resample_precision(self, weights: np.ndarray) -> np.ndarray:
        """Return the AP of each category in replicates; NaN where one has no ground truth of it.

        Args:
            weights: int [b, images of the ground truth, in its order], none below 0.

        Returns:
            float64 [b, k].

        Raises:
            InputError: If the detections were not kept.
        """
        images, given = self.images, weights
        truth, weight = self.positives, float(self.protocol.group_of_weight)
        amount = self.objects[2]
        out = np.empty((len(given), len(self.category_ids)))
        for first, end, entries in self._batches():
            own = slice(*truth.start[[first, end]].tolist())
            start = truth.start[first : end + 1] - truth.start[first]

            def task(
                low: int,
                high: int,
                first: int = first,
                end: int = end,
                entries: RankedEntries = entries,
                own: slice = own,
                start: np.ndarray = start,
            ) -> None:
                block = np.zeros((images, _LANES), np.int32)
                block[:, : high - low] = given[low:high].T
                figures = np.empty((end - first, _LANES))
                if self._exact:
                    resampled(*entries, start, truth.image[own], amount[own], block, figures)
                else:
                    cells = truth.image[own], truth.counts[own]
                    resampled_entry_by_entry(*entries, start, *cells, weight, block, figures)
                out[low:high, first:end] = figures[:, : high - low].T

            run(task, [(low, min(low + _LANES, len(given))) for low in range(0, len(given), _LANES)])
        return out

    def _batches(self) -> Iterator[tuple[int, int, RankedEntries]]:
        """Yield the first of some categories, one past the last, and their entries."""
        yield 0, len(self.category_ids), self._entries

    @property
    def _exact(self) -> bool:
        """Whether no sum of weights is ever rounded, so that it does not matter how they are added up."""
        return bool((self.protocol.group_of_weight * 2.0**20).is_integer())

    @property
    def kept(self) -> Outcomes:
        """All detections.

        Raises:
            InputError: If they were not kept.
        """
        if self.outcomes is None:
            raise InputError(
                "figures",
                "all detections are needed at once, and they are not in memory after evaluation part by part",
                "Evaluate the whole table with `evaluate`",
            )
        return self.outcomes

    def _counts(self) -> dict[str, np.ndarray]:
        return {"truths": self.truths, "groups": self.groups, "detections": self.detections}

    def _options(self) -> dict[str, Any]:
        return {"iou_threshold": self.protocol.iou_threshold, "group_of_weight": self.protocol.group_of_weight}

    @cached_property
    def _entries(self) -> RankedEntries:
        outcomes, trues = self.kept, self.trues
        rows = np.flatnonzero(outcomes.outcome == FALSE)
        category = np.concatenate((trues.category, outcomes.category[rows]))
        score = np.concatenate((trues.score, outcomes.score[rows]))
        key = np.concatenate((trues.key, keys_of(outcomes, rows)))
        label = np.concatenate((trues.label, np.zeros(len(rows))))
        order = np.lexsort((key, -score, category))
        category, score, label, image = category[order], score[order], label[order], (key[order] >> 32).astype(np.int32)
        start = np.searchsorted(category, np.arange(len(self.category_ids) + 1)).astype(np.int64)
        return self._entries_of(start, category, score, image, label)

    def _entries_of(
        self, start: np.ndarray, category: np.ndarray, score: np.ndarray, image: np.ndarray, label: np.ndarray
    ) -> RankedEntries:
        """Return entries that are in order."""
        return RankedEntries(start, image, label, _runs(category, score, image, label > 0, not self._exact))


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
