"""One picture file: opened, its orientation mark, and its pixels as 8 bits of red, green and blue."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, TiffImagePlugin

from fusion.errors import InputError, option

__all__ = ["as_rgb", "extent_bound", "opened", "orientation", "stored_size", "turn"]

_ORIENTATION = 0x0112


class _WithoutBound:
    """Pillow's bound on the extent of pictures is a global; it comes back when the last thread is done."""

    def __init__(self) -> None:
        self._lock, self._inside, self._before = threading.Lock(), 0, Image.MAX_IMAGE_PIXELS

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                self._before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                Image.MAX_IMAGE_PIXELS = self._before

    @property
    def bound(self) -> int | None:
        """Pillow's bound."""
        with self._lock:
            return self._before if self._inside else Image.MAX_IMAGE_PIXELS


_WITHOUT_BOUND = _WithoutBound()


@contextmanager
def opened(path: Path) -> Iterator[Image.Image]:
    """Open a picture, and say in our words if it cannot be read; Pillow's bound on its extent does not hold inside."""
    try:
        with _WITHOUT_BOUND, Image.open(path) as picture:
            yield picture
    except InputError:
        raise
    except MemoryError as error:
        raise InputError(
            path, "does not fit into memory", f"Make it smaller, or set fewer {option('workers')}"
        ) from error
    except Exception as error:  # a damaged file may make Pillow's readers fail in any way
        reason = f"{error}".replace(f" '{path}'", "") or type(error).__name__
        raise InputError(path, f"cannot be read as an image ({reason})", "Fetch or write it again") from error


def extent_bound() -> int | None:
    """Return how many pixels Pillow would read, beyond which it takes a picture for an attack; None without bound."""
    bound = _WITHOUT_BOUND.bound
    return None if bound is None else 2 * bound


def orientation(picture: Image.Image) -> int:
    """Return the orientation mark, 1 to 8, from the file's header."""
    try:
        if isinstance(picture, TiffImagePlugin.TiffImageFile):
            mark = picture.tag_v2.get(_ORIENTATION, 1)
        else:
            mark = Image.Image.getexif(picture).get(_ORIENTATION, 1)  # that of PNG would read all pixels
    except Exception:  # a damaged mark is none
        return 1
    return mark if mark in range(1, 9) else 1


def stored_size(picture: Image.Image) -> tuple[int, int]:
    """Return height and width as stored."""
    width, height = picture.size
    swapped = picture.format == "TIFF" and orientation(picture) >= 5
    return (width, height) if swapped else (height, width)


def as_rgb(path: Path, picture: Image.Image) -> np.ndarray:
    """Return uint8 [height, width, 3]."""
    if picture.mode.startswith("I;16"):
        upper = (np.asarray(picture) >> 8).astype(np.uint8)
        return np.repeat(upper[:, :, None], 3, axis=2)
    if picture.mode in ("I", "F"):
        raise InputError(
            path, "has values of 32 bits, of which the file does not say how bright they are", "Convert it to 8 or 16"
        )
    picture.info.pop("transparency", None)  # of a palette, of which Pillow would warn
    return np.array(picture.convert("RGB"))


def turn(pixels: np.ndarray, mark: int) -> np.ndarray:
    """Return pixels as they are to be seen by an orientation mark."""
    if mark >= 5:
        pixels = pixels.transpose(1, 0, 2)
    if mark in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if mark in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return pixels
