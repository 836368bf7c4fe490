"""Where pixels come from: a folder of files, or the project's own drawing."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np
from PIL import Image, ImageOps

from fusion.errors import InputError
from zoo.rendered import Rendered
from zoo.rendering.painting import Painting

__all__ = ["FolderPictures", "Pictures", "RenderedPictures"]

_ENDINGS = (".jpg", ".png", ".jpeg", ".JPG", ".webp")


class Pictures(Protocol):
    """The pictures of a data set, by the place of their image."""

    @property
    def has_stuff(self) -> bool:
        """Whether there are stuff maps."""

    def pixels(self, index: int) -> np.ndarray:
        """Return uint8 [height, width, 3]."""

    def stuff(self, index: int) -> np.ndarray | None:
        """Return uint8 [height, width], 255 to ignore; None without stuff maps."""

    def size(self, index: int) -> tuple[int, int]:
        """Return height and width."""


class FolderPictures:
    """Image files; pixels are turned as the camera's orientation mark says.

    Args:
        folder: Where the images are.
        names: Name of each image's file; a name without an ending gets that of the file there.
        stuff_folder: Where the stuff maps are, PNG files named like the images; or None.

    Raises:
        InputError: If a folder, or the first image, is not there.
    """

    def __init__(self, folder: Path, names: Sequence[str], stuff_folder: Path | None = None) -> None:
        self.folder, self.names, self.stuff_folder = folder, list(names), stuff_folder
        for place in (folder, stuff_folder):
            if place is not None and not place.is_dir():
                raise InputError(place, "expected a folder of images, found none", "Name the folder with the pictures")
        if self.names:
            self.path(0)

    @property
    def has_stuff(self) -> bool:
        """Whether there are stuff maps."""
        return self.stuff_folder is not None

    @cached_property
    def _endings(self) -> list[str]:
        """The endings to try, the one in use first."""
        return sorted(_ENDINGS, key=lambda ending: not (self.folder / (self.names[0] + ending)).exists())

    def path(self, index: int) -> Path:
        """Return the file of an image.

        Raises:
            InputError: If there is none.
        """
        name = self.names[index]
        if not name:
            raise InputError(f"image {index}", "its annotations name no file", "Add a file_name")
        candidates = [self.folder / name]
        if Path(name).suffix.lower() not in _ENDINGS:
            candidates = [self.folder / (name + ending) for ending in self._endings]
        for path in candidates:
            if path.exists():
                return path
        raise InputError(candidates[0], "there is no such image", "Name the folder that holds the images")

    def pixels(self, index: int) -> np.ndarray:
        """Return uint8 [height, width, 3].

        Raises:
            InputError: If the file is not there or no image.
        """
        path = self.path(index)
        try:
            with Image.open(path) as picture:
                return np.array(ImageOps.exif_transpose(picture).convert("RGB"))
        except (OSError, SyntaxError, ValueError) as error:
            raise InputError(path, f"cannot be read as an image ({error})", "Fetch or write it again") from error

    def stuff(self, index: int) -> np.ndarray | None:
        """Return uint8 [height, width].

        Raises:
            InputError: If the file is not there or not of one channel.
        """
        if self.stuff_folder is None:
            return None
        path = self.stuff_folder / Path(self.path(index).name).with_suffix(".png")
        try:
            with Image.open(path) as picture:
                if picture.mode not in ("L", "P"):
                    raise InputError(path, f"expected one channel of 8 bits, got mode {picture.mode}", "Convert it")
                return np.array(picture)
        except FileNotFoundError:
            raise InputError(path, "there is no stuff map for this image", "Each image needs one") from None
        except (OSError, SyntaxError) as error:
            raise InputError(path, f"cannot be read as an image ({error})", "Fetch or write it again") from error

    def size(self, index: int) -> tuple[int, int]:
        """Return height and width, from the file's header."""
        path = self.path(index)
        try:
            with Image.open(path) as picture:
                width, height = picture.size
                turned = picture.getexif().get(0x0112, 1) >= 5
        except (OSError, SyntaxError) as error:
            raise InputError(path, f"cannot be read as an image ({error})", "Fetch or write it again") from error
        return (width, height) if turned else (height, width)


class RenderedPictures:
    """Pictures that are drawn when they are asked for.

    Args:
        rendered: What to draw.
    """

    has_stuff = True

    def __init__(self, rendered: Rendered) -> None:
        self.rendered = rendered
        self._last: tuple[int, Painting] | None = None  # pixels and stuff are asked for one after the other

    def pixels(self, index: int) -> np.ndarray:
        """Return uint8 [height, width, 3]."""
        return self._painting(index).pixels

    def stuff(self, index: int) -> np.ndarray | None:
        """Return uint8 [height, width]."""
        return self._painting(index).stuff

    def _painting(self, index: int) -> Painting:
        if self._last is None or self._last[0] != index:
            self._last = index, self.rendered.painting(index)
        return self._last[1]

    def size(self, index: int) -> tuple[int, int]:
        """Return height and width."""
        truth = self.rendered.truth
        return int(truth.height[index]), int(truth.width[index])
