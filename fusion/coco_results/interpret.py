"""From the raw columns of a results file to a table: ids joined, boxes brought to xywh, everything checked."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow.compute as pc

from fusion.arrow_arrays import arrow_array, numpy_array
from fusion.box_formats import box_columns, needs_sizes
from fusion.coco_results.category_join import CategoryJoin
from fusion.coco_results.image_join import ImageJoin
from fusion.coco_results.raw import RawColumns
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
        self.only_masks = False
        self.unit = "pixel"

    def columns(self, image_join: ImageJoin | None, category_join: CategoryJoin, scores: str) -> dict[str, Any]:
        """Return the columns, as `DetectionTable.from_arrays` takes them.

        Raises:
            InputError: With every kind of fault that the file has.
        """
        raw = self._raw
        weight = np.bincount(raw.image, minlength=len(raw.images))
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
        partial = self._vocabulary is not None and self._vocabulary.partial and not image_errors
        keep = (places[raw.image] >= 0) | partial
        numbers, category_errors = category_join.numbers(
            raw.categories, np.bincount(raw.category[keep], minlength=len(raw.categories))
        )
        self.notes += category_join.notes
        known = np.array([number is not None for number in numbers], np.bool_)
        size = self._sizes(places)
        size = None if size is None else size[raw.image]
        self._check_scores(scores)
        boxes = self._boxes(size, keep)
        self._check_masks(size, keep)
        keep &= known[raw.category] if len(known) else True
        errors = [*self._problems.errors(), *image_errors, *category_errors]
        if errors:
            raise _together(errors, self._where)
        rows = slice(None) if keep.all() else keep
        return {
            "image_id": images[raw.image[rows]],
            "category_id": np.array([number or 0 for number in numbers], np.int32)[raw.category[rows]],
            "score": raw.score[rows],
            boxes[0]: boxes[1][rows],
            "mask": raw.mask if raw.mask is None or keep.all() else raw.mask.filter(arrow_array(keep)),
        }

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

    def _check_scores(self, scores: str) -> None:
        score = self._raw.score
        if scores == "unit":
            for row in np.flatnonzero((score < 0) | (score > 1)).tolist():
                remedy = f"Calibrate the scores, or accept them with {option('scores', 'any')}"
                self._add(row, "score", "a score in [0, 1]", f"{score[row]:g}", remedy)
        if len(score) and (score.min() < 0 or score.max() > 1):
            self.notes.append(f"scores from {score.min():g} to {score.max():g}, beyond [0, 1]")

    def _boxes(self, size: np.ndarray | None, keep: np.ndarray) -> tuple[str, np.ndarray]:
        box_format, picture = self._reading.how
        raw = self._raw
        if not len(raw.box):
            self.notes.append("there are no detections in it")
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
            boxes = self._filled(name, boxes, boxless)
        with np.errstate(over="ignore", invalid="ignore"):
            sides = boxes[:, 2:] if name == "xywh" else boxes[:, 2:] - boxes[:, :2]
        checked = keep if needs_sizes(box_format, picture) else np.ones(len(keep), np.bool_)
        for row, side in np.argwhere(~(sides >= 0) & checked[:, None]).tolist():
            remedy = _MEND if name == "xyxy" else f"If the boxes are corners, say {option('box_format', 'xyxy')}"
            got = f"{('width', 'height')[side]} {sides[row, side]:g}"
            self._add(row, "bbox", "a width and height of at least 0", got, remedy)
        for row in np.flatnonzero((np.isinf(sides).any(axis=1) | np.isinf(boxes).any(axis=1)) & checked).tolist():
            self._add(row, "bbox", "corners at a finite distance", "infinite", _MEND)
        if self._reading.says_boxes:
            of = "" if self._reading.picture is None else f" of {picture} pictures"
            if (box_format, of) != ("xywh", ""):
                self.notes.append(f"boxes turned from {box_format}{of} into xywh")
        return name, boxes

    def _stay_shares(self, box_format: str) -> bool:
        """Tell whether boxes that are shares of the picture's sides are kept so, as what they are measured on is."""
        if not box_format.endswith("_normalized") or self._reading.picture is not None:
            return False
        if self._vocabulary is not None:
            return self._vocabulary.unit == "normalized"
        if self._reading.box_format is not None:
            return False
        self.notes.append("the sizes of the images are not known: boxes stay shares of their sides")
        return True

    def _filled(self, name: str, boxes: np.ndarray, boxless: np.ndarray) -> np.ndarray:
        """Give records without a box the bounds of their mask."""
        self.only_masks = bool(boxless.all())
        rows = np.flatnonzero(boxless)
        which = "all detections" if self.only_masks else f"{len(rows)} of {len(boxless)} detections"
        self.notes.append(f"{which} have no bbox; the bounds of their masks are taken")
        boxes = boxes.copy()
        boxes[rows] = 0.0
        low = 0
        for chunk in self._raw.mask.chunks if self._raw.mask is not None else ():
            here = boxless[low : low + len(chunk)] & numpy_array(pc.is_valid(chunk))
            bounds = mask_bounds(chunk.filter(arrow_array(here)))
            if name == "xyxy":
                bounds[:, 2:] += bounds[:, :2]
            boxes[low + np.flatnonzero(here)] = bounds
            low += len(chunk)
        return boxes

    def _check_masks(self, expected: np.ndarray | None, keep: np.ndarray) -> None:
        if expected is None or self._raw.mask is None:
            return
        sides = [pc.struct_field(self._raw.mask, side) for side in ("height", "width")]
        size = np.stack([numpy_array(side, 0) for side in sides], axis=1)
        wrong = keep & size.any(axis=1) & expected.any(axis=1) & (size != expected).any(axis=1)
        for row in np.flatnonzero(wrong).tolist():
            got = f"size {size[row].tolist()} for an image of {expected[row].tolist()}"
            what = "masks of the size of their images in the ground truth"
            self._add(row, "segmentation", what, got, "Resize the masks")

    def _add(self, row: int, *what: str) -> None:
        self._problems.add(int(self._raw.number[row]), *what)


def _together(errors: Sequence[InputError], where: str) -> InputError:
    """Say all kinds of fault of a file in one message."""
    if len(errors) == 1:
        return errors[0]
    first = errors[0]
    told = [f"{error.where.removeprefix(where).lstrip(', ')}: {error.problem} ({error.remedy})" for error in errors[1:]]
    rest = "; and ".join(text.removeprefix(": ") for text in told)
    return InputError(first.where, f"{first.problem} ({first.remedy or _MEND}); and {rest}")
