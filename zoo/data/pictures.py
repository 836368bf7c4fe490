"""Where pixels come from: a folder of files, or the project's own drawing."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from fusion.errors import InputError
from zoo.data.picture_file import as_rgb, extent_bound, opened, orientation, stored_size, turn
from zoo.synthetic.rendered import Rendered
from zoo.synthetic.rendering.painting import Painting

__all__ = ["EXIF", "FolderPictures", "Pictures", "RenderedPictures"]

EXIF = ("auto", "turn", "stored")
"""What becomes of a camera's orientation mark: followed where the annotated sizes say so, always, or never."""

_LOWER = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif")
_ENDINGS = (*_LOWER, *(ending.upper() for ending in _LOWER))
_LOOKED_AT = 200  # pictures whose marks are compared with their annotated sizes


class Pictures(Protocol):
    """The pictures of a data set, by the place of their image."""

    @property
    def has_stuff(self) -> bool:
        """Whether there are stuff maps."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user should know about how they are read."""

    def pixels(self, index: int) -> np.ndarray:
        """Return uint8 [height, width, 3]."""

    def stuff(self, index: int) -> np.ndarray | None:
        """Return uint8 [height, width], 255 to ignore; None without stuff maps."""

    def size(self, index: int) -> tuple[int, int]:
        """Return height and width."""


class _Marks(NamedTuple):
    """Orientation marks among the pictures looked at, and what their annotated sizes say of them."""

    seen: int
    marked: int
    turned: int
    stored: int


class FolderPictures:
    """Image files: JPEG, PNG, WebP, TIFF, BMP, GIF (the first frame), and whatever else Pillow reads by full name.

    Pixels become 8 bits of red, green and blue: of 16 bits the upper eight, of palettes and CMYK the colours that they
    stand for; transparency is left out, so that hidden pixels show the colour they are stored with.

    Args:
        folder: Where the images are.
        names: Name of each image's file; a name without an ending gets that of the file there.
        stuff_folder: Where the stuff maps are, PNG files named like the images; or None.
        sizes: int [images, 2], annotated heights and widths, 0 where they are not told; or None. A picture of its
            annotated size is read however large it is.
        exif: "turn" turns pictures as the camera's orientation mark says, "stored" does not. "auto" does what makes
            a picture as large as it is annotated; where both do or neither is told, what most of the marked pictures
            of the set say, and follows the mark if none of them tells.

    Raises:
        InputError: If a folder, or the first image, is not there.
    """

    def __init__(
        self,
        folder: Path,
        names: Sequence[str],
        stuff_folder: Path | None = None,
        *,
        sizes: np.ndarray | None = None,
        exif: str = "auto",
    ) -> None:
        self.folder, self.names, self.stuff_folder = folder, list(names), stuff_folder
        self._sizes, self._exif = sizes, exif
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
    def notes(self) -> tuple[str, ...]:
        """What is done about orientation marks, where there are any."""
        marks = self._marks
        if not marks.marked:
            return ()
        done = {
            "turn": "they are turned accordingly",
            "stored": "they are read as stored",
            "auto": f"by their annotated sizes {marks.turned:,} are to be turned accordingly and {marks.stored:,} "
            f"to be read as stored; where sizes do not tell, they are {'turned' if self._turned else 'read as stored'}",
        }[self._exif]
        of = f"{marks.marked:,} of {marks.seen:,} pictures looked at"
        return (f"{of} have a camera's orientation mark: {done} (exif=turn, exif=stored)",)

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
        exact = self.folder / name
        if Path(name).suffix in _ENDINGS and exact.is_file():
            return exact
        candidates = [self.folder / (name + ending) for ending in self._endings]
        for path in [exact, *candidates] if Path(name).suffix else [*candidates, exact]:
            if path.is_file():
                return path
        raise InputError(exact, "there is no such image", "Name the folder that holds the images")

    def pixels(self, index: int) -> np.ndarray:
        """Return uint8 [height, width, 3].

        Raises:
            InputError: If the file is not there, no image, or larger than is read without an annotated size.
        """
        path = self.path(index)
        with opened(path) as picture:
            stored = stored_size(picture)
            self._check_extent(path, index, stored)
            mark = orientation(picture)
            pixels = as_rgb(path, picture)
            # Pillow's reader of TIFF turns pictures by itself
            turned, wanted = picture.format == "TIFF", self._is_turned(index, mark, stored)
        if turned != wanted:
            pixels = turn(pixels, mark if wanted else {6: 8, 8: 6}.get(mark, mark))
        return np.ascontiguousarray(pixels)

    def stuff(self, index: int) -> np.ndarray | None:
        """Return uint8 [height, width].

        Raises:
            InputError: If the file is not there or not of one channel.
        """
        if self.stuff_folder is None:
            return None
        path = self.stuff_folder / Path(self.path(index).name).with_suffix(".png")
        if not path.is_file():
            raise InputError(path, "there is no stuff map for this image", "Each image needs one")
        with opened(path) as picture:
            if picture.mode not in ("L", "P"):
                raise InputError(path, f"expected one channel of 8 bits, got mode {picture.mode}", "Convert it")
            return np.array(picture)

    def size(self, index: int) -> tuple[int, int]:
        """Return height and width, from the file's header."""
        with opened(self.path(index)) as picture:
            stored, mark = stored_size(picture), orientation(picture)
        return stored[::-1] if mark >= 5 and self._is_turned(index, mark, stored) else stored

    def _told(self, index: int) -> tuple[int, int] | None:
        """Return the annotated height and width."""
        if self._sizes is None or not self._sizes[index].all():
            return None
        return int(self._sizes[index][0]), int(self._sizes[index][1])

    def _check_extent(self, path: Path, index: int, stored: tuple[int, int]) -> None:
        """Refuse what may be small on disk and fill the memory, unless the annotations know it as large as that."""
        bound, extent = extent_bound(), stored[0] * stored[1]
        if bound is not None and extent > bound and self._told(index) not in (stored, stored[::-1]):
            raise InputError(
                path,
                f"has {stored[0]} x {stored[1]} pixels (height x width), and up to {bound:,} are read of a picture "
                "whose annotations do not give that size",
                "Add height and width to the annotations, or make it smaller",
            )

    def _is_turned(self, index: int, mark: int, stored: tuple[int, int]) -> bool:
        """Tell whether a picture is to be turned as its mark says."""
        if mark == 1 or self._exif != "auto":
            return mark != 1 and self._exif == "turn"
        said = self._said_by_size(index, mark, stored)
        return self._turned if said is None else said

    def _said_by_size(self, index: int, mark: int, stored: tuple[int, int]) -> bool | None:
        """Tell what the annotated size says; None if nothing."""
        if mark < 5 or stored[0] == stored[1]:
            return None
        return {stored: False, stored[::-1]: True}.get(self._told(index) or (0, 0))

    @cached_property
    def _turned(self) -> bool:
        """Whether pictures are turned whose size does not tell."""
        return self._marks.turned >= self._marks.stored

    @cached_property
    def _marks(self) -> _Marks:
        places = np.unique(np.linspace(0, len(self.names) - 1, min(_LOOKED_AT, len(self.names))).astype(int)).tolist()
        found = []
        for index in places:
            try:
                with opened(self.path(index)) as picture:
                    mark, stored = orientation(picture), stored_size(picture)
            except InputError:  # it is named when it is to be read
                continue
            if mark != 1:
                found.append(self._said_by_size(index, mark, stored))
        return _Marks(len(places), len(found), found.count(True), found.count(False))


class RenderedPictures:
    """Pictures that are drawn when they are asked for.

    Args:
        rendered: What to draw.
    """

    has_stuff = True
    notes: tuple[str, ...] = ()

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
