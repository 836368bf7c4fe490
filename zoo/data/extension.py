"""Boxes that annotations lack: of masks, and of images that show one thing (mmfruit-openimages2019, sec. 5.9)."""

from dataclasses import replace

import numpy as np

from evaluation.ground_truth import GroundTruth
from fusion.corners import from_corners
from fusion.errors import InputError

__all__ = ["named_categories", "with_mask_boxes", "with_whole_images", "without_groups"]


def named_categories(truth: GroundTruth, names: str) -> np.ndarray:
    """Return which categories are meant, bool [c].

    Args:
        truth: Has the categories.
        names: Names, labels or ids with a plus sign between them, or "all".

    Raises:
        InputError: If one is not known.
    """
    if names == "all":
        return np.ones(len(truth.category_id), bool)
    chosen = np.zeros(len(truth.category_id), bool)
    ids = [str(number) for number in truth.category_id.tolist()]
    for name in names.split("+"):
        found = [name in own for own in zip(truth.category_name, ids, truth.category_label or ids, strict=True)]
        if not any(found):
            raise InputError(truth.source, f"has no category {name!r}", "Give names, labels or ids, such as Grape+17")
        chosen |= np.array(found)
    return chosen


def without_groups(truth: GroundTruth, categories: np.ndarray) -> GroundTruth:
    """Return ground truth without the group-of boxes of some categories, bool [c]."""
    return truth.only(np.flatnonzero(~(truth.crowd & categories[truth.category])))


def with_mask_boxes(truth: GroundTruth, masks: GroundTruth, categories: np.ndarray) -> GroundTruth:
    """Return ground truth to which the boxes of masks are added, where no single object has the mask's box.

    The box added is that of the mask's pixels, not that in the file, which may be the one in which the mask was drawn.
    Masks of images that the ground truth does not have are left out: nobody has drawn boxes of other things there.

    Args:
        truth: Normalized boxes.
        masks: Masks as objects of their own, with the same categories.
        categories: bool [c], whose masks are taken.

    Raises:
        InputError: If a mask cannot be read.
    """
    from pycocotools import mask as rle

    known = {
        (truth.image_id[image], category, *corners)
        for image, category, corners, crowd in zip(
            truth.image.tolist(), truth.category.tolist(), truth.corners.tolist(), truth.crowd.tolist(), strict=True
        )
        if not crowd
    }
    place = {image: number for number, image in enumerate(truth.image_id.tolist())}
    encoded, image, category, corners = masks.masks, [], [], []
    for row, given in enumerate(masks.corners.tolist()):
        key = masks.image_id[masks.image[row]]
        own = int(masks.category[row])
        if not categories[own] or key not in place or (key, own, *given) in known or encoded is None:
            continue
        one = encoded[row].as_py()
        x, y, w, h = rle.toBbox({"size": [one["height"], one["width"]], "counts": one["counts"]}).tolist()
        if w > 0 and h > 0:
            image.append(place[key])
            category.append(own)
            corners.append((x / one["width"], y / one["height"], (x + w) / one["width"], (y + h) / one["height"]))
    added = np.array(corners, np.float64).reshape(-1, 4)
    note = f"{len(added)} boxes of masks are added to those of {truth.source}"
    return _with_boxes(truth, np.array(image, np.int32), np.array(category, np.int32), added, note)


def with_whole_images(truth: GroundTruth) -> GroundTruth:
    """Return ground truth in which each category verified as present in an image has a box over all of it.

    Args:
        truth: With image labels, such as of images that were found by a category's name.
    """
    assert truth.positive is not None
    start, category = truth.positive
    image = np.repeat(np.arange(len(truth.image_id), dtype=np.int32), np.diff(start))
    whole = np.tile([0.0, 0.0, 1.0, 1.0], (len(image), 1))
    return _with_boxes(truth, image, category, whole, f"{len(image)} image labels have a box over the whole image")


def _with_boxes(
    truth: GroundTruth, image: np.ndarray, category: np.ndarray, corners: np.ndarray, note: str
) -> GroundTruth:
    """Return ground truth with further objects: normalized corners, float64 [n, 4]."""
    xywh, far = from_corners(np.concatenate((truth.corners, corners)))
    first = int(truth.annotation_id.max(initial=0)) + 1
    return replace(
        truth,
        annotation_id=np.concatenate((truth.annotation_id, np.arange(first, first + len(image)))),
        image=np.concatenate((truth.image, image)),
        category=np.concatenate((truth.category, category)),
        xywh=xywh,
        far=far,
        area=np.concatenate((truth.area, xywh[len(truth) :, 2:].prod(axis=1))),
        crowd=np.concatenate((truth.crowd, np.zeros(len(image), bool))),
        notes=(*truth.notes, note),
    )
