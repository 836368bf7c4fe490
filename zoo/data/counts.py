"""How common the categories of a data set are."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from zoo.data.dataset import Data

__all__ = ["CategoryCounts", "category_counts"]


class CategoryCounts(NamedTuple):
    """What a data set has of each category.

    Attributes:
        total: Images of the data set.
        images: int64 [k], images with an object of the category, crowds not counted.
        objects: int64 [k], objects, crowds not counted.
    """

    total: int
    images: Tensor
    objects: Tensor


def category_counts(data: Data) -> CategoryCounts:
    """Count the images and objects of each category."""
    count = len(data.category_ids)
    images = np.bincount(data.image_categories.category, minlength=count)
    objects = np.zeros(count, np.int64)
    for truth in (part.truth for part in data.parts):
        objects += np.bincount(truth.category[~truth.crowd], minlength=count)
    return CategoryCounts(len(data), torch.from_numpy(images.astype(np.int64)), torch.from_numpy(objects))
