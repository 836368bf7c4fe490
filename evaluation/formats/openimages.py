"""Open Images: CSV of boxes as ground truth, results in Kaggle's forms and the official evaluator's."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from evaluation.files.image_rows import left_out
from evaluation.files.look import Look
from evaluation.files.prediction_strings import read_strings
from evaluation.files.raw_columns import keyed, raw_columns
from evaluation.files.table_pieces import TablePieces
from evaluation.formats.base import Format, Progress
from evaluation.ground_truth import GroundTruth
from evaluation.open_images_csv import read_open_images
from evaluation.open_images_csv.columns import TEXT, read_csv
from evaluation.submissions import write_submission
from evaluation.submissions.open_images import EVALUATOR_BOXES, KAGGLE_BOXES
from evaluation.submissions.open_images_file import CsvSubmission, checked_blocks
from fusion.coco_results import RawResults, Reading, Vocabulary
from fusion.errors import InputError, option
from fusion.table_columns import MASK_TYPE

__all__ = ["OpenimagesFormat"]

_RESULTS = (
    {"ImageId", "PredictionString"},
    {"ImageID", "PredictionString"},
    {"ImageID", "LabelName", "Score", "XMin", "XMax", "YMin", "YMax"},
    {"ImageID", "LabelName", "Score", "Mask"},
)
_TRUTH = {"ImageID", "LabelName", "XMin", "XMax", "YMin", "YMax"}


class OpenimagesFormat(Format):
    """CSV files of Open Images."""

    title = "Open Images CSV: the official evaluator's, and Kaggle's PredictionString"

    def recognises(self, look: Look) -> int:
        """Take CSV with the columns of Open Images."""
        names = {name.strip().strip('"') for name in look.lines[0].lstrip("\ufeff").split(",")} if look.lines else set()
        return 2 * any(wanted <= names for wanted in (*_RESULTS, _TRUTH))

    def results(
        self, path: Path, vocabulary: Vocabulary | None, reading: Reading, progress: Progress | None
    ) -> RawResults:
        """Read results; rows whose boxes end before they begin are left out, as the official evaluator does."""
        plain = _plain(path)
        image, label, score, number, box, mask = _careful(path, progress) if plain is None else plain
        notes: list[str] = []
        if mask is None:
            keep = np.all(~(box[:, :2] > box[:, 2:]), axis=1)
            if not keep.all():
                image, label = (column.filter(pa.array(keep)) for column in (image, label))
                score, number, box = score[keep], number[keep], box[keep]
                count = int(np.count_nonzero(~keep))
                notes.append(f"{count} of {len(keep)} boxes have a negative width or height; left out, as officially")
        images, of_image = keyed(image, "text")
        labels, of_label = keyed(label, "name")
        columns = raw_columns(
            images=images, image=of_image, categories=labels, category=of_label, score=score, box=box, mask=mask
        )
        native = "xywh" if mask is not None else "xyxy_normalized"
        return RawResults.of(str(path), columns, native=native, notes=notes, place=lambda row: f"line {number[row]}")

    def truth(self, path: Path, files: Mapping[str, Path]) -> GroundTruth:
        """Read a CSV file of boxes and what goes with it."""
        return read_open_images(boxes=path, **files)

    def write(self, table: TablePieces, path: Path, truth: GroundTruth | None) -> list[str]:
        """Write the official evaluator's CSV."""
        if truth is None:
            raise InputError(
                "export openimages", "needs the sizes of images and the labels of categories",
                f"Give the ground truth with {option('ground_truth')}",
            )  # fmt: skip
        known = TablePieces(table.table, images=truth.image_id)
        write_submission(known, path, "openimages-evaluator", images=truth, iou_type="bbox")
        unknown = table.images_beside(truth.image_id)
        notes = [f"left out: {unknown} images that {truth.source} does not have"] if unknown else []
        return notes + left_out(table, "mask", "soft_mask", "member", "view", "votes")


class _Rows(NamedTuple):
    """Detections: images and labels as texts, scores, lines, and corners or masks."""

    image: pa.ChunkedArray
    label: pa.ChunkedArray
    score: np.ndarray
    line: np.ndarray
    box: np.ndarray
    mask: pa.ChunkedArray | None


def _careful(path: Path, progress: Progress | None) -> _Rows:
    """Return the detections of a file of any form, read row by row."""
    submission = CsvSubmission(path, progress=progress)
    blocks = checked_blocks(submission, path)
    image, label = (
        pa.chunked_array([pa.array(getattr(block, name), pa.string()) for block in blocks], pa.string())
        for name in ("image", "category")
    )
    score = np.concatenate([np.zeros(0), *(block.score for block in blocks)])
    line = np.concatenate([np.zeros(0, np.int64), *(block.number for block in blocks)])
    if submission.iou_type == "segm":
        mask = pa.chunked_array([block.mask for block in blocks], MASK_TYPE)
        return _Rows(image, label, score, line, np.full((len(score), 4), np.nan), mask)
    box = np.concatenate([np.zeros((0, 4)), *(block.corners for block in blocks)])
    return _Rows(image, label, score, line, box, None)


def _plain(path: Path) -> _Rows | None:
    """Return the same of boxes without a fault, at once; None of all else."""
    header = Look.at(path).lines[:1]
    names = header[0].lstrip("\ufeff").split(",") if header else []
    try:
        if set(EVALUATOR_BOXES) <= set(names):
            types = {name: TEXT if name in ("ImageID", "LabelName") else pa.float64() for name in EVALUATOR_BOXES}
            file = read_csv(path, types)
            if any(file.table[name].null_count for name in EVALUATOR_BOXES):
                return None
            score = file.numbers("Score")
            box = np.stack([file.numbers(name) for name in ("XMin", "YMin", "XMax", "YMax")], axis=1)
            rows = _Rows(file.table["ImageID"], file.table["LabelName"], score, file.lines, box, None)
        elif set(KAGGLE_BOXES) <= set(names):
            strings = read_strings(path, *KAGGLE_BOXES)
            if (strings.length % 6).any() or strings.image.null_count:
                return None
            row, numbers = strings.rows(6), strings.numbers(6)
            image = pa.chunked_array([strings.image.take(pa.array(row))])
            label = pa.chunked_array([strings.words.take(pa.array(np.arange(0, len(strings.words), 6)))])
            rows = _Rows(image, label, numbers[:, 0], strings.lines[row], numbers[:, 1:], None)
        else:
            return None
    except InputError:
        return None
    return rows if np.isfinite(rows.score).all() and np.isfinite(rows.box).all() else None
