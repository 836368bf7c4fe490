"""Masks of Open Images: PNG files, or a column of encoded run lengths."""

import base64
import binascii
import os
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from evaluation.open_images_csv.columns import TEXT, CsvFile, read_csv
from fusion.errors import InputError, option
from fusion.masks import mask_array

__all__ = ["MaskRows", "read_masks"]

_BASE = {"ImageID": TEXT, "LabelName": TEXT}
_CORNERS = ("XMin", "XMax", "YMin", "YMax")
_ENCODED = {"ImageWidth": pa.int32(), "ImageHeight": pa.int32(), "Mask": pa.string()}
_FLAG = {"IsGroupOf": pa.int8()}


class MaskRows(NamedTuple):
    """Masks and the boxes they belong to.

    Attributes:
        file: Columns, among them ImageID and LabelName.
        corners: float64 [m, 4], XMin, XMax, YMin, YMax.
        group: bool [m]; None where the file does not say.
        masks: [m] structs (height, width, counts).
    """

    file: CsvFile
    corners: np.ndarray
    group: np.ndarray | None
    masks: pa.StructArray


def read_masks(path: str | os.PathLike[str], folder: str | os.PathLike[str] | None) -> MaskRows:
    """Read a file of masks.

    The challenge's validation files have the run lengths in a column Mask: base64 of zlib of COCO's
    compressed text. All others name PNG files in a column MaskPath and their boxes in BoxXMin etc.

    Args:
        path: The CSV file.
        folder: Where the PNG files are.

    Raises:
        InputError: If a column is missing, a file is not there, or a mask cannot be read.
    """
    numbers = {name: pa.float64() for name in _CORNERS}
    boxes = {f"Box{name}": pa.float64() for name in _CORNERS}
    probe = read_csv(path, {}, {"Mask": pa.string(), "MaskPath": pa.string()})
    if "Mask" in probe:
        file = read_csv(path, _BASE | numbers | _ENCODED, _FLAG)
        names, masks = list(_CORNERS), _decoded(file)
    elif "MaskPath" in probe:
        if folder is None:
            raise InputError(
                path, "names PNG files, but not where they are", f"Name their folder with {option('mask_folder')}"
            )
        file = read_csv(path, _BASE | boxes | {"MaskPath": pa.string()}, _FLAG)
        names, masks = list(boxes), _drawn(file, Path(folder))
    else:
        raise InputError(path, "has neither a column Mask nor MaskPath", "Is it a file of masks?")
    for name in ("ImageID", "LabelName", *names):
        file.require(file.filled(name), name, "a value")
    group = file.numbers("IsGroupOf") != 0 if "IsGroupOf" in file else None
    return MaskRows(file, np.stack([file.numbers(name) for name in names], axis=1), group, masks)


def _decoded(file: CsvFile) -> pa.StructArray:
    for name in _ENCODED:
        file.require(file.filled(name), name, "a value")
    texts = []
    for row, text in enumerate(_tracked(file.table["Mask"], "reading masks", len(file))):
        try:
            texts.append(zlib.decompress(base64.b64decode(text.as_py(), validate=True)))
        except (binascii.Error, ValueError, zlib.error) as error:
            raise InputError(
                f"{file.path}, line {file.lines[row]}, column Mask",
                f"expected base64 of zlib of compressed run lengths, got {text.as_py()!r:.60} ({error})",
                "Fetch the file again; it may have been cut off",
            ) from error
    return mask_array(file.table["ImageHeight"].to_pylist(), file.table["ImageWidth"].to_pylist(), texts)


def _drawn(file: CsvFile, folder: Path) -> pa.StructArray:
    from PIL import Image
    from pycocotools import mask as rle

    file.require(file.filled("MaskPath"), "MaskPath", "the name of a PNG file")
    sizes, texts = [], []
    for row, name in enumerate(_tracked(file.table["MaskPath"].to_pylist(), "reading masks", len(file))):
        try:
            with Image.open(folder / name) as picture:
                pixels = np.asarray(picture.convert("L")) > 0
        except OSError as error:
            problem = "there is no such file" if isinstance(error, FileNotFoundError) else f"cannot be read ({error})"
            raise InputError(
                folder / name,
                f"{problem}; {file.path}, line {file.lines[row]} names it",
                "Unpack all archives of masks into one folder",
            ) from error
        sizes.append(pixels.shape)
        texts.append(rle.encode(np.asfortranarray(pixels, dtype=np.uint8))["counts"])
    return mask_array([size[0] for size in sizes], [size[1] for size in sizes], texts)


def _tracked(items: Iterable, what: str, total: int) -> Iterable:  # type: ignore[type-arg]
    from fusion.terminal import progress_bar

    with progress_bar() as bar:
        yield from bar.track(items, total=total, description=what)
