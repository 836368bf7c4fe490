"""From the raw columns of a results file to a table: ids joined, boxes brought to xywh, everything checked."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow.compute as pc

from fusion.arrow_arrays import arrow_array, numpy_array
from fusion.box_formats import box_columns, needs_sizes
from fusion.coco_results.category_join import CategoryJoin
from fusion.coco_results.image_join import ImageJoin
from fusion.coco_results.raw import RawColumns, counted
from fusion.coco_results.reading import Reading
from fusion.coco_results.records import Problems
from fusion.coco_results.vocabulary import Vocabulary
from fusion.errors import InputError, option
from fusion.masks import mask_bounds

__all__ = ["Interpreter"]

_MEND = "Mend these records"


class Interpreter:
    """Turns raw columns into those of a table.

    Args:
        where: Name of the results file.
        raw: Its records.
        vocabulary: What image ids are joined to; None keeps them.
        reading: What the numbers mean.
        problems: Faults of records that were found before; those found here are added.
    """

    def __init__(
        self, where: str, raw: RawColumns, vocabulary: Vocabulary | None, reading: Reading, problems: Problems
    ) -> None:
        self._where, self._raw, self._vocabulary = where, raw, vocabulary
        self._reading, self._problems = reading, problems
        self.notes: list[str] = []
        self.unit = "pixel"
        self._boxless, self._low, self._high = 0, np.inf, -np.inf
        self._shares = self._turned = self._partial = False

    @property
    def only_masks(self) -> bool:
        """Whether no record had a box, after `pieces`."""
        return 0 < self._boxless == len(self._raw.score)

    def pieces(
        self, image_join: ImageJoin | None, category_join: CategoryJoin, scores: str, rows: int | None = None
    ) -> Iterator[dict[str, Any]]:
        """Yield the columns, as `DetectionTable.from_arrays` takes them, some records at a time.

        Args:
            image_join: Finds the images; None keeps their ids.
            category_join: Finds the categories.
            scores: "any", or "unit" for those in [0, 1] alone.
            rows: Number of records at a time; all by default.

        Raises:
            InputError: With every kind of fault that the file has, after the last piece.
        """
        raw = self._raw
        errors, images, places, numbers = self._joined(image_join, category_join)
        for low in range(0, max(len(raw.score), 1), rows or max(len(raw.score), 1)):
            high = len(raw.score) if rows is None else min(low + rows, len(raw.score))
            columns = self._piece(raw.part(low, high), places, numbers, scores)
            if not errors and not self._problems.errors():
                yield {"image_id": images[columns.pop("image")], **columns}
        errors = [*self._problems.errors(), *errors]
        if errors:
            raise _together(errors, self._where)
        self._tell()

    def _joined(
        self, image_join: ImageJoin | None, category_join: CategoryJoin
    ) -> tuple[list[InputError], np.ndarray, np.ndarray, list[int | None]]:
        """Return faults, the id of each image, its place in the vocabulary, and the id of each category."""
        raw = self._raw
        weight = counted(raw.image, len(raw.images))
        if image_join is None:
            images, image_errors = self._own_images()
            places = np.zeros(len(raw.images), np.int64)
        else:
            places, image_errors = image_join.places(raw.images, weight)
            self.notes += image_join.notes
            images = places
            if self._vocabulary is not None and self._vocabulary.partial:
                known = self._vocabulary.image_ids
                own = [
                    known[place] if place >= 0 else str(key.name or key.id)
                    for key, place in zip(raw.images, places.tolist(), strict=True)
                ]
                images = np.array(own, object)
            elif self._vocabulary is not None:
                images = self._vocabulary.image_ids[places]
        self._partial = self._vocabulary is not None and self._vocabulary.partial and not image_errors
        kept = (places >= 0) | self._partial
        numbers, category_errors = category_join.numbers(
            raw.categories, counted(raw.category, len(raw.categories), raw.image, kept)
        )
        self.notes += category_join.notes
        return [*image_errors, *category_errors], images, places, numbers

    def _piece(self, raw: RawColumns, places: np.ndarray, numbers: Sequence[int | None], scores: str) -> dict[str, Any]:
        keep = (places[raw.image] >= 0) | self._partial
        known = np.array([number is not None for number in numbers], np.bool_)
        size = self._sizes(places)
        size = None if size is None else size[raw.image]
        self._check_scores(raw, scores)
        boxes = self._boxes(raw, size, keep)
        self._check_masks(raw, size, keep)
        keep &= known[raw.category] if len(known) else True
        rows = slice(None) if keep.all() else keep
        return {
            "image": raw.image[rows],
            "category_id": np.array([number or 0 for number in numbers], np.int32)[raw.category[rows]],
            "score": np.asarray(raw.score[rows]),
            boxes[0]: boxes[1][rows],
            "mask": raw.mask if raw.mask is None or keep.all() else raw.mask.filter(arrow_array(keep)),
        }

    def _tell(self) -> None:
        """Note what was done with scores and boxes."""
        count = len(self._raw.score)
        if count and (self._low < 0 or self._high > 1):
            self.notes.append(f"scores from {self._low:g} to {self._high:g}, beyond [0, 1]")
        if not count:
            self.notes.append("there are no detections in it")
            return
        if self._shares:
            self.notes.append("the sizes of the images are not known: boxes stay shares of their sides")
        if self._boxless:
            which = "all detections" if self.only_masks else f"{self._boxless} of {count} detections"
            self.notes.append(f"{which} have no bbox; the bounds of their masks are taken")
        if self._turned:
            box_format, picture = self._reading.how
            of = "" if self._reading.picture is None else f" of {picture} pictures"
            if self.unit == "normalized":
                box_format = box_format.removesuffix("_normalized")
            if (box_format, of) != ("xywh", ""):
                self.notes.append(f"boxes turned from {box_format}{of} into xywh")

    def _own_images(self) -> tuple[np.ndarray, Sequence[InputError]]:
        """Return the image ids of the file itself, where there is nothing to join them to."""
        keys, offset = self._raw.images, self._reading.image_offset
        nameless = [key for key in keys if key.id is None]
        if nameless:
            problem = f"its images have names and no ids, such as {nameless[0].name!r}"
            return np.zeros(len(keys), np.int64), [
                InputError(self._where, problem, "Give the ground truth, to which names are joined")
            ]
        texts = [isinstance(key.id, str) for key in keys]
        if any(texts) and not all(texts):
            other = texts.index(not texts[0])
            row = int(self._raw.number[np.argmax(self._raw.image == other)])
            was, now = ("a text", "an integer") if texts[0] else ("an integer", "a text")
            error = InputError(
                f"{self._where}, {self._problems.place(row)}, field 'image_id'",
                f"expected {was} as in the records before, got {now}",
                "Write all image ids in one way, or give the ground truth, to which they are joined",
            )
            return np.zeros(len(keys), np.int64), [error]
        if keys and texts[0]:
            return np.array([key.id for key in keys], object), []
        ids = [int(key.id or 0) + offset for key in keys]
        if ids and not (min(ids) >= -(2**63) and max(ids) < 2**63):
            problem = f"an image id plus {offset} is beyond 64 bits"
            return np.zeros(len(keys), np.int64), [InputError(self._where, problem, f"Mend {option('image_offset')}")]
        if offset:
            self.notes.append(f"{offset} added to image ids")
        return np.array(ids, np.int64), []

    def _sizes(self, places: np.ndarray) -> np.ndarray | None:
        """Return height and width of each image of the file, 0 where they are not known."""
        sizes = None if self._vocabulary is None else self._vocabulary.sizes
        if sizes is None or not len(sizes):
            return None
        return np.where((places >= 0)[:, None], sizes[np.maximum(places, 0)], 0)

    def _check_scores(self, raw: RawColumns, scores: str) -> None:
        score = raw.score
        if scores == "unit":
            for row in np.flatnonzero((score < 0) | (score > 1)).tolist():
                remedy = f"Calibrate the scores, or accept them with {option('scores', 'any')}"
                self._add(raw, row, "score", "a score in [0, 1]", f"{score[row]:g}", remedy)
        self._low = min(self._low, score.min(initial=np.inf))
        self._high = max(self._high, score.max(initial=-np.inf))

    def _boxes(self, raw: RawColumns, size: np.ndarray | None, keep: np.ndarray) -> tuple[str, np.ndarray]:
        box_format, picture = self._reading.how
        if not len(raw.box):
            return "xywh", raw.box
        boxless = np.isnan(raw.box[:, 0])
        if self._stay_shares(box_format):
            self.unit, box_format = "normalized", box_format.removesuffix("_normalized")
        if needs_sizes(box_format, picture):
            unknown = keep & (np.zeros(len(keep), np.bool_) if size is None else (size == 0).any(axis=1))
            if size is None or unknown.any():
                self._problems.add(
                    int(raw.number[np.argmax(unknown)]),
                    "bbox",
                    "an image whose size is known, which these boxes are shares of",
                    "one without",
                    "Give a ground truth with the width and height of the images",
                )
                return "xywh", raw.box
        name, boxes = box_columns(raw.box, box_format, picture, size)
        if boxless.any():
            boxes = self._filled(raw, name, boxes, boxless)
        with np.errstate(over="ignore", invalid="ignore"):
            sides = boxes[:, 2:] if name == "xywh" else boxes[:, 2:] - boxes[:, :2]
        checked = keep if needs_sizes(box_format, picture) else np.ones(len(keep), np.bool_)
        for row, side in np.argwhere(~(sides >= 0) & checked[:, None]).tolist():
            remedy = _MEND if name == "xyxy" else f"If the boxes are corners, say {option('box_format', 'xyxy')}"
            got = f"{('width', 'height')[side]} {sides[row, side]:g}"
            self._add(raw, row, "bbox", "a width and height of at least 0", got, remedy)
        for row in np.flatnonzero((np.isinf(sides).any(axis=1) | np.isinf(boxes).any(axis=1)) & checked).tolist():
            self._add(raw, row, "bbox", "corners at a finite distance", "infinite", _MEND)
        self._turned = self._reading.says_boxes
        return name, boxes

    def _stay_shares(self, box_format: str) -> bool:
        """Tell whether boxes that are shares of the picture's sides are kept so, as what they are measured on is."""
        if not box_format.endswith("_normalized") or self._reading.picture is not None:
            return False
        if self._vocabulary is not None:
            return self._vocabulary.unit == "normalized"
        if self._reading.box_format is not None:
            return False
        self._shares = True
        return True

    def _filled(self, raw: RawColumns, name: str, boxes: np.ndarray, boxless: np.ndarray) -> np.ndarray:
        """Give records without a box the bounds of their mask."""
        rows = np.flatnonzero(boxless)
        self._boxless += len(rows)
        boxes = boxes.copy()
        boxes[rows] = 0.0
        low = 0
        for chunk in raw.mask.chunks if raw.mask is not None else ():
            here = boxless[low : low + len(chunk)] & numpy_array(pc.is_valid(chunk))
            bounds = mask_bounds(chunk.filter(arrow_array(here)))
            if name == "xyxy":
                bounds[:, 2:] += bounds[:, :2]
            boxes[low + np.flatnonzero(here)] = bounds
            low += len(chunk)
        return boxes

    def _check_masks(self, raw: RawColumns, expected: np.ndarray | None, keep: np.ndarray) -> None:
        if expected is None or raw.mask is None:
            return
        sides = [pc.struct_field(raw.mask, side) for side in ("height", "width")]
        size = np.stack([numpy_array(side, 0) for side in sides], axis=1)
        wrong = keep & size.any(axis=1) & expected.any(axis=1) & (size != expected).any(axis=1)
        for row in np.flatnonzero(wrong).tolist():
            got = f"size {size[row].tolist()} for an image of {expected[row].tolist()}"
            what = "masks of the size of their images in the ground truth"
            self._add(raw, row, "segmentation", what, got, "Resize the masks")

    def _add(self, raw: RawColumns, row: int, *what: str) -> None:
        self._problems.add(int(raw.number[row]), *what)


def _together(errors: Sequence[InputError], where: str) -> InputError:
    """Say all kinds of fault of a file in one message."""
    if len(errors) == 1:
        return errors[0]
    first = errors[0]
    told = [f"{error.where.removeprefix(where).lstrip(', ')}: {error.problem} ({error.remedy})" for error in errors[1:]]
    rest = "; and ".join(text.removeprefix(": ") for text in told)
    return InputError(first.where, f"{first.problem} ({first.remedy or _MEND}); and {rest}")
