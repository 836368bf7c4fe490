"""Making a submission of a table: checked as a whole first, then written."""

import os
import re
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from evaluation.belonging import check_category_names, check_images
from evaluation.files.table_pieces import TablePieces
from evaluation.ground_truth import GroundTruth
from evaluation.submissions.audit import Audit, Block
from evaluation.submissions.coco import encode_records, write_json
from evaluation.submissions.coco_file import check_size
from evaluation.submissions.image_list import COCO_CATEGORIES, LVIS_CATEGORIES, ImageList, read_image_list
from evaluation.submissions.open_images import Entries, evaluator_text, kaggle_text, write_evaluator, write_kaggle
from evaluation.submissions.report import Findings, Report
from evaluation.submissions.table_blocks import block_of
from fusion.belonging import Sketch
from fusion.checks import at_least, one_of
from fusion.errors import InputError, option
from fusion.table import DetectionTable

__all__ = ["CAPS", "Submission", "image_list", "write_submission"]

CAPS: dict[str, int | None] = {
    "coco": 100,
    "lvis": 300,
    "openimages-detection": None,
    "openimages-segmentation": None,
    "openimages-evaluator": None,
}
"""The formats, and how many detections of an image count in them."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+_-]*")
_SAMPLES = 4


class Submission:
    """A table that is to become a submission.

    Making one checks the whole table and writes nothing; `report` tells what was found, `write` writes.

    Args:
        table: A table, or the path of one; folders of parts and large files are gone through in pieces. The file that
            is written is the same for both.
        format: "coco", "lvis", "openimages-detection", "openimages-segmentation" (both as Kaggle takes
            them) or "openimages-evaluator" (the official evaluator's).
        images: The split: an image list, a ground truth, or the file of one.
        split: Name of the split, such as "test-dev2017"; needed by COCO and LVIS.
        algorithm: Name of the method; needed by COCO and LVIS.
        iou_type: "bbox" or "segm"; Kaggle's forms have one each.
        max_per_image: Write the best so many of each image, at most as many as the format takes.
        digits: Decimals of box coordinates; None writes as many as it takes to read the same 64 bits.
        score_digits: The same for scores.
        progress: Called with the rows done so far and in all.

    Attributes:
        report: What was found.
        progress: Called while writing, too; may be changed.

    Raises:
        InputError: If an option, the table or the image list cannot be used.
    """

    def __init__(
        self,
        table: DetectionTable | TablePieces | str | os.PathLike[str],
        format: str,  # noqa: A002 - the word that users know it by
        *,
        images: ImageList | GroundTruth | str | os.PathLike[str],
        split: str | None = None,
        algorithm: str | None = None,
        iou_type: str | None = None,
        max_per_image: int | None = None,
        digits: int | None = None,
        score_digits: int | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        one_of("format", format, tuple(CAPS))
        for name, number, least in (
            ("max_per_image", max_per_image, 1),
            ("digits", digits, 0),
            ("score_digits", score_digits, 0),
        ):
            if number is not None:
                at_least(name, number, least, whole=True)
        self._format, self._iou_type = format, _iou_type(format, iou_type)
        self._json = format in ("coco", "lvis")
        self._images = image_list(images, format)
        self._split, self._algorithm = _name("split", split, self._json), _name("algorithm", algorithm, self._json)
        limits = [limit for limit in (CAPS[format], max_per_image) if limit is not None]
        self._cap = min(limits) if limits else None
        self._digits, self._score_digits, self.progress = digits, score_digits, progress
        self._table = table if isinstance(table, TablePieces) else TablePieces(table)
        self._check_belongs()
        self._labels = self._label_array()
        self._normalized = self._table.metadata.unit == "normalized"
        self._check_units()
        self.report = self._check()

    @property
    def file_name(self) -> str:
        """The name that the servers expect; COCO's for LVIS as well."""
        if self._json:
            return f"{self._stem}.zip"
        return "_".join(part for part in ("submission", self._split, self._algorithm) if part) + ".csv"

    @property
    def _stem(self) -> str:
        return f"detections_{self._split}_{self._algorithm}_results"

    def write(self, path: str | os.PathLike[str]) -> Path:
        """Write the submission, atomically; the same table and options give the same bytes.

        Args:
            path: A file, or a folder for a file with the name that the servers expect. COCO and LVIS: a
                name ending in ".json" gets the JSON text itself, any other a zip archive with it.

        Returns:
            The file.

        Raises:
            InputError: If the report has errors, or the file cannot be written.
        """
        target = Path(path)
        if target.is_dir() or not target.suffix:
            target = target / self.file_name
        if self.report.errors:
            first, others = self.report.errors[0], len(self.report.errors) - 1
            problem = f"{first.what} ({first.count:,}: {'; '.join(first.examples[:2])})"
            problem += f", and {others} other kinds of errors" if others else ""
            raise InputError(self.report.source, problem, first.remedy or "Nothing was written")
        if self._json:
            write_json(target, map(self._records, self._pieces()), f"{self._stem}.json", self.report.size)
            return target
        write = write_evaluator if self._format == "openimages-evaluator" else write_kaggle
        write(target, self._images, map(self._entries, self._pieces()), masks=self._iou_type == "segm")
        return target

    def _check_belongs(self) -> None:
        """Require that the table was imported against images of the data set that the list is of."""
        said, images = self._table.metadata, self._images
        if said.images is not None:
            ids = [entry[0] for entry in said.images.sample]
            texts = any(isinstance(key, str) for key in ids)
            places = images.places(np.array(ids, dtype=object if texts else np.int64))
            check_images(
                self._table.source, said.images, images.sketch(places[places >= 0]), images.sketch(), images.source
            )
        if said.category_names is not None and images.category_name is not None and images.category_id is not None:
            check_category_names(
                self._table.source,
                said.category_names,
                Sketch.of(images.category_id, images.category_name),
                images.source,
                "give the images of its own data set",
            )

    def _check(self) -> Report:
        findings = Findings()
        audit = Audit(findings, self._images, self._known(), self._cap, writing=True, clips=not self._json)
        every = max(self._table.rows // (_SAMPLES * 65536), 1)
        row = sampled = size = packed = 0
        for number, piece in enumerate(self._table):
            block = block_of(piece, row)
            row += len(piece)
            if self._iou_type == "segm":
                _without_mask(findings, block)
                audit.take(replace(block, xywh=np.full((len(piece), 4), np.nan)))
            else:
                audit.take(replace(block, mask=None))
            if number % every == 0 and audit.clean:
                text = self._text(self._best(piece))
                sampled += len(piece)
                size += len(text)
                packed += len(zlib.compress(text))
            self._tell(row)
        audit.finish()
        share = row / sampled if sampled else 0
        if self._json:
            check_size(int(packed * share), "in a zip archive", findings)
        return Report(
            source=self._table.source,
            format=self._format,
            iou_type=self._iou_type,
            detections=audit.detections - audit.over_cap,
            images=audit.image_count,
            listed=len(self._images),
            size=int(size * share),
            packed=int(packed * share),
            findings=findings.all(),
        )

    def _text(self, piece: DetectionTable) -> bytes:
        if self._json:
            return self._records(piece)
        entries = self._entries(piece)
        evaluator = self._format == "openimages-evaluator"
        return evaluator_text(entries, self._images) if evaluator else kaggle_text(entries)

    def _pieces(self) -> Iterator[DetectionTable]:
        done = 0
        for piece in self._table:
            done += len(piece)
            self._tell(done)
            yield self._best(piece)

    def _tell(self, done: int) -> None:
        if self.progress is not None:
            self.progress(done, self._table.rows)

    def _best(self, piece: DetectionTable) -> DetectionTable:
        """Return the best detections of each image, at most as many as the cap, in the order of the rows."""
        counts = np.diff(piece.image_start)
        if self._cap is None or not (counts > self._cap).any():
            return piece
        image = np.repeat(np.arange(len(counts)), counts)
        order = np.lexsort((-piece.score.astype(np.float64), image))  # stable: of equals, the earlier row
        rank = np.arange(len(piece)) - np.repeat(piece.image_start[:-1], counts)
        keep = np.zeros(len(piece), dtype=bool)
        keep[order[rank < self._cap]] = True
        return replace(piece, arrow=piece.arrow.filter(pa.array(keep)).combine_chunks())

    def _records(self, piece: DetectionTable) -> bytes:
        box = piece.xywh.astype(np.float64)
        if self._normalized:
            box *= np.tile(self._sizes_of(piece), 2)
        return encode_records(piece, self._iou_type, _rounded(box, self._digits), self._scores(piece))

    def _scores(self, piece: DetectionTable) -> np.ndarray:
        return _rounded(piece.score.astype(np.float64), self._score_digits)

    def _entries(self, piece: DetectionTable) -> Entries:
        label = self._labels.take(pa.array(piece.category_id))
        masks = piece.mask if self._iou_type == "segm" else None
        places = self._images.places(piece.image_ids)
        if masks is not None:
            texts = masks.flatten()[2].to_pylist()
            return Entries(places, piece.image_start, label, self._scores(piece), None, texts)
        near = [piece.column(name).astype(np.float64) for name in "xy"]
        corners = np.stack([*near, *(piece.far(name) for name in "xy")], axis=1)
        if not self._normalized:
            corners /= np.tile(self._sizes_of(piece), 2)
        corners = _rounded(np.clip(corners, 0, 1), self._digits) + 0.0  # no -0
        return Entries(places, piece.image_start, label, self._scores(piece), corners, None)

    def _sizes_of(self, piece: DetectionTable) -> np.ndarray:
        place = np.repeat(self._images.places(piece.image_ids), np.diff(piece.image_start))
        return np.stack([self._images.width[place], self._images.height[place]], axis=1).astype(np.float64)

    def _known(self) -> np.ndarray:
        if self._images.category_id is not None:
            return self._images.category_id
        return LVIS_CATEGORIES if self._format == "lvis" else COCO_CATEGORIES

    def _label_array(self) -> pa.Array:
        if self._json:
            return pa.array([], pa.string())
        ids, labels = self._images.category_id, self._images.category_label
        if ids is None or labels is None:
            raise InputError(
                self._images.source,
                "it does not tell the labels (/m/...) of the category ids",
                "Give the class descriptions with --class-descriptions, in the order of the ids from 1 on",
            )
        names: list[str | None] = [None] * (int(ids.max(initial=0)) + 1)
        for number, label in zip(ids.tolist(), labels, strict=True):
            names[number] = label
        return pa.array(names, pa.string())

    def _check_units(self) -> None:
        known = bool(((self._images.width > 0) & (self._images.height > 0)).all())
        masks = self._iou_type == "segm"
        needs = (masks and not self._json) or (not masks and self._normalized == self._json)
        if needs and not known:
            raise InputError(
                self._images.source,
                "it does not tell the width and height of its images, which this format needs for "
                + ("masks" if masks else f"boxes in {self._table.metadata.unit} units"),
                "Give a list with sizes: a ground truth, or a CSV file with ImageID, ImageWidth, ImageHeight",
            )


def image_list(images: ImageList | GroundTruth | str | os.PathLike[str], format: str) -> ImageList:  # noqa: A002
    """Return a split as an image list; see `Submission`."""
    if isinstance(images, ImageList):
        return images
    if isinstance(images, GroundTruth):
        return ImageList.from_ground_truth(images)
    return read_image_list(images, text_ids=format.startswith("openimages"))


def write_submission(
    table: DetectionTable | TablePieces | str | os.PathLike[str],
    path: str | os.PathLike[str],
    format: str,  # noqa: A002
    *,
    images: ImageList | GroundTruth | str | os.PathLike[str],
    split: str | None = None,
    algorithm: str | None = None,
    iou_type: str | None = None,
    max_per_image: int | None = None,
    digits: int | None = None,
    score_digits: int | None = None,
) -> Report:
    """Check a table and write it as a submission; see `Submission` for the arguments.

    Returns:
        What was found; there is no error in it.

    Raises:
        InputError: If there is an error; then nothing is written.
    """
    submission = Submission(
        table,
        format,
        images=images,
        split=split,
        algorithm=algorithm,
        iou_type=iou_type,
        max_per_image=max_per_image,
        digits=digits,
        score_digits=score_digits,
    )
    submission.write(path)
    return submission.report


def _iou_type(form: str, given: str | None) -> str:
    if given is not None:
        one_of("iou_type", given, ("bbox", "segm"))
    fixed = {"openimages-detection": "bbox", "openimages-segmentation": "segm"}.get(form)
    if fixed is not None and given not in (None, fixed):
        raise InputError(f"option {option('iou_type')}", f"{form} is {fixed}, got {given}", "Leave it out")
    return fixed or given or "bbox"


def _name(what: str, value: str | None, needed: bool) -> str | None:
    if value is None and needed:
        raise InputError(f"option {option(what)}", "is needed for the name of the file", f"Give the {what}'s name")
    if value is not None and not _NAME.fullmatch(value):
        raise InputError(
            f"option {option(what)}",
            f"expected letters, digits and . + - _, as it is part of a file name, got {value!r}",
        )
    return value


def _rounded(values: np.ndarray, digits: int | None) -> np.ndarray:
    return values if digits is None else np.round(values, digits)


def _without_mask(findings: Findings, block: Block) -> None:
    missing = np.arange(len(block.score)) if block.mask is None else np.flatnonzero(np.asarray(block.mask.is_null()))
    findings.add(
        "error",
        "detections without a mask",
        len(missing),
        map(block.place, missing.tolist()),
        "Submit boxes, or leave these out; a box is not taken for a mask",
    )
