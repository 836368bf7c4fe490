"""What a prediction asks of a model, whoever has built and trained it."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol

import torch
from torch import Tensor

from zoo.data import Data, Target, View
from zoo.nn.detections import Detections

__all__ = ["Finder"]


class Finder(Protocol):
    """A model at work. Its labels 1, 2, ... stand for `category_ids`."""

    @property
    def name(self) -> str:
        """Name of the member."""

    @property
    def about(self) -> Mapping[str, Any]:
        """What tables say of it: whatever decides what it finds is in it, weights as a hash."""

    def notes(self, data: Data, views: Sequence[View], finds: bool) -> Sequence[str]:
        """Return what a user should know of this model on these data.

        Args:
            data: What it looks at.
            views: In which views.
            finds: Whether it is to find boxes; otherwise they are given to it.
        """

    @property
    def category_ids(self) -> tuple[int, ...]:
        """Ids of the labels 1, 2, ..."""

    @property
    def has_masks(self) -> bool:
        """Whether what it finds has masks."""

    @property
    def scores_masks(self) -> bool:
        """Whether it predicts the IoU of its masks."""

    @property
    def boxes_given(self) -> Literal["always", "never", "maybe"]:
        """Whether boxes are given to it."""

    @property
    def moves_boxes(self) -> bool:
        """Whether given boxes come back elsewhere."""

    @property
    def resizes(self) -> bool:
        """Whether it brings pictures to the size of a view itself; it is shown them at their own size then."""

    @property
    def views(self) -> tuple[View, ...]:
        """How it looks at a picture where nothing else is asked for."""

    @property
    def device(self) -> torch.device:
        """Where it computes."""

    def find(
        self, images: list[Tensor], targets: list[Target], view: View, given: list[Detections] | None
    ) -> list[Detections]:
        """Return what is in each image.

        Args:
            images: float32 [3, h, w] in 0..1, mirrored where the view is.
            targets: How large the images on disk are, in whose pixels, mirrored alike, the answers are.
            view: Which view these are.
            given: Boxes, labels and scores to start from.
        """
