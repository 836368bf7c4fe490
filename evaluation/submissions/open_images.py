"""Writing Open Images submissions: Kaggle's two CSV forms, and the two of the official evaluator."""

import csv
import io
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from evaluation.submissions.image_list import ImageList
from evaluation.submissions.mask_strings import encode_mask
from fusion.atomic import replacing

__all__ = [
    "EVALUATOR_BOXES",
    "EVALUATOR_MASKS",
    "KAGGLE_BOXES",
    "KAGGLE_MASKS",
    "Entries",
    "write_evaluator",
    "write_kaggle",
]

KAGGLE_BOXES = ("ImageId", "PredictionString")
KAGGLE_MASKS = ("ImageID", "ImageWidth", "ImageHeight", "PredictionString")
EVALUATOR_BOXES = ("ImageID", "LabelName", "Score", "XMin", "XMax", "YMin", "YMax")
EVALUATOR_MASKS = ("ImageID", "ImageWidth", "ImageHeight", "LabelName", "Score", "Mask")


@dataclass(frozen=True)
class Entries:
    """Detections of whole images, ready to be written.

    Attributes:
        place: int64 [i], places of the images in the list.
        start: int64 [i + 1], offsets of their detections.
        label: [n] text, class labels.
        score: float64 [n].
        corners: float64 [n, 4], XMin, YMin, XMax, YMax as shares of the image's sides; None for masks.
        mask: [n] compressed RLE texts; None for boxes.
    """

    place: np.ndarray
    start: np.ndarray
    label: pa.Array
    score: np.ndarray
    corners: np.ndarray | None
    mask: list[bytes] | None

    def columns(self) -> list[pa.Array]:
        """Return label, score, and four coordinates or the mask string, as [n] texts."""
        numbers = [self.score] if self.corners is None else [self.score, *self.corners.T]
        texts = [pa.array(np.ascontiguousarray(column)).cast(pa.string()) for column in numbers]
        if self.mask is not None:
            texts.append(pa.array([encode_mask(counts) for counts in self.mask], pa.string()))
        return [self.label, *texts]


def write_kaggle(path: Path, images: ImageList, pieces: Iterable[Entries], *, masks: bool) -> None:
    """Write a row per image of the list, in its order; images without detections have an empty string.

    Args:
        path: The file.
        images: The split; for masks with the sizes of the images.
        pieces: The detections; an image is in one piece.
        masks: Whether masks are written, else boxes.

    Raises:
        InputError: If the file cannot be written.
    """
    where = np.zeros((len(images), 2), dtype=np.int64)  # offset and length of each image's text
    with replacing(path) as temporary, tempfile.TemporaryFile(dir=temporary.parent) as spill:
        for piece in pieces:
            for place, text in _strings(piece):
                where[place] = spill.tell(), len(text)
                spill.write(text)
        with temporary.open("w", encoding="utf-8", newline="") as file:
            rows = csv.writer(file, lineterminator="\n")
            rows.writerow(KAGGLE_MASKS if masks else KAGGLE_BOXES)
            sizes = np.stack([images.width, images.height], axis=1).tolist()
            for name, size, (offset, length) in zip(images.image_id.tolist(), sizes, where.tolist(), strict=True):
                spill.seek(offset)
                rows.writerow([name, *(size if masks else ()), spill.read(length).decode()])


def write_evaluator(path: Path, images: ImageList, pieces: Iterable[Entries], *, masks: bool) -> None:
    """Write a row per detection, as the official evaluator reads them.

    Args:
        path: The file.
        images: The split; for masks with the sizes of the images.
        pieces: The detections.
        masks: Whether masks are written, else boxes.

    Raises:
        InputError: If the file cannot be written.
    """
    with replacing(path) as temporary, temporary.open("wb") as file:
        file.write((",".join(EVALUATOR_MASKS if masks else EVALUATOR_BOXES) + "\n").encode())
        for piece in pieces:
            file.write(evaluator_text(piece, images))


def evaluator_text(piece: Entries, images: ImageList) -> bytes:
    """Return the rows of some detections for the official evaluator."""
    place = np.repeat(piece.place, np.diff(piece.start))
    image = pa.array(images.image_id[place].astype(str))
    label, score, *rest = piece.columns()
    if piece.mask is None:
        columns = [image, label, score, *(rest[side] for side in (0, 2, 1, 3))]
    else:
        size = [pa.array(side[place]).cast(pa.string()) for side in (images.width, images.height)]
        columns = [image, *size, label, score, *rest]
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(zip(*(column.to_pylist() for column in columns), strict=True))
    return text.getvalue().encode()


def kaggle_text(piece: Entries) -> bytes:
    """Return the prediction strings of some detections in Kaggle's form, without image ids."""
    return b"\n".join(text for _, text in _strings(piece))


def _strings(piece: Entries) -> Iterator[tuple[int, bytes]]:
    words = pc.binary_join_element_wise(*piece.columns(), " ")
    lists = pa.ListArray.from_arrays(pa.array(piece.start.astype(np.int32)), words)
    for place, text in zip(piece.place.tolist(), pc.binary_join(lists, " "), strict=True):
        yield place, text.as_buffer().to_pybytes()
