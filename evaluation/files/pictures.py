"""Sizes of pictures that lie beside annotations which do not tell them."""

from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

from evaluation.files.look import Look
from fusion.errors import InputError

__all__ = ["picture_files", "picture_size"]

_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")


def picture_files(folders: Iterable[Path]) -> Mapping[str, Path]:
    """Return the pictures of the first folder that has any, by their names in it without suffix."""
    for folder in dict.fromkeys(folders):
        if folder.is_dir():
            names = Look.at(folder).ending(*_SUFFIXES)
            if names:
                return {str(PurePosixPath(name).with_suffix("")): folder / name for name in names}
    return {}


def picture_size(path: Path) -> tuple[int, int]:
    """Return width and height of a picture as it is stored, without reading its pixels.

    Raises:
        InputError: If it is no picture.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            width, height = image.size
            return width, height
    except (OSError, UnidentifiedImageError) as error:
        raise InputError(path, "expected a picture, whose size is needed", "Fetch it again, or remove it") from error
