"""The checks that every submission goes through, block by block."""

import zlib
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from evaluation.submissions.image_list import COCO_CATEGORIES, ImageList
from evaluation.submissions.report import Findings
from fusion.kernels.rle_check import fitting_runs
from fusion.masks import mask_text, taken

__all__ = ["Audit", "Block"]

# Boxes of float32 models end a hair beyond the border; that is not worth a warning.
_SLACK = 1e-4
_MIX = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True)
class Block:
    """Some detections of a submission.

    Attributes:
        image: [n] int64, or an object array of str.
        category: [n] int64, or an object array of str.
        score: float64 [n].
        xywh: float64 [n, 4]; NaN where a detection has no box.
        mask: [n] structs (height, width, counts), null where a detection has none; None when none has one.
        normalized: Whether boxes are shares of the image's sides; otherwise pixels.
        number: int64 [n], numbers of their records, lines or rows in the submission.
        noun: What is numbered: "record", "line" or "row".
        place: Names a row of the block for messages, such as "record 17 (image 5)".
        corners: float64 [n, 4] x1, y1, x2, y2, where the file has them instead of widths.
    """

    image: np.ndarray
    category: np.ndarray
    score: np.ndarray
    xywh: np.ndarray
    mask: pa.StructArray | None
    normalized: bool
    number: np.ndarray
    noun: str
    place: Callable[[int], str]
    corners: np.ndarray | None = None


class Audit:
    """Checks ids, caps, ranges, duplicates and missing images.

    Beside counts per image it keeps 12 bytes per detection of a file, for duplicates; none of a table.

    Args:
        findings: Where faults go.
        images: The split's images and categories; None where they are not known.
        categories: The category ids, or labels, that there are; None accepts any.
        cap: Detections that count per image; None without a limit.
        writing: The submission is being made of a table, not read from a file.
        clips: Boxes are clipped when they are written.

    Attributes:
        detections: Number of detections so far.
        boxes: Number of those with a box.
        masks: Number of those with a mask.
    """

    def __init__(
        self,
        findings: Findings,
        images: ImageList | None,
        categories: np.ndarray | None,
        cap: int | None,
        *,
        writing: bool = False,
        clips: bool = False,
    ) -> None:
        self._findings, self._images, self._cap, self._writing = findings, images, cap, writing
        self._clips = clips
        self._known = categories
        self._known_labels = set(categories.tolist()) if categories is not None and categories.dtype == object else None
        self._counts: Counter[int | str] = Counter()
        self._unknown: Counter[int | str] = Counter()
        self._unknown_categories: Counter[int | str] = Counter()
        self._labels: dict[str, int] = {}
        self._hashes: list[np.ndarray] = []
        self._numbers: list[np.ndarray] = []
        self._noun = ""
        self._far = 0.0
        self._pixel_boxes = 0
        self.detections = self.boxes = self.masks = 0

    @property
    def image_count(self) -> int:
        """Number of images with detections, those of the list only where there is one."""
        return len(self._counts)

    @property
    def unknown_images(self) -> Collection[int | str]:
        """Images with detections that the list does not have."""
        return self._unknown.keys()

    @property
    def clean(self) -> bool:
        """Whether there is no error so far."""
        return not (self._unknown or self._unknown_categories or self._findings.has_errors)

    @property
    def over_cap(self) -> int:
        """Number of detections beyond the cap."""
        return sum(max(count - self._cap, 0) for count in self._counts.values()) if self._cap else 0

    def take(self, block: Block) -> None:
        """Check a block."""
        if not len(block.score):
            return
        self.detections += len(block.score)
        places = self._check_images(block)
        self._check_categories(block)
        self._check_scores(block)
        self._check_boxes(block, places)
        if block.mask is not None:
            self._check_masks(block, block.mask, places)
        self._gather_duplicates(block)

    def finish(self, *, complete: bool = True) -> None:
        """Add the findings that need the whole submission.

        Args:
            complete: Whether all of it was seen; otherwise missing images are not reported.
        """
        self._report_images(complete)
        self._report_categories()
        if self._pixel_boxes >= 20 and self._far <= 2:
            self._findings.add(
                "error",
                "all boxes lie within the first two pixels: they are normalized",
                self._pixel_boxes,
                remedy="Multiply them by the width and height of their images",
            )
        if complete and not self.detections:
            self._findings.add("warning", "there are no detections")
        self._report_duplicates()

    def _check_images(self, block: Block) -> np.ndarray:
        """Count detections per image; return places in the list, -1 where unknown or there is no list."""
        heads = np.flatnonzero(np.concatenate(([True], block.image[1:] != block.image[:-1])))
        runs = np.diff(np.append(heads, len(block.image)))
        ids = block.image[heads]
        if self._images is None:
            for name, count in zip(ids.tolist(), runs.tolist(), strict=True):
                self._counts[name] += count
            return np.full(len(block.image), -1, dtype=np.int64)
        places = self._images.places(ids)
        for name, count, place in zip(ids.tolist(), runs.tolist(), places.tolist(), strict=True):
            (self._counts if place >= 0 else self._unknown)[name] += count
        return np.repeat(places, runs)

    def _check_categories(self, block: Block) -> None:
        if self._known is None:
            return
        if self._known_labels is not None:
            for label, count in Counter(block.category.tolist()).items():
                if label not in self._known_labels:
                    self._unknown_categories[label] += count
            return
        wrong = block.category[~np.isin(block.category, self._known)]
        self._unknown_categories.update(wrong.tolist())

    def _check_scores(self, block: Block) -> None:
        score = block.score
        bad = np.flatnonzero(~np.isfinite(score))
        self._rows("error", "score is not a finite number", block, bad, score[bad], "Drop or mend these")
        wild = np.flatnonzero(np.isfinite(score) & ((score < 0) | (score > 1)))
        remedy = "Only their order counts for AP, but some servers expect probabilities"
        self._rows("warning", "score outside [0, 1]", block, wild, score[wild], remedy)

    def _check_boxes(self, block: Block, places: np.ndarray) -> None:
        there = np.flatnonzero(~np.isnan(block.xywh).all(axis=1))
        self.boxes += len(there)
        bad = there[~np.isfinite(block.xywh[there]).all(axis=1)]
        self._rows("error", "box is not of finite numbers", block, bad, block.xywh[bad], "Drop or mend these")
        rows = there[np.isfinite(block.xywh[there]).all(axis=1)]
        box = block.xywh[rows]
        negative = (box[:, 2:] < 0).any(axis=1)
        form = "XMin YMin XMax YMax" if block.normalized else "[x, y, width, height]"
        remedy = f"A box is written as {form}"
        self._rows("error", "width or height is negative", block, rows[negative], box[negative], remedy)
        rows, box = rows[~negative], box[~negative]
        flat = (box[:, 2:] == 0).any(axis=1)
        self._rows("warning", "box without area", block, rows[flat], box[flat], "It can match nothing")
        far = box[:, :2] + box[:, 2:] if block.corners is None else block.corners[rows, 2:]
        limit = np.ones((len(box), 2))
        if not block.normalized:
            self._far = max(self._far, float(far.max(initial=0)))
            self._pixel_boxes += len(rows)
            if self._images is None:
                return
            known = np.maximum(places[rows], 0)
            limit = np.stack([self._images.width[known], self._images.height[known]], axis=1).astype(np.float64)
            limit[(places[rows] < 0) | (limit <= 0).any(axis=1)] = np.inf
        slack = np.where(np.isfinite(limit), limit, 1) * _SLACK
        outside = ((box[:, :2] < -slack) | (far > limit + slack)).any(axis=1) & np.isfinite(limit).all(axis=1)
        remedy = "Worth a look: these may be corners instead of widths, or boxes of another image size"
        if self._writing and self._clips:
            remedy = "They are clipped to the image in the file"
        self._rows("warning", "box reaches beyond its image", block, rows[outside], box[outside], remedy)

    def _check_masks(self, block: Block, masks: pa.StructArray, places: np.ndarray) -> None:
        rows = np.flatnonzero(np.asarray(masks.is_valid()))
        self.masks += len(rows)
        text = mask_text(taken(masks, rows))
        size = np.stack([text.height, text.width], axis=1).astype(np.int64)
        first, last = int(text.offset[0]), int(text.offset[-1])
        ends = (text.offset - first).astype(np.int32)
        fits = fitting_runs(text.data[first:last], ends, np.ones(len(rows), np.bool_), size)
        shown = [f"size {value}" for value in size[~fits].tolist()]
        self._rows("error", "mask whose runs do not fill its size", block, rows[~fits], shown, "Encode it again")
        if self._images is None:
            return
        known = np.maximum(places[rows], 0)
        expected = np.stack([self._images.height[known], self._images.width[known]], axis=1)
        wrong = (places[rows] >= 0) & (expected > 0).all(axis=1) & (size != expected).any(axis=1)
        pairs = zip(size[wrong].tolist(), expected[wrong].tolist(), strict=True)
        self._rows(
            "error",
            "mask of another size (height, width) than its image",
            block,
            rows[wrong],
            [f"{got} for {want}" for got, want in pairs],
            "A mask has the size of the original image; others match nothing",
        )

    def _gather_duplicates(self, block: Block) -> None:
        parts: list[np.ndarray] = [_bits(self._coded(block.image)), _bits(self._coded(block.category))]
        parts.append(_bits(block.score))
        boxed = ~np.isnan(block.xywh).all(axis=1)
        if boxed.any() or block.mask is None:
            parts += [_bits(block.xywh[:, side]) for side in range(4)]
        if block.mask is not None and not boxed.all():
            counts = block.mask.field("counts").to_pylist()
            sums = [0 if text is None else zlib.crc32(text) | len(text) << 32 for text in counts]
            parts.append(np.array(sums, dtype=np.uint64))
        mixed = np.zeros(len(block.score), dtype=np.uint64)
        for part in parts:
            mixed = (mixed ^ part) * _MIX
            mixed ^= mixed >> np.uint64(29)
        self._hashes.append(mixed)
        self._numbers.append(block.number.astype(np.uint32))
        self._noun = block.noun
        if self._writing:  # all detections of an image are in one block
            self._report_duplicates()

    def _coded(self, ids: np.ndarray) -> np.ndarray:
        if ids.dtype != object:
            return ids
        labels = self._labels
        return np.array([labels.setdefault(name, len(labels)) for name in ids.tolist()], dtype=np.int64)

    def _report_images(self, complete: bool) -> None:
        unknown, images = self._unknown, self._images
        if images is None:
            self._findings.add("note", "without --ground-truth, images, sizes and missing images were not checked")
        elif unknown:
            remedy = "Leave them out, or give the list of the split that the detections are for"
            if not self._counts:
                expected = ", ".join(map(str, images.image_id[:3].tolist()))
                remedy = f"No image is known: these are detections of another split; expected such as {expected}"
            names = (f"image {name}: {count} detections" for name, count in unknown.items())
            self._findings.add(
                "error", f"detections on images that {images.source} does not have", unknown.total(), names, remedy
            )
        if self._cap:
            over = {name: count for name, count in self._counts.items() if count > self._cap}
            self._findings.add(
                "warning",
                f"images with more than {self._cap} detections; {self.over_cap:,} detections are beyond",
                len(over),
                (f"image {name}: {count}" for name, count in over.items()),
                "Only the best by score are written" if self._writing else "Servers keep the best by score, or refuse",
            )
        if images is not None and complete and len(self._counts) < len(images):
            missing = (name for name in images.image_id.tolist() if name not in self._counts)
            self._findings.add(
                "warning",
                "images of the list without any detection",
                len(images) - len(self._counts),
                (f"image {name}" for name in missing),
                "Fine where nothing was found; otherwise a part of the split was not run",
            )

    def _report_categories(self) -> None:
        unknown = self._unknown_categories
        if not unknown or self._known is None:
            return
        remedy = "Use the ids of the data set, expected such as " + ", ".join(map(str, self._known[:3].tolist()))
        if self._known_labels is None and np.array_equal(self._known, COCO_CATEGORIES):
            remedy = "COCO's ids go from 1 to 90 with gaps; these may be numbers of a model's classes without gaps"
            if max(int(number) for number in unknown) > 90:
                remedy = "Results of LVIS are checked with --format lvis, of other data sets with --ground-truth"
        names = (f"category {name}: {count} detections" for name, count in sorted(unknown.items(), key=str))
        self._findings.add("error", "categories that the data set does not have", unknown.total(), names, remedy)

    def _report_duplicates(self) -> None:
        if not self._hashes:
            return
        hashes = np.concatenate(self._hashes)
        self._hashes = []
        ordered = np.sort(hashes)
        again = ordered[1:][ordered[1:] == ordered[:-1]]
        numbers = np.concatenate(self._numbers) if len(again) else np.zeros(0, np.uint32)
        self._numbers = []
        examples = []
        for value in np.unique(again[:1000])[:4]:
            places = numbers[np.flatnonzero(hashes == value)[:3]].tolist()
            examples.append(f"{self._noun}s {', '.join(map(str, places))}")
        self._findings.add(
            "warning",
            "the same detection (image, category, score and box or mask) occurs more than once",
            len(again),
            sorted(examples),
            "Every copy but one counts as a false positive",
        )

    def _rows(
        self,
        severity: str,
        what: str,
        block: Block,
        rows: np.ndarray,
        values: Sequence[str] | np.ndarray,
        remedy: str,
    ) -> None:
        """Add a finding about rows of a block, with a value for each."""
        places = (
            f"{block.place(row)}: {value if isinstance(value, str) else _short(value)}"
            for row, value in zip(rows.tolist(), values, strict=True)
        )
        self._findings.add(severity, what, len(rows), places, remedy)


def _short(value: np.ndarray) -> str:
    numbers = [f"{number:.6g}" for number in np.atleast_1d(value).tolist()]
    return numbers[0] if len(numbers) == 1 else f"[{', '.join(numbers)}]"


def _bits(values: np.ndarray) -> np.ndarray:
    """Return 64 bits of each number; -0.0 is 0.0."""
    if values.dtype.kind == "f":
        values = np.ascontiguousarray(values, dtype=np.float64) + 0.0
    return np.ascontiguousarray(values).view(np.uint64)
