"""The picture files of a data set's images, found in a folder and read at the size at which they are shown."""

import threading
import warnings
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from PIL import Image, ImageOps

from evaluation.files.pictures import picture_files
from fusion.errors import InputError

if TYPE_CHECKING:
    from evaluation.ground_truth import GroundTruth

__all__ = ["PictureFolder"]

_OPENING = threading.Lock()


class PictureFolder:
    """Picture files of a ground truth's images.

    Args:
        folder: Where they are: under the names in the ground truth, under these without folders, or under the
            images' ids.
        truth: The images.

    Raises:
        InputError: If it is no folder.
    """

    def __init__(self, folder: Path, truth: "GroundTruth") -> None:
        if not folder.is_dir():
            raise InputError(folder, "expected a folder with the pictures of the images, and there is none")
        self.folder, self.truth = folder, truth

    def find(self, image: int) -> Path | None:
        """Return the file of an image, by its place in the ground truth; None where there is none."""
        name = str(self.truth.file_name[image])
        key = str(self.truth.image_id[image])
        for one in (name, PurePosixPath(name).name) if name else (key,):
            if (self.folder / one).is_file():
                return self.folder / one
        stems = [str(PurePosixPath(name).with_suffix("")), PurePosixPath(name).stem] if name else []
        for stem in (*stems, key, key.zfill(12)):  # as COCO's files are named
            if stem in self._stems:
                return self._stems[stem]
        return None

    @cached_property
    def _stems(self) -> dict[str, Path]:
        files = picture_files([self.folder])
        return {PurePosixPath(stem).name: path for stem, path in files.items()} | dict(files)

    def read(self, path: Path, frame: tuple[int, int], bound: int) -> Image.Image:
        """Read a picture as RGB, turned as the ground truth has it, not much larger than it is shown.

        Args:
            path: The file.
            frame: Width and height by the ground truth; 0 where unknown.
            bound: Of its longer side as shown, in pixels.

        Raises:
            InputError: If it cannot be read.
        """
        try:
            with _opened(path) as picture:
                stored = picture.size
                picture.draft("RGB", (bound, bound))  # JPEG is read at a fraction of its size
                if picture.mode.startswith("I;16"):
                    shown = picture.convert("I").point(lambda value: value / 256).convert("L").convert("RGB")
                else:
                    picture.info.pop("transparency", None)
                    shown = picture.convert("RGB")
                if frame != stored and frame == stored[::-1]:
                    shown = ImageOps.exif_transpose(picture).convert("RGB")
                shown.thumbnail((bound, bound), Image.Resampling.BILINEAR)
                return shown
        except Exception as error:  # a damaged file may make Pillow's readers fail in any way
            raise InputError(path, f"cannot be read as an image ({error})", "Fetch or write it again") from error


def _opened(path: Path) -> Image.Image:
    """Open a picture without a word on large ones; the filters of warnings are all threads' together."""
    with _OPENING, warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        return Image.open(path)
