"""The views that a user asks for, and left and right of what is found in a mirrored one."""

import numpy as np

from fusion.errors import InputError
from zoo.config import AnyModel, CropSegmenter, Model
from zoo.data.views import View, views

__all__ = ["mirrored", "views_of", "views_of_foreign"]


def views_of(config: AnyModel, sizes: str | None = None, flip: bool = False) -> tuple[View, ...]:
    """Return the views of a configuration, or those that a user names.

    Args:
        config: Of the model.
        sizes: "600,800,1000x1600": short sides with commas between; after an x the longest side. Without it, the
            longest side is the configuration's, more in proportion where the short side is above all of its own.
        flip: Each size also flipped, even if the configuration says no. What looks at crops takes the mean of both by
            itself (`infer.flip`), in one view.

    Raises:
        InputError: If a size cannot be read, or comes twice.
    """
    if sizes is None:
        pairs = list(config.infer.sizes(config.data))
        flip = flip or config.infer.flip
    else:
        pairs = [_size(word.strip(), config) for word in sizes.split(",")]
    if len({short for short, _ in pairs}) < len(pairs):
        raise InputError("option --views", f"expected short sides that differ, got {sizes!r}")
    flip = flip and not isinstance(config, CropSegmenter)
    return tuple(view for short, long in pairs for view in views((short,), long, with_flip=flip))


def views_of_foreign(sizes: str | None = None, flip: bool = False) -> tuple[View, ...]:
    """Return the views of another framework's model: the size that it brings pictures to itself, or those named.

    Args:
        sizes: As in `views_of`; without an x the longest side is that of our own models.
        flip: Each also flipped.

    Raises:
        InputError: If a size cannot be read, or comes twice.
    """
    if sizes is not None:
        return views_of(Model(), sizes, flip)
    return tuple(View(None, None, mirror) for mirror in (False, True)[: 1 + flip])


def mirrored(boxes: np.ndarray, width: int) -> np.ndarray:
    """Exchange left and right of xyxy boxes [n, 4] in an image of `width` pixels."""
    return np.stack([width - boxes[:, 2], boxes[:, 1], width - boxes[:, 0], boxes[:, 3]], axis=1)


def _size(word: str, config: AnyModel) -> tuple[int, int]:
    short, cross, long = word.partition("x")
    if not short.isdigit() or int(short) < 1 or (cross and not long.isdigit()):
        raise InputError("option --views", f"expected short sides such as 600,800,1000x1600, got {word!r}")
    if cross and int(long) < int(short):
        raise InputError("option --views", f"the longest side of {word!r} is below the short one")
    return int(short), int(long) if cross else config.infer.longest(int(short), config.data)
