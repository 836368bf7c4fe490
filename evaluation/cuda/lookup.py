"""What cells of detections are looked up by, on the GPU."""

import numpy as np

from evaluation.cuda.kernels.lookup import Lookup
from evaluation.ground_truth import GroundTruth
from evaluation.truth_columns import places_of
from fusion.cuda.kernels.device import to_device
from fusion.cuda.resident import Origins

__all__ = ["keys_of", "lookup_of"]


def keys_of(start: np.ndarray, category: np.ndarray, categories: int) -> np.ndarray:
    """Return the key of each (image, category) pair in a list by image, int64; see `Lookup`."""
    image = np.repeat(np.arange(len(start) - 1), np.diff(start))
    return np.asarray(image * np.int64(categories) + category)


def lookup_of(known: np.ndarray, truth: GroundTruth, counted: np.ndarray, origins: Origins) -> Lookup:
    """Put on the GPU what cells are looked up by.

    Args:
        known: int64, keys of the cells of which something is known, ascending.
        truth: What they count through.
        counted: bool [k], which categories have ground truth that counts.
        origins: Images and categories of the session.
    """
    category = places_of(truth.category_id, origins.category_ids)
    category = np.where(np.append(counted, False)[category], category, -1)
    image = places_of(truth.image_id, origins.image_ids)
    return Lookup(to_device(known), to_device(image.astype(np.int32)), to_device(category.astype(np.int32)))
