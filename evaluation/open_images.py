"""The Open Images Challenge protocol for boxes and instance masks.

Rules are those of the official evaluator, `OpenImagesChallengeEvaluator` of the TensorFlow Object
Detection API. Where scores tie, its figure depends on an unstable sort; here the order is by score,
then image, then row, and a note says when that matters.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from evaluation.ground_truth import GroundTruth, Labels
from evaluation.kernels.open_images import LEFT_OUT, look_at_masks, match_boxes, match_masks
from evaluation.kernels.open_images_curve import positives_of
from evaluation.open_images_curve import Outcomes, TrueEntries, Trues, true_entries
from evaluation.open_images_result import OpenImagesResult
from evaluation.open_images_stored import StoredEntries, StoredOpenImagesResult, content_of_entries
from evaluation.open_images_table import OpenImagesDetections, Quirks, detections_of
from evaluation.open_images_truth import SortedTruth, no_labels, sort_truth
from evaluation.protocol import OpenImages
from evaluation.run_files import RunContent
from evaluation.runs import key_of, pieces_of, runs_of
from evaluation.truth_columns import places_of
from fusion.kernels.jit import chunks, run
from fusion.row_groups import rows_of
from fusion.shards import Shard
from fusion.storage import image_ids_of, part_paths, read_table
from fusion.table import DetectionTable

__all__ = ["PreparedOpenImages", "prepare_open_images"]


@dataclass(frozen=True, eq=False)
class PreparedOpenImages:
    """Ground truth made ready for the Open Images protocol; used for any number of tables.

    Attributes:
        ground_truth: Where it comes from.
        protocol: Its options.
        sorted_truth: Annotations by cell.
        positive: Categories verified as present in each image.
        negative: Categories verified as absent.
        positives: float64 [k], ground truth that counts.
        notes: What is unusual.
    """

    ground_truth: GroundTruth
    protocol: OpenImages
    sorted_truth: SortedTruth
    positive: Labels
    negative: Labels
    positives: np.ndarray
    notes: tuple[str, ...]

    def __repr__(self) -> str:
        return f"PreparedOpenImages({self.protocol.iou_type}, {self.ground_truth})"

    def evaluate(self, table: DetectionTable) -> OpenImagesResult:
        """Evaluate one table.

        Args:
            table: Detections, normalized or, where the ground truth knows the sizes of its images, in pixels.

        Raises:
            InputError: If it has no image in common with the ground truth, its boxes cannot be brought to
                the unit of the ground truth, or a mask cannot be read.
        """
        quirks = Quirks()
        detections = detections_of(table, self.ground_truth, self.protocol, quirks)
        if len(table) and not quirks.known:
            raise quirks.alien(self.ground_truth)
        outcomes, entries = self._match(detections, quirks)
        trues = Trues.of(entries, len(self.positives))
        quirks.tied |= trues.add_false(outcomes)
        return self._result(trues, quirks, outcomes)

    def evaluate_parts(
        self,
        path: str | os.PathLike[str],
        progress: Callable[[str, int, int], None] | None = None,
        *,
        images: npt.ArrayLike | None = None,
        shard: Shard | None = None,
    ) -> StoredOpenImagesResult:
        """Evaluate a folder of parts, some parts at a time and as many in memory; equal to evaluating the whole.

        What became of the detections is kept in the folder `.quorum` of the table, where it can be written to, and read
        again by the same evaluation; see `evaluation.stored.evaluate_stored`.

        Args:
            path: A table on disk; a single file is one part.
            progress: Called with (what, done, total) before each part.
            images: [n] ids, to read the rows of these alone.
            shard: As in `evaluation.stored.evaluate_stored`.

        Raises:
            SharesLeft: If others have not matched all of their parts.
            InputError: As `evaluate`, and if an image is in two parts.
        """
        ids = self.ground_truth.image_id
        wanted = None if images is None else np.asarray(images)

        def make(part: Path) -> Iterator[RunContent]:
            columns = () if self.sorted_truth.masks is None else ("mask",)
            for piece in pieces_of(read_table(part, images=wanted, columns=columns)):
                quirks = Quirks()
                detections = detections_of(piece, self.ground_truth, self.protocol, quirks)
                outcomes, entries = self._match(detections, quirks)
                rows = np.zeros(len(ids), np.int64)
                place = places_of(ids, piece.image_ids)
                rows[place[place >= 0]] = np.diff(piece.image_start)[place >= 0]
                yield content_of_entries(outcomes, entries, len(self.positives), rows, quirks.numbers())

        runs = runs_of(path, key_of(self.identity, wanted), make, ids, progress, shard)
        quirks = Quirks(**runs.noticed())  # type: ignore[arg-type]
        if quirks.rows and not quirks.known:
            first = next(part for part in part_paths(path) if rows_of(part))
            quirks.examples = image_ids_of(first)[:3].tolist()
            raise quirks.alien(self.ground_truth)
        stored = StoredEntries(runs, len(self.positives), float(self.protocol.group_of_weight))
        trues, quirks.tied = stored.trues()
        return StoredOpenImagesResult.made_of(self._result(trues, quirks, None), stored)

    @cached_property
    def identity(self) -> str:
        """What stands for all of the ground truth that figures depend on, and for the protocol."""
        truth = self.ground_truth
        columns = truth.image_id, truth.category_id, truth.width, truth.height, truth.unit
        return key_of(self.protocol.name, self.protocol, self.sorted_truth, self.positive, self.negative, *columns)

    def masks_look_at(self, table: DetectionTable) -> tuple[np.ndarray, np.ndarray]:
        """Find the ground truth that each mask would match, whatever the scores.

        Args:
            table: Detections with masks, of images that the ground truth has.

        Returns:
            int32 [4, n], the best ground truth in each section of the cell (see `OpenImagesTruth`), -1 without one;
            bool [n], whether the mask has pixels and its category is evaluated in its image.

        Raises:
            InputError: If a mask cannot be read.
        """
        truth, masks, *_ = self.sorted_truth
        if masks is None:
            raise ValueError("the protocol is for boxes")
        uncapped = replace(self.protocol, max_dets=len(table) + 1)
        detections = detections_of(table, self.ground_truth, uncapped, Quirks())
        found, text = detections.found._replace(score=np.zeros(len(table))), detections.text
        best, outcome = np.empty((4, len(table)), np.int32), np.zeros(len(table), np.uint8)
        labels, normalized = (self.positive, self.negative), self.ground_truth.unit == "normalized"
        categories, least = len(self.positives), float(self.protocol.iou_threshold)

        def task(low: int, high: int) -> int:
            return look_at_masks(  # type: ignore[no-any-return]
                low, high, truth, masks, *labels, found, text, normalized, categories, least, best, outcome
            )

        for wrong in run(task, chunks(found.start, 16384)):
            if wrong >= 0:
                raise detections.unreadable(wrong)
        return best, outcome != LEFT_OUT

    def outcomes(self, table: DetectionTable) -> tuple[np.ndarray, np.ndarray]:
        """Say what becomes of the detections of a table.

        Returns:
            int64 [n], rows of the table that are looked at; and uint8 [n], whether each is left out, false or true
            (`evaluation.kernels.open_images`).
        """
        detections = detections_of(table, self.ground_truth, self.protocol, Quirks())
        rows = np.arange(len(table)) if detections.row is None else detections.row
        return rows, self._match(detections, Quirks())[0].outcome

    def _match(self, detections: OpenImagesDetections, quirks: Quirks) -> tuple[Outcomes, TrueEntries]:
        truth, masks, truth_image, truth_category, _ = self.sorted_truth
        outcome = np.zeros(len(detections.image), np.uint8)
        group_score = np.zeros(len(truth_image))
        categories, least = len(self.positives), float(self.protocol.iou_threshold)
        widest = int(np.diff(truth.bound[truth.start, 0]).max(initial=0))
        labels = self.positive, self.negative
        found = detections.found

        def boxes(low: int, high: int) -> tuple[int, int, int]:
            tied = match_boxes(low, high, truth, *labels, found, categories, widest, least, outcome, group_score)
            return tied, 0, -1

        if masks is None:
            parts = run(boxes, chunks(found.start))
        else:
            text = detections.text
            normalized = self.ground_truth.unit == "normalized"

            def by_masks(low: int, high: int) -> tuple[int, int, int]:
                return match_masks(  # type: ignore[no-any-return]
                    low, high, truth, masks, *labels, found, text, normalized, categories, widest, least, outcome,
                    group_score,
                )  # fmt: skip

            parts = run(by_masks, chunks(found.start, 16384))
            for *_, wrong in parts:
                if wrong >= 0:
                    raise detections.unreadable(wrong)
        quirks.tied |= any(part[0] for part in parts)
        quirks.other_size += sum(part[1] for part in parts)
        outcomes = Outcomes(found.start, detections.image, found.category, found.score, outcome)
        return outcomes, true_entries(
            outcomes, truth_image, truth_category, group_score, float(self.protocol.group_of_weight)
        )

    def _result(self, trues: Trues, quirks: Quirks, outcomes: Outcomes | None) -> OpenImagesResult:
        truth, notes = self.ground_truth, self.notes + quirks.notes(self.protocol)
        categories = truth.category_id, truth.category_name
        counted, images = self.sorted_truth.positives, len(truth.image_id)
        return OpenImagesResult.of(trues, outcomes, counted, images, categories, notes, self.protocol)


def prepare_open_images(ground_truth: GroundTruth, protocol: OpenImages | None = None) -> PreparedOpenImages:
    """Make ground truth ready for the Open Images protocol: sorted, and its masks decoded.

    Args:
        ground_truth: Already expanded by the hierarchy, as `read_open_images` gives it.
        protocol: Options; the official ones for boxes by default.

    Raises:
        InputError: If a mask cannot be read.
    """
    protocol = protocol or OpenImages()
    sorted_truth = sort_truth(ground_truth, with_masks=protocol.iou_type == "segm")
    images = len(ground_truth.image_id)
    counted = sorted_truth.positives
    positives = positives_of(
        counted.start, counted.counts, float(protocol.group_of_weight), len(ground_truth.category_id)
    )
    notes = []
    if ground_truth.positive is None and ground_truth.negative is None:
        notes.append("the ground truth has no image labels: only categories with a box in an image are evaluated there")
    if protocol.iou_type == "segm":
        missing = len(ground_truth) - int(counted.counts.sum())
        if missing:
            notes.append(f"{missing} of {len(ground_truth)} annotations have no mask; they do not count")
    return PreparedOpenImages(
        ground_truth,
        protocol,
        sorted_truth,
        ground_truth.positive or no_labels(images),
        ground_truth.negative or no_labels(images),
        positives,
        tuple(notes),
    )
