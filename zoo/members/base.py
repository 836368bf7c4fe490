"""What the model of another framework is to a prediction."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as F  # noqa: N812

from fusion.errors import InputError
from zoo.data.masks import pack, resize_mask

__all__ = ["ForeignModel", "InPicture", "Label", "Wanted", "as_pixels", "brought_back", "packed", "shown"]


class Label(NamedTuple):
    """A category as the framework knows it.

    Attributes:
        number: Its number there; None where it has a name only.
        name: Its name; None where it has a number only.
    """

    number: int | None
    name: str | None


class InPicture(NamedTuple):
    """Detections of one picture, in any order, in pixels of the picture as it was given.

    Attributes:
        boxes: float32 [n, 4], xyxy.
        scores: float32 [n].
        labels: [n], numbers as in the model's `labels`; texts are names.
        masks: COCO RLE of each; None of a model without masks.
    """

    boxes: Tensor
    scores: Tensor
    labels: Sequence[int | str]
    masks: list[dict[str, Any]] | None = None


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What is asked of a model.

    Attributes:
        weights: File of its weights, for frameworks that have them apart.
        settings: The framework's own options, by name.
    """

    weights: Path | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)


class ForeignModel:
    """A model of another framework; each has a file of its own, which loads it from (source, wanted, device).

    Attributes:
        packages: What has to be installed, by the names under which it is imported.
        extra: The extra of this distribution that installs it.
        form: How it is asked for.
        labels: Its categories; None where they are known by what is found only.
        has_masks: Whether what it finds has masks.
        files: What it was loaded from; their hashes tell predictions apart.
    """

    packages: ClassVar[tuple[str, ...]] = ()
    extra: ClassVar[str] = "zoo"
    form: ClassVar[str] = ""
    labels: tuple[Label, ...] | None = None
    has_masks: bool = False
    files: tuple[Path, ...] = ()

    def __init__(self, source: str, wanted: Wanted, device: torch.device) -> None:
        raise NotImplementedError

    def find(self, pictures: list[Tensor], size: tuple[int, int] | None) -> list[InPicture]:
        """Find what is in pictures.

        Args:
            pictures: float32 [3, h, w], red, green and blue in 0..1, as on disk but for left and right.
            size: Short side and longest side at which they are to be seen; None leaves it to the framework.
        """
        raise NotImplementedError

    @classmethod
    def existing(cls, path: str | Path) -> Path:
        """Return the path of a file or folder.

        Raises:
            InputError: If there is none.
        """
        place = Path(path)
        if not place.exists():
            raise InputError(place, "there is no such file or folder, and nothing is downloaded", f"As in {cls.form}")
        return place


def packed(masks: Tensor) -> list[dict[str, Any]]:
    """Return COCO RLE of bool [n, h, w]."""
    return [pack(mask.cpu().numpy()) for mask in masks]


def as_pixels(picture: Tensor) -> np.ndarray:
    """Return float32 [3, h, w] in 0..1 as uint8 [h, w, 3], those of the file where it was not resized."""
    pixels: np.ndarray = (picture * 255).round().byte().permute(1, 2, 0).cpu().numpy()
    return pixels


def shown(picture: Tensor, size: tuple[int, int]) -> Tensor:
    """Return a picture [3, h, w] at another height and width, made as our own views are."""
    if picture.shape[1:] == size:
        return picture
    return F.resize(picture, list(size), antialias=True).clamp(0, 1)


def brought_back(found: InPicture, seen: tuple[int, int], own: tuple[int, int]) -> InPicture:
    """Return what was found in a picture of one height and width as it lies in the picture of another."""
    if seen == own:
        return found
    masks = None if found.masks is None else [resize_mask(mask, seen, own) for mask in found.masks]
    factor = found.boxes.new_tensor([own[1] / seen[1], own[0] / seen[0]] * 2)
    return found._replace(boxes=found.boxes * factor, masks=masks)
