"""What a ground truth knows of images and categories, for joining the ids of a results file to it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from fusion.errors import InputError

__all__ = ["OwnLists", "Vocabulary", "examples", "integer_like", "printable"]

_SHOWN = 5


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """Images and categories of a data set.

    Attributes:
        image_ids: int64 [images] or object [images] of str, unique, in any order.
        category_ids: int32 [categories], unique.
        category_names: [categories] names.
        file_names: [images] names of the image files; None where they are not known.
        sizes: int32 [images, 2], height and width; None where they are not known.
        order: int64 [images], the images in the order in which the source lists them; None where it is theirs here.
        where: Name of the source for messages.
        category_labels: [categories] names for machines, such as "/m/011k07"; None where there are none.
        unit: Of its boxes: "pixel", or "normalized".
        partial: Whether images without objects may be missing, so that detections on others are kept.
    """

    image_ids: np.ndarray
    category_ids: np.ndarray
    category_names: tuple[str, ...]
    file_names: tuple[str, ...] | None = None
    sizes: np.ndarray | None = None
    order: np.ndarray | None = None
    where: str = "the ground truth"
    category_labels: tuple[str, ...] | None = None
    unit: str = "pixel"
    partial: bool = False

    def __post_init__(self) -> None:
        images, categories = len(self.image_ids), len(self.category_ids)
        for name, length, expected in (
            ("category_names", len(self.category_names), categories),
            ("file_names", images if self.file_names is None else len(self.file_names), images),
            ("sizes", images if self.sizes is None else len(self.sizes), images),
        ):
            if length != expected:
                raise InputError(self.where, f"{name} has {length} entries, expected {expected}")


@dataclass(frozen=True)
class OwnLists:
    """What a results file that is a dictionary says about images and categories itself.

    Attributes:
        file_names: File name of each of its image ids.
        sizes: (height, width) of each of its image ids.
        categories: Name of each of its category ids.
    """

    file_names: Mapping[int | str, str]
    sizes: Mapping[int | str, tuple[int, int]]
    categories: Mapping[int | str, str]


def printable(text: str, most: int = 60) -> str:
    """Return a text as it can stand in a message: on one line, cut to a length."""
    text = text if text.isprintable() else ascii(text)
    return text if len(text) <= most else text[: most - 3] + "..."


def integer_like(text: str) -> int | None:
    """Return the integer that a text is the usual notation of ("7", "-1"; not "07", "+7", "7.0"), else None."""
    if len(text) > 20 or not text.removeprefix("-").isascii() or not text.removeprefix("-").isdigit():
        return None
    number = int(text)
    return number if str(number) == text else None


def examples(values: Iterable[int | str]) -> str:
    """Return the first few values for a message."""
    every = list(values)
    shown = ", ".join(printable(str(value)) for value in every[:_SHOWN])
    return shown + (f" and {len(every) - _SHOWN} more" if len(every) > _SHOWN else "")
