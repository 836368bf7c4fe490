"""A part of a data set: some of its images, such as those that hold an object of some categories."""

from collections.abc import Collection, Sequence
from functools import cached_property

import numpy as np
from torch import Tensor

from evaluation.ground_truth import GroundTruth, Labels
from evaluation.known_categories import check_categories
from fusion.errors import InputError
from zoo.data.dataset import Data
from zoo.data.record import Target

__all__ = ["SelectedData", "images_having"]


def images_having(data: Data, categories: Collection[int]) -> np.ndarray:
    """Return the images with an object of one of some categories, int64 [n], ascending.

    Args:
        data: The data set.
        categories: Ids.

    Raises:
        InputError: If a category is unknown, or there is no such image.
    """
    ids = data.category_ids
    check_categories(categories, ids.tolist(), f"data {data.name}")
    labels = data.image_categories
    image = np.repeat(np.arange(len(data)), np.diff(labels.start))
    found = np.unique(image[np.isin(ids[labels.category], list(categories))])
    if not len(found):
        raise InputError(f"data {data.name}", f"has no image with an object of category {min(categories)}")
    return found


class SelectedData:
    """Some images of a data set; all their annotations and all categories stay.

    Args:
        data: The data set.
        images: int64 [n] in 0..images, ascending.
    """

    def __init__(self, data: Data, images: np.ndarray) -> None:
        self._data, self._images, self.name, self.split = data, images, data.name, data.split

    def __len__(self) -> int:
        return len(self._images)

    @property
    def parts(self) -> Sequence[Data]:
        """Itself."""
        return [self]

    @cached_property
    def truth(self) -> GroundTruth:
        """The annotations of these images."""
        return self._data.truth.subset(self.image_ids)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the annotations of these images."""
        return self.truth.fingerprint

    @property
    def category_ids(self) -> np.ndarray:
        """int64 [k], ascending, of the whole data set."""
        return self._data.category_ids

    @property
    def category_names(self) -> tuple[str, ...]:
        """Names of the k categories."""
        return self._data.category_names

    @property
    def image_ids(self) -> list[int | str]:
        """Id of each image."""
        ids = self._data.image_ids
        return [ids[image] for image in self._images.tolist()]

    @property
    def sizes(self) -> np.ndarray:
        """int32 [images, 2]."""
        return self._data.sizes[self._images]

    @cached_property
    def image_categories(self) -> Labels:
        """Categories that have an object in each image (CSR)."""
        start, category = self._data.image_categories
        count = np.diff(start)[self._images]
        rows = [category[start[image] : start[image + 1]] for image in self._images.tolist()]
        return Labels(np.concatenate(([0], np.cumsum(count))).astype(np.int64), np.concatenate(rows))

    @property
    def has_masks(self) -> bool:
        """Whether objects have masks."""
        return self._data.has_masks

    @property
    def has_stuff(self) -> bool:
        """Whether images have stuff maps."""
        return self._data.has_stuff

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user should know about how annotations and pictures are read."""
        return self._data.notes

    def load(self, index: int) -> tuple[Tensor, Target]:
        """Return uint8 [3, height, width] and the annotations of an image."""
        return self._data.load(int(self._images[index]))
