"""From batches of scanned records to the columns of a table: floats, ids, boxes, masks."""

from typing import Any

import numpy as np
import pyarrow as pa
from pycocotools import mask as mask_codec

from fusion.category_join import CategoryJoin
from fusion.coco_records import Problems
from fusion.errors import InputError
from fusion.image_join import ImageJoin
from fusion.kernels.json_batch import CATEGORY, COUNTS, DIGITS, HARD, IMAGE, INTEGER, ROWS, TEXT, Batch
from fusion.table import MASK_TYPE
from fusion.vocabulary import Vocabulary

__all__ = ["BatchSettler"]


class BatchSettler:
    """Takes batches, checks and joins their rows, and gathers the columns.

    Args:
        where: Name of the results file.
        vocabulary: What image ids are joined to; None keeps them.
        image_join: Finds images in the vocabulary.
        category_join: Finds categories.
        problems: Where faults of rows go.
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
        self._columns: dict[str, list[Any]] = {name: [] for name in ("image", "category", "score", *"xywh", "mask")}
        self._kind = -1
        self._rows = self._boxless = self._masks = self._unpixelled = 0
        self._low, self._high = np.inf, -np.inf

    @property
    def only_masks(self) -> bool:
        """Whether there were detections, and none came with a box."""
        return self._rows > 0 and self._boxless == self._rows

    def settle(self, batch: Batch) -> None:
        """Take over the rows of a batch and empty it."""
        rows = int(batch.used[ROWS])
        _place_hard_numbers(batch)
        record, value, masked = batch.record[:rows], batch.value[:rows], batch.masked[:rows]
        area = batch.size[:rows, 0].astype(np.int64) * batch.size[:rows, 1]
        # pycocotools counts pixels in 32 bits
        fits = (batch.pixels[:rows] == area) & (area > 0) & (area < 2**32)
        for row in np.flatnonzero(masked & ~fits).tolist():
            got = f"runs that do not, for size {batch.size[row].tolist()}"
            remedy = "Encode these masks again"
            self._problems.add(int(record[row]), "segmentation", "a mask whose runs fill its size", got, remedy)
        masked &= fits
        mask = _masks(batch, rows, masked)
        self._boxes(batch, rows, mask)
        score = value[:, 0]
        self._low, self._high = min(self._low, score.min()), max(self._high, score.max())
        if self._unit:
            for row in np.flatnonzero((score < 0) | (score > 1)).tolist():
                remedy = "Calibrate the scores, or accept them with scores='any'"
                self._problems.add(int(record[row]), "score", "a score in [0, 1]", f"{score[row]:g}", remedy)
        image, keep = self._images(batch, rows, masked)
        category = self._categories(batch, rows, keep)
        self._rows += rows
        self._boxless += rows - int(batch.boxed[:rows].sum())
        self._masks += int(masked.sum())
        columns = {"image": image, "category": category, "score": score, "mask": mask}
        columns.update(zip("xywh", value[:, 1:].T, strict=True))
        every = bool(keep.all())
        for name, column in columns.items():
            if isinstance(column, pa.Array):
                self._columns[name].append(column if every else column.filter(pa.array(keep)))
            else:
                self._columns[name].append(column.copy() if every else column[keep])
        batch.used[: HARD + 1] = 0
        batch.used[COUNTS] = 0

    def finish(self) -> list[str]:
        """Return the notes.

        Raises:
            InputError: If categories were not found and are not to be dropped.
        """
        notes = self._category_join.finish()
        if not self._rows:
            notes.append("there are no detections in it")
            return notes
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
        """Return the columns, as DetectionTable.from_arrays takes them; what was gathered is given up."""
        image = self._image_column(self._columns.pop("image"))
        mask = self._columns.pop("mask")
        numbers = {name: _joined(self._columns.pop(name), kind) for name, kind in _KINDS.items()}
        return {
            "image_id": image,
            "category_id": numbers["category"],
            "score": numbers["score"],
            "xywh": tuple(numbers[name] for name in "xywh"),
            "mask": pa.concat_arrays(mask) if self._masks else None,
        }

    def _image_column(self, parts: list[Any]) -> Any:
        if self._vocabulary is None:
            if parts and isinstance(parts[0], pa.Array):
                return pa.chunked_array(parts).unify_dictionaries().combine_chunks()
            return _joined(parts, np.int64)
        places = _joined(parts, np.int64)
        ids = self._vocabulary.image_ids
        if ids.dtype.kind in "iu":
            return ids.astype(np.int64, copy=False)[places]
        names = pa.array([str(name) for name in ids], pa.string())
        # codes of images without detections have to go: a table lists its own images only
        used, codes = np.unique(places, return_inverse=True)
        return pa.DictionaryArray.from_arrays(pa.array(codes, pa.int32()), names.take(pa.array(used, pa.int64())))

    def _boxes(self, batch: Batch, rows: int, mask: Any) -> None:
        record, box, boxed = batch.record[:rows], batch.value[:rows, 1:], batch.boxed[:rows]
        if self._corners:
            with np.errstate(over="ignore"):
                box[boxed, 2:] -= box[boxed, :2]
        wanted = np.flatnonzero(~boxed)
        if len(wanted):
            box[wanted] = 0.0
            there = wanted[batch.masked[wanted]]
            size = batch.size
            counts = mask.field("counts").take(pa.array(there)).to_pylist()
            if len(there):
                box[there] = mask_codec.toBbox(
                    [{"size": size[row].tolist(), "counts": text} for row, text in zip(there, counts, strict=True)]
                )
        for row, side in np.argwhere(~(box[:, 2:] >= 0)).tolist():
            name = ("width", "height")[side]
            remedy = "Mend these records" if self._corners else "If the boxes are corners, say box_format='xyxy'"
            got = f"{name} {box[row, 2 + side]:g}"
            self._problems.add(int(record[row]), "bbox", "a width and height of at least 0", got, remedy)
        if self._corners:
            for row in np.flatnonzero(np.isinf(box).any(axis=1)).tolist():
                self._problems.add(int(record[row]), "bbox", "corners at a finite distance", "infinite", "")

    def _images(self, batch: Batch, rows: int, masked: np.ndarray) -> tuple[Any, np.ndarray]:
        """Return the images of the rows (ids, or places in the vocabulary) and which rows to keep."""
        kind = batch.image_kind[:rows]
        self._one_kind(batch, kind)
        if self._kind == TEXT:
            texts = _texts(batch.image_text, batch.image_end, rows, int(batch.used[IMAGE]))
            if self._image_join is None:
                return texts, np.ones(rows, np.bool_)
            ids = np.array(texts.dictionary.to_pylist(), dtype=object)
            inverse = texts.indices.to_numpy()
        else:
            if self._image_join is None:
                return self._shifted(batch.image[:rows]), np.ones(rows, np.bool_)
            ids, inverse = _distinct(batch.image[:rows])
        places = self._image_join.places(ids, np.bincount(inverse, minlength=len(ids)))[inverse]
        keep = places >= 0
        sizes = self._vocabulary.sizes if self._vocabulary is not None else None
        if sizes is not None:
            wrong = masked & keep & (batch.size[:rows] != sizes[places]).any(axis=1)
            for row in np.flatnonzero(wrong).tolist():
                got = f"size {batch.size[row].tolist()} for an image of {sizes[places[row]].tolist()}"
                expected = "masks of the size of their images in the ground truth"
                self._problems.add(int(batch.record[row]), "segmentation", expected, got, "Resize the masks")
        return places, keep

    def _shifted(self, ids: np.ndarray) -> np.ndarray:
        wide = 2**63 - 1 - abs(self._offset)
        if self._offset and (int(ids.max()) > wide or int(ids.min()) < -wide):
            raise InputError(self._where, f"an image id plus {self._offset} is beyond 64 bits", "Mend image_offset")
        return ids + self._offset

    def _one_kind(self, batch: Batch, kind: np.ndarray) -> None:
        if self._kind < 0:
            self._kind = int(kind[0])
        other = np.flatnonzero(kind != self._kind)
        if len(other):
            was, now = ("an integer", "a text") if self._kind == INTEGER else ("a text", "an integer")
            raise InputError(
                f"{self._where}, record {batch.record[other[0]]}, field 'image_id'",
                f"expected {was} as in the records before, got {now}",
                "Write all image ids in one way",
            )

    def _categories(self, batch: Batch, rows: int, keep: np.ndarray) -> np.ndarray:
        """Return the category ids of the rows; rows of unknown ones are taken out of `keep`."""
        kind = batch.category_kind[:rows]
        out = np.zeros(rows, np.int32)
        known = np.ones(rows, np.bool_)
        for which in (INTEGER, TEXT):
            at = np.flatnonzero((kind == which) & keep)
            if not len(at):
                continue
            sources: list[Any]
            if which == INTEGER:
                ids, inverse = _distinct(batch.category[at])
                sources = ids.tolist()
            else:
                every = _texts(batch.category_text, batch.category_end, rows, int(batch.used[CATEGORY]))
                texts = every.take(pa.array(at, pa.int64()))
                sources, inverse = texts.dictionary.to_pylist(), texts.indices.to_numpy()
            weights = np.bincount(inverse, minlength=len(sources)).tolist()
            # a dictionary also has the texts of rows that are dropped
            found = [
                self._category_join.find(source, weight) if weight else None
                for source, weight in zip(sources, weights, strict=True)
            ]
            known[at] = np.array([number is not None for number in found])[inverse]
            out[at] = np.array([number or 0 for number in found], np.int32)[inverse]
        keep &= known
        return out


_KINDS = {"category": np.int32, "score": np.float64, **dict.fromkeys("xywh", np.float64)}


def _joined(parts: list[np.ndarray], kind: Any) -> np.ndarray:
    return np.concatenate(parts) if parts else np.zeros(0, kind)


def _place_hard_numbers(batch: Batch) -> None:
    count, length = int(batch.used[HARD]), int(batch.used[DIGITS])
    if count:
        texts = _strings(pa.string(), batch.digits, batch.digits_end, count, length)
        batch.value.reshape(-1)[batch.digits_slot[:count]] = texts.cast(pa.float64()).to_numpy()


def _texts(text: np.ndarray, end: np.ndarray, rows: int, length: int) -> Any:
    return _strings(pa.string(), text, end, rows, length).dictionary_encode()


def _strings(kind: pa.DataType, text: np.ndarray, end: np.ndarray, rows: int, length: int) -> Any:
    return pa.Array.from_buffers(
        kind, rows, [None, pa.py_buffer(end[: rows + 1].data), pa.py_buffer(text[:length].data)]
    )


def _masks(batch: Batch, rows: int, masked: np.ndarray) -> Any:
    length = int(batch.used[COUNTS])
    counts = _strings(pa.binary(), _kept(batch.counts[:length]), _kept(batch.counts_end[: rows + 1]), rows, length)
    size = np.where(masked[:, None], batch.size[:rows], 0).astype(np.int32)
    parts = [pa.array(np.ascontiguousarray(size[:, 0])), pa.array(np.ascontiguousarray(size[:, 1])), counts]
    return pa.StructArray.from_arrays(parts, fields=list(MASK_TYPE), mask=pa.array(~masked))


def _kept(values: np.ndarray) -> np.ndarray:
    """Return a copy in Arrow's memory, which is got three times faster than NumPy's for megabytes at a time."""
    memory: Any = pa.allocate_buffer(values.nbytes)
    copy: np.ndarray = np.frombuffer(memory, values.dtype)
    copy[:] = values
    return copy


def _distinct(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (values, inverse) such that values[inverse] is the input; neighbours are told apart only once.

    Results are grouped by image, and categories are small numbers: both are many times faster than sorting.
    """
    low, high = int(values.min()), int(values.max())
    if high - low < 1 << 16:
        seen = np.zeros(high - low + 1, np.bool_)
        seen[values - low] = True
        return np.flatnonzero(seen) + low, (np.cumsum(seen) - 1)[values - low]
    new = np.concatenate(([True], values[1:] != values[:-1]))
    if int(new.sum()) * 4 < len(values):
        return values[new], np.cumsum(new) - 1
    ids, inverse = np.unique(values, return_inverse=True)
    return ids, inverse
