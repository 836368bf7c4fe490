"""Writing COCO and LVIS results: a JSON list, alone in a zip archive or as it is."""

import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import msgspec
import numpy as np
import pyarrow as pa

from fusion.atomic import replacing
from fusion.coco_results.records import Rle
from fusion.table import DetectionTable

__all__ = ["encode_records", "write_json"]

_EPOCH = (1980, 1, 1, 0, 0, 0)  # the same bytes whenever it is written
_ZIP64_FROM = 1 << 30


class _Box(msgspec.Struct, gc=False):
    image_id: Any
    category_id: int
    bbox: list[float]
    score: float


class _Mask(msgspec.Struct, gc=False):
    image_id: Any
    category_id: int
    segmentation: Rle
    score: float


def encode_records(table: DetectionTable, iou_type: str, xywh: np.ndarray, score: np.ndarray) -> bytes:
    """Return records of COCO results as JSON, with commas between and no brackets.

    Args:
        table: The detections.
        iou_type: "bbox": records with boxes only; "segm": with masks only, so that servers take the
            areas of the masks (pycocotools takes those of the boxes where there are any).
        xywh: float64 [n, 4], what is written as boxes.
        score: float64 [n], what is written as scores.
    """
    images, categories = table.image_id.tolist(), table.category_id.tolist()
    scores = score.tolist()
    records: Iterable[Any]
    if iou_type == "segm" and table.mask is not None:
        records = map(_Mask, images, categories, _masks(table.mask), scores)
    else:
        records = map(_Box, images, categories, xywh.tolist(), scores)
    return msgspec.json.encode(list(records))[1:-1]


def write_json(path: Path, pieces: Iterable[bytes], name: str, size: int) -> None:
    """Write a JSON list, atomically; the same pieces give the same bytes.

    Args:
        path: A file ending in ".json", or anything else for a zip archive.
        pieces: Records with commas between, as `encode_records` gives them.
        name: Name of the JSON file in the archive.
        size: About how many bytes they are.

    Raises:
        InputError: If the file cannot be written.
    """
    with replacing(path) as temporary, _opened(temporary, path, name, size) as file:
        file.write(b"[")
        first = True
        for piece in pieces:
            if piece:
                file.write(piece if first else b"," + piece)
                first = False
        file.write(b"]\n")


@contextmanager
def _opened(temporary: Path, path: Path, name: str, size: int) -> Iterator[IO[bytes]]:
    if path.suffix == ".json":
        with temporary.open("wb") as file:
            yield file
        return
    info = zipfile.ZipInfo(name, _EPOCH)
    info.compress_type, info.create_system, info.external_attr = zipfile.ZIP_DEFLATED, 3, 0o644 << 16
    with (
        zipfile.ZipFile(temporary, "w") as archive,
        archive.open(info, "w", force_zip64=size > _ZIP64_FROM) as member,
    ):
        yield member


def _masks(masks: pa.StructArray) -> list[Rle]:
    height, width, counts = masks.flatten()
    texts = counts.cast(pa.large_string()).to_pylist()
    return [Rle((h, w), text) for h, w, text in zip(height.to_pylist(), width.to_pylist(), texts, strict=True)]
