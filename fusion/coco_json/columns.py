"""From plain records to the columns of a table: ids joined, boxes and masks checked."""

from collections import Counter
from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa
from pycocotools import mask as mask_codec

from fusion.coco_json.category_join import CategoryJoin
from fusion.coco_json.image_join import ImageJoin
from fusion.coco_json.records import Problems, Result
from fusion.coco_json.vocabulary import Vocabulary
from fusion.errors import InputError
from fusion.kernels.rle_check import fitting_runs
from fusion.table import MASK_TYPE

__all__ = ["ColumnGatherer"]


class ColumnGatherer:
    """Takes records block by block, checks and joins them, and gathers the columns.

    Args:
        where: Name of the results file.
        vocabulary: What image ids are joined to; None keeps them.
        image_join: Finds images in the vocabulary.
        category_join: Finds categories.
        problems: Where faults of records go.
        image_offset: Added to integer image ids where there is no vocabulary.
        box_format: "xywh" or "xyxy".
        scores: "any" or "unit".
    """

    def __init__(
        self,
        where: str,
        vocabulary: Vocabulary | None,
        image_join: ImageJoin | None,
        category_join: CategoryJoin,
        problems: Problems,
        image_offset: int,
        box_format: str,
        scores: str,
    ) -> None:
        self._where, self._vocabulary = where, vocabulary
        self._image_join, self._category_join, self._problems = image_join, category_join, problems
        self._offset, self._corners, self._unit = image_offset, box_format == "xyxy", scores == "unit"
        self._image: list[Any] = []
        self._category: list[np.ndarray] = []
        self._score: list[np.ndarray] = []
        self._box: list[np.ndarray] = []
        self._mask: list[pa.Array] = []
        self._texts: bool | None = None
        self._rows = self._boxless = self._masks = 0
        self._low, self._high = np.inf, -np.inf

    @property
    def only_masks(self) -> bool:
        """Whether there were detections, and none came with a box."""
        return self._rows > 0 and self._boxless == self._rows

    def take(self, results: Sequence[Result], number: np.ndarray) -> None:
        """Take over records.

        Args:
            results: Plain records.
            number: int64 [n], their numbers in the file.
        """
        if not results:
            return
        score = np.array([result.score for result in results], dtype=np.float64)
        self._check_scores(score, number)
        mask, size = self._masks_of(results, number)
        box = self._boxes(results, mask, size, number)
        image, keep = self._images([result.image_id for result in results], number)
        if size is not None:
            self._check_sizes(size, image, keep, number)
        category = self._categories([result.category_id for result in results], keep)
        self._rows += len(results)
        columns = ((self._image, image), (self._category, category), (self._score, score), (self._box, box))
        for gathered, column in columns:
            gathered.append(column if keep.all() else column[keep])
        self._mask.append(mask if keep.all() else mask.filter(pa.array(keep)))

    def finish(self) -> list[str]:
        """Return the notes.

        Raises:
            InputError: If categories were not found and are not to be dropped.
        """
        notes = self._category_join.finish()
        if not self._rows:
            return [*notes, "there are no detections in it"]
        if self._offset and self._image_join is None:
            notes.append(f"{self._offset} added to image ids")
        if self._low < 0 or self._high > 1:
            notes.append(f"scores from {self._low:g} to {self._high:g}, beyond [0, 1]")
        if self._boxless:
            which = "all detections" if self.only_masks else f"{self._boxless} of {self._rows} detections"
            notes.append(f"{which} have no bbox; the bounds of their masks are taken")
        if self._corners:
            notes.append("boxes turned from xyxy into xywh")
        return notes

    def columns(self) -> dict[str, Any]:
        """Return the columns, as DetectionTable.from_arrays takes them."""
        box = np.concatenate([np.zeros((0, 4)), *self._box])
        return {
            "image_id": self._image_column(),
            "category_id": np.concatenate([np.zeros(0, np.int32), *self._category]),
            "score": np.concatenate([np.zeros(0), *self._score]),
            "xyxy" if self._corners else "xywh": box,
            "mask": pa.chunked_array(self._mask) if self._masks else None,
        }

    def _image_column(self) -> np.ndarray:
        if self._vocabulary is None:
            kind = object if self._texts else np.int64
            return np.concatenate([np.zeros(0, kind), *self._image])
        places = np.concatenate([np.zeros(0, np.int64), *self._image])
        ids: np.ndarray = self._vocabulary.image_ids[places]
        return ids

    def _check_scores(self, score: np.ndarray, number: np.ndarray) -> None:
        self._low, self._high = min(self._low, score.min()), max(self._high, score.max())
        if self._unit:
            for row in np.flatnonzero((score < 0) | (score > 1)).tolist():
                remedy = "Calibrate the scores, or accept them with scores='any'"
                self._problems.add(int(number[row]), "score", "a score in [0, 1]", f"{score[row]:g}", remedy)

    def _masks_of(self, results: Sequence[Result], number: np.ndarray) -> tuple[pa.StructArray, np.ndarray | None]:
        """Return the mask column, null where a mask is missing or damaged, and the sizes, 0 there."""
        masks = [result.segmentation for result in results]
        if masks.count(None) == len(masks):
            return pa.nulls(len(masks), MASK_TYPE), None
        counts = pa.array([None if mask is None else mask.counts for mask in masks], pa.string()).cast(pa.binary())
        size = np.array([(0, 0) if mask is None else mask.size for mask in masks], dtype=np.int64).clip(0, 2**31 - 1)
        there = np.array([mask is not None for mask in masks])
        _, ends, text = counts.buffers()
        fits = fitting_runs(
            np.frombuffer(text, np.uint8) if text is not None else np.zeros(0, np.uint8),
            np.frombuffer(ends, np.int32)[: len(masks) + 1],
            there,
            size,
        )
        for row in np.flatnonzero(~fits).tolist():
            got = f"runs that do not, for size {size[row].tolist()}"
            remedy = "Encode these masks again"
            self._problems.add(int(number[row]), "segmentation", "a mask whose runs fill its size", got, remedy)
        there &= fits
        size[~there] = 0
        self._masks += int(there.sum())
        sides = [pa.array(np.ascontiguousarray(side), pa.int32()) for side in size.T.astype(np.int32)]
        column = pa.StructArray.from_arrays([*sides, counts], fields=list(MASK_TYPE), mask=pa.array(~there))
        return column, size

    def _boxes(
        self, results: Sequence[Result], mask: pa.StructArray, size: np.ndarray | None, number: np.ndarray
    ) -> np.ndarray:
        given = [result.bbox for result in results]
        wanted = [row for row, box in enumerate(given) if box is None] if None in given else []
        filled: list[Any] = [box or (0.0, 0.0, 0.0, 0.0) for box in given] if wanted else given
        boxes = np.fromiter(chain.from_iterable(filled), np.float64, 4 * len(given)).reshape(-1, 4)
        if wanted:
            self._boxless += len(wanted)
            for row in wanted:
                if results[row].segmentation is None:
                    self._problems.add(
                        int(number[row]),
                        "bbox",
                        "a bbox or a segmentation in every record",
                        "neither",
                        "Mend these records",
                    )
                elif size is not None and size[row].any():
                    counts = mask.field("counts")[row].as_py()
                    boxes[row] = mask_codec.toBbox({"size": size[row].tolist(), "counts": counts})
                    if self._corners:
                        boxes[row, 2:] += boxes[row, :2]
        sides = boxes[:, 2:]
        if self._corners:
            with np.errstate(over="ignore"):
                sides = sides - boxes[:, :2]
        for row, side in np.argwhere(~(sides >= 0)).tolist():
            name = ("width", "height")[side]
            remedy = "Mend these records" if self._corners else "If the boxes are corners, say box_format='xyxy'"
            got = f"{name} {sides[row, side]:g}"
            self._problems.add(int(number[row]), "bbox", "a width and height of at least 0", got, remedy)
        for row in np.flatnonzero(np.isinf(sides).any(axis=1) | np.isinf(boxes).any(axis=1)).tolist():
            self._problems.add(
                int(number[row]), "bbox", "corners at a finite distance", "infinite", "Mend these records"
            )
        return boxes

    def _images(self, ids: list[int | str], number: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the images of the records (ids, or places in the vocabulary) and which records to keep."""
        column = self._id_array(ids, number)
        if self._image_join is None:
            if self._offset and not self._texts:
                wide = 2**63 - 1 - abs(self._offset)
                if int(column.max()) > wide or int(column.min()) < -wide:
                    raise InputError(
                        self._where, f"an image id plus {self._offset} is beyond 64 bits", "Mend image_offset"
                    )
                column = column + self._offset
            return column, np.ones(len(column), np.bool_)
        distinct, inverse = _distinct(column)
        places = self._image_join.places(distinct, np.bincount(inverse, minlength=len(distinct)))[inverse]
        return places, places >= 0

    def _id_array(self, ids: list[int | str], number: np.ndarray) -> np.ndarray:
        texts = [isinstance(name, str) for name in ids]
        if self._texts is None:
            self._texts = texts[0]
        if any(texts) != self._texts or (not all(texts) and self._texts):
            row = texts.index(not self._texts)
            was, now = ("a text", "an integer") if self._texts else ("an integer", "a text")
            raise InputError(
                f"{self._where}, record {number[row]}, field 'image_id'",
                f"expected {was} as in the records before, got {now}",
                "Write all image ids in one way",
            )
        return np.array(ids, dtype=object if self._texts else np.int64)

    def _check_sizes(self, size: np.ndarray, places: np.ndarray, keep: np.ndarray, number: np.ndarray) -> None:
        known = self._vocabulary.sizes if self._vocabulary is not None else None
        if known is None:
            return
        expected = known[np.where(keep, places, 0)]
        wrong = keep & size.any(axis=1) & expected.any(axis=1) & (size != expected).any(axis=1)
        for row in np.flatnonzero(wrong).tolist():
            got = f"size {size[row].tolist()} for an image of {expected[row].tolist()}"
            what = "masks of the size of their images in the ground truth"
            self._problems.add(int(number[row]), "segmentation", what, got, "Resize the masks")

    def _categories(self, sources: list[int | str], keep: np.ndarray) -> np.ndarray:
        """Return the category ids of the records; those of unknown ones are taken out of `keep`."""
        weights = Counter(
            sources if keep.all() else [source for source, kept in zip(sources, keep, strict=True) if kept]
        )
        found = {source: self._category_join.find(source, weight) for source, weight in weights.items()}
        if None in found.values():
            keep &= np.array([found.get(source) is not None for source in sources])
        numbers = {source: number or 0 for source, number in found.items()}
        return np.array([numbers.get(source, 0) for source in sources], dtype=np.int32)


def _distinct(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (values, inverse) such that values[inverse] is the input; runs of one value are told apart only once.

    Results are grouped by image, so this is many times faster than sorting.
    """
    new = np.concatenate(([True], values[1:] != values[:-1]))
    heads, run = values[new], np.cumsum(new) - 1
    distinct, inverse = np.unique(heads, return_inverse=True)
    return distinct, inverse[run]
