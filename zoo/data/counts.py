"""How common the categories of a data set are."""

from collections.abc import Collection
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


def category_counts(data: Data, without: Collection[str] = ()) -> CategoryCounts:
    """Count the images and objects of each category.

    Args:
        data: The data set.
        without: Names of joined data sets that are not counted.
    """
    count = len(data.category_ids)
    images, objects = np.zeros(count, np.int64), np.zeros(count, np.int64)
    parts = [part for part in data.parts if part.name not in without]
    for part in parts:
        images += np.bincount(part.image_categories.category, minlength=count)[:count]
        objects += np.bincount(part.truth.category[~part.truth.crowd], minlength=count)
    return CategoryCounts(sum(map(len, parts)), torch.from_numpy(images), torch.from_numpy(objects))
