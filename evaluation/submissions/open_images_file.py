"""Reading Open Images submissions: Kaggle's two CSV forms and the two of the official evaluator."""

import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from evaluation.ground_truth import GroundTruth
from evaluation.submissions.audit import Audit, Block
from evaluation.submissions.csv_files import numbered_rows
from evaluation.submissions.image_list import ImageList, read_image_list
from evaluation.submissions.mask_strings import decode_mask
from evaluation.submissions.open_images import EVALUATOR_BOXES, EVALUATOR_MASKS, KAGGLE_BOXES, KAGGLE_MASKS
from evaluation.submissions.report import Findings
from fusion.corners import from_corners
from fusion.errors import InputError
from fusion.masks import mask_array, mask_bounds
from fusion.table import DetectionTable, Metadata
from fusion.table_columns import MASK_TYPE

__all__ = ["CsvSubmission", "check_csv", "checked_blocks", "read_open_images_submission"]

_ROWS = 32768
_SIDE = re.compile("0*[1-9][0-9]{0,9}")
_FORMS = {
    KAGGLE_BOXES: ("openimages-detection", "bbox"),
    KAGGLE_MASKS: ("openimages-segmentation", "segm"),
    EVALUATOR_BOXES: ("openimages-evaluator", "bbox"),
    EVALUATOR_MASKS: ("openimages-evaluator", "segm"),
}


@dataclass
class _Gathered:
    """Detections on the way to a block, as texts."""

    image: list[str] = field(default_factory=list)
    line: list[int] = field(default_factory=list)
    number: list[int] = field(default_factory=list)  # of the detection in its line, from 1
    label: list[str] = field(default_factory=list)
    score: list[str] = field(default_factory=list)
    corners: list[list[str]] = field(default_factory=lambda: [[], [], [], []])
    mask: list[bytes] = field(default_factory=list)
    size: list[tuple[int, int]] = field(default_factory=list)  # height, width


class CsvSubmission:
    """An Open Images submission in CSV, gone through once.

    Args:
        path: The file.
        findings: Where faults of rows go.
        progress: Called with the bytes read so far and in all.

    Attributes:
        form: "openimages-detection", "openimages-segmentation" or "openimages-evaluator".
        iou_type: "bbox" or "segm".
        findings: Where faults of rows go.
        images: The image ids of the rows so far, and how many rows each has.

    Raises:
        InputError: If the file cannot be read, or its columns are of no known form.
    """

    def __init__(
        self, path: Path, findings: Findings | None = None, progress: Callable[[int, int], None] | None = None
    ) -> None:
        self._path, self._progress = path, progress
        self.findings = Findings() if findings is None else findings
        self._rows = numbered_rows(path)
        header = next((row for _, row in self._rows if row), [])
        found = _form_of(header)
        if found is None:
            forms = " or ".join(",".join(columns) for columns in (KAGGLE_BOXES, KAGGLE_MASKS))
            got = ",".join(header)[:80] or "nothing"
            raise InputError(path, f"expected columns {forms}, or those of the official evaluator, got {got}")
        self._columns = [[name.strip() for name in header].index(name) for name in found]
        self._width = len(header)
        self.form, self.iou_type = _FORMS[found]
        self.images: dict[str, int] = {}

    def __iter__(self) -> Iterator[Block]:
        """Yield the detections in blocks; `normalized` boxes, or masks."""
        kaggle = self.form != "openimages-evaluator"
        take = self._take_kaggle if kaggle else self._take_evaluator
        gathered, read, total = _Gathered(), 0, self._path.stat().st_size
        for line, row in self._rows:
            if not row:
                continue
            if len(row) != self._width:
                what, got = f"row without {self._width} fields", f"line {line}: {len(row)} fields"
                self.findings.add("error", what, 1, [got], "Quote fields that contain a comma")
                continue
            values = [row[column] for column in self._columns]
            self.images[values[0]] = self.images.get(values[0], 0) + 1
            take(gathered, line, values)
            read += sum(map(len, row)) + len(row)
            if len(gathered.label) >= _ROWS:
                yield from self._block(gathered)
                gathered = _Gathered()
                if self._progress is not None:
                    self._progress(min(read, total), total)
        yield from self._block(gathered)

    def _take_kaggle(self, gathered: _Gathered, line: int, values: list[str]) -> None:
        masks = self.iou_type == "segm"
        size = self._size(line, values[1], values[2]) if masks else (0, 0)
        words = values[-1].split()
        step = 3 if masks else 6
        if len(words) % step or size is None:
            if size is not None:
                form = "Label Conf EncodedMask" if masks else "Label Conf XMin YMin XMax YMax"
                what = f"PredictionString is not a sequence of {form}"
                self.findings.add("error", what, 1, [f"line {line}: {len(words)} words"])
            return
        count = len(words) // step
        labels, scores = words[0::step], words[1::step]
        if masks:
            for number, (label, score, text) in enumerate(zip(labels, scores, words[2::step], strict=True), 1):
                self._add_mask(gathered, (values[0], line, number), (label, score, text), size)
            return
        gathered.image += [values[0]] * count
        gathered.line += [line] * count
        gathered.number += range(1, count + 1)
        gathered.label += labels
        gathered.score += scores
        for side, column in enumerate(gathered.corners):
            column += words[2 + side :: step]

    def _take_evaluator(self, gathered: _Gathered, line: int, values: list[str]) -> None:
        if self.iou_type == "segm":
            size = self._size(line, values[1], values[2])
            if size is not None:
                self._add_mask(gathered, (values[0], line, 1), (values[3], values[4], values[5]), size)
            return
        gathered.image.append(values[0])
        gathered.line.append(line)
        gathered.number.append(1)
        gathered.label.append(values[1])
        gathered.score.append(values[2])
        for side, column in zip((0, 2, 1, 3), values[3:], strict=True):  # XMin, XMax, YMin, YMax
            gathered.corners[side].append(column)

    def _size(self, line: int, width: str, height: str) -> tuple[int, int] | None:
        if _SIDE.fullmatch(width) and _SIDE.fullmatch(height) and int(width) < 2**31 and int(height) < 2**31:
            return int(height), int(width)
        got = f"line {line}: {width[:20]!r}, {height[:20]!r}"
        self.findings.add("error", "ImageWidth and ImageHeight are not positive whole numbers", 1, [got])
        return None

    def _add_mask(
        self, gathered: _Gathered, at: tuple[str, int, int], words: tuple[str, str, str], size: tuple[int, int]
    ) -> None:
        try:
            counts = decode_mask(words[2])
        except ValueError as error:
            remedy = "A mask is base64(zlib(compressed RLE)), written as plain text"
            self.findings.add("error", f"mask string {error}", 1, [f"line {at[1]}, detection {at[2]}"], remedy)
            return
        for column, value in zip((gathered.image, gathered.line, gathered.number), at, strict=True):
            column.append(value)  # type: ignore[attr-defined]
        gathered.label.append(words[0])
        gathered.score.append(words[1])
        gathered.mask.append(counts)
        gathered.size.append(size)

    def _block(self, gathered: _Gathered) -> Iterator[Block]:
        count = len(gathered.label)
        if not count:
            return
        line, number = np.array(gathered.line), np.array(gathered.number)
        texts = [gathered.score, *(gathered.corners if self.iou_type == "bbox" else ())]
        numbers, good = np.zeros((len(texts), count)), np.ones(count, dtype=bool)
        for column, values in enumerate(texts):
            numbers[column], fine = _numbers(values)
            good &= fine
        for row in np.flatnonzero(~good).tolist():
            words = " ".join(values[row] for values in texts)[:60]
            place = f"line {line[row]}, detection {number[row]}: {words}"
            self.findings.add("error", "expected numbers for score and coordinates", 1, [place], "Write plain numbers")
        kept = np.flatnonzero(good)
        numbers = numbers[:, kept]
        box, corners, mask = np.full((len(kept), 4), np.nan), None, None
        if self.iou_type == "bbox":
            corners = np.ascontiguousarray(numbers[1:5].T)
            box, _ = from_corners(corners)
        else:
            height, width = zip(*gathered.size, strict=True)
            mask = mask_array(height, width, gathered.mask).take(pa.array(kept))
        image = np.array(gathered.image, dtype=object)[kept]

        def place_of(row: int) -> str:
            return f"line {line[kept[row]]}, detection {number[kept[row]]} (image {image[row]})"

        label = np.array(gathered.label, dtype=object)[kept]
        yield Block(image, label, numbers[0], box, mask, True, line[kept], "line", place_of, corners)


def check_csv(submission: CsvSubmission, audit: Audit, findings: Findings, images: ImageList | None) -> bool:
    """Check a CSV submission.

    Args:
        submission: The file.
        audit: Takes the detections.
        findings: Where faults go.
        images: The split; None where it is not known.

    Returns:
        Whether the file could be read to its end.
    """
    try:
        for block in submission:
            audit.take(block)
    except InputError as error:
        findings.add("error", f"cannot be read to its end: {error.problem}", 1, [error.where], error.remedy)
        return False
    rows = submission.images
    if submission.form == "openimages-evaluator":
        return True
    twice = [name for name, count in rows.items() if count > 1]
    remedy = "Kaggle takes one row per image"
    findings.add("error", "images with more than one row", len(twice), (f"image {name}" for name in twice), remedy)
    if images is not None:
        listed = images.image_id.tolist()
        missing = [name for name in listed if name not in rows]
        remedy = "Every image of the list needs a row, with an empty string where nothing was found"
        findings.add("error", "images without a row", len(missing), (f"image {name}" for name in missing), remedy)
        others = rows.keys() - set(listed)
        empty = sorted(name for name in others if name not in audit.unknown_images)
        names = (f"image {name}" for name in empty)
        findings.add("error", "rows of images that the list does not have", len(empty), names, "Leave them out")
    return True


def checked_blocks(submission: CsvSubmission, path: object) -> list[Block]:
    """Return all detections of a submission.

    Raises:
        InputError: If a row has a fault; the first one is named.
    """
    blocks = list(submission)
    for finding in submission.findings.all():
        raise InputError(f"{path}, {finding.examples[0]}", f"{finding.what} ({finding.count} times)", finding.remedy)
    return blocks


def read_open_images_submission(
    path: str | os.PathLike[str],
    *,
    images: ImageList | GroundTruth | str | os.PathLike[str],
    member: str | None = None,
    unit: str = "normalized",
) -> DetectionTable:
    """Read an Open Images submission, of Kaggle's forms or the official evaluator's, into a table.

    Args:
        path: The CSV file.
        images: What tells the category id of a label, and the sizes of images.
        member: Name of the model for the metadata.
        unit: "normalized", or "pixel", for which the sizes have to be known. Masks are in pixels always, and
            boxes are then their bounds.

    Returns:
        The table. Boxes that end before they begin are left out, as the official evaluator does; a note in its
        metadata (`made_by`) says how many.

    Raises:
        InputError: If the file has a fault, or a label is not known.
    """
    known = images if isinstance(images, ImageList) else None
    if known is None:
        given = isinstance(images, GroundTruth)
        known = ImageList.from_ground_truth(images) if given else read_image_list(images, text_ids=True)  # type: ignore[arg-type]
    if known.category_id is None or known.category_label is None:
        raise InputError(known.source, "it does not tell the labels (/m/...) of the category ids", "Give its classes")
    number_of = dict(zip(known.category_label, known.category_id.tolist(), strict=True))
    submission = CsvSubmission(Path(path))
    blocks = checked_blocks(submission, path)
    image, label = (
        np.concatenate([np.zeros(0, object), *(getattr(b, n) for b in blocks)]) for n in ("image", "category")
    )
    category = _category_ids(label, number_of, path)
    score = np.concatenate([np.zeros(0), *(block.score for block in blocks)])
    notes: list[str] = []
    if submission.iou_type == "segm":
        mask, unit = pa.chunked_array([block.mask for block in blocks], MASK_TYPE), "pixel"
        boxes: dict[str, Any] = {"xywh": mask_bounds(mask), "mask": mask}
    else:
        corners = np.concatenate([np.zeros((0, 4)), *(block.corners for block in blocks)])
        keep = np.all(~(corners[:, :2] > corners[:, 2:]), axis=1)
        if not keep.all():
            image, category, score, corners = (column[keep] for column in (image, category, score, corners))
            count = int(np.count_nonzero(~keep))
            notes.append(f"{count} of {len(keep)} boxes have a negative width or height; left out, as officially")
        boxes = {"xyxy": corners * _sizes(known, image) if unit == "pixel" else corners}
    return DetectionTable.from_arrays(
        image_id=image,
        category_id=category,
        score=score,
        **boxes,
        metadata=Metadata(
            unit=unit,
            member=member,
            boxes="from_masks" if submission.iou_type == "segm" else "given",
            made_by={"source": Path(path).name, "notes": notes},
        ),
        where=path,
    )


def _sizes(images: ImageList, ids: np.ndarray) -> np.ndarray:
    place = images.places(ids)
    size = np.stack([images.width[place], images.height[place]], axis=1)
    if (place < 0).any() or (size <= 0).any():
        raise InputError(images.source, "it does not tell the sizes of all images of the submission", "Give them")
    return np.tile(size, 2)


def _category_ids(label: np.ndarray, number_of: Mapping[str, int], path: object) -> np.ndarray:
    numbers = [number_of.get(name, -1) for name in label.tolist()]
    if -1 in numbers:
        name = label[numbers.index(-1)]
        raise InputError(path, f"label {name!r:.80} is not among the classes ({numbers.count(-1)} detections)")
    return np.array(numbers, dtype=np.int32)


def _form_of(header: list[str]) -> tuple[str, ...] | None:
    names = [name.strip() for name in header]
    for columns in (KAGGLE_MASKS, KAGGLE_BOXES, EVALUATOR_MASKS, EVALUATOR_BOXES):
        if set(columns) <= set(names):
            return columns
    return None


def _numbers(texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Return the numbers, and which texts were numbers."""
    try:
        return pa.array(texts, pa.string()).cast(pa.float64()).to_numpy(), np.ones(len(texts), dtype=bool)
    except pa.ArrowInvalid:
        numbers, good = np.zeros(len(texts)), np.ones(len(texts), dtype=bool)
        for row, text in enumerate(texts):
            try:
                numbers[row] = pa.scalar(text).cast(pa.float64()).as_py()
            except pa.ArrowInvalid:
                good[row] = False
        return numbers, good
