"""Small data for tests of zoo.data."""

import numpy as np
import torch

from evaluation.ground_truth import GroundTruth
from zoo.data.masks import pack
from zoo.data.record import Target


class Blank:
    """Pictures of one grey, of the sizes of a ground truth or as given."""

    has_stuff = False
    notes = ()

    def __init__(self, truth=None, size=None):
        self.truth, self.given = truth, size

    def size(self, index):
        return self.given or (int(self.truth.height[index]), int(self.truth.width[index]))

    def pixels(self, index):
        return np.full((*self.size(index), 3), 128, np.uint8)

    def stuff(self, index):
        return None


def truth_of(image_categories, categories=None, wide=None):
    """Ground truth with one box per listed category of each image."""
    count = len(image_categories)
    pairs = [(i, c) for i, listed in enumerate(image_categories) for c in listed]
    wide = [True] * count if wide is None else wide
    return GroundTruth.from_arrays(
        image_id=np.arange(10, 10 + count),
        category_id=np.arange(1, (categories or max((c for _, c in pairs), default=1)) + 1),
        annotation_image_id=np.array([10 + i for i, _ in pairs], np.int64),
        annotation_category_id=np.array([c for _, c in pairs], np.int64),
        xywh=[[1, 2, 5, 4]] * len(pairs),
        width=[40 if w else 30 for w in wide],
        height=[30 if w else 40 for w in wide],
    )


def random_sample(rng, objects=4, size=None, polygons=False, stuff=True):
    """An image of noise with random objects; returns (image, target, dense masks)."""
    height, width = size or rng.integers(20, 60, 2).tolist()
    planes, shapes, boxes = [], [], []
    for _ in range(objects):
        x, y = rng.uniform(0, width - 8), rng.uniform(0, height - 8)
        w, h = rng.uniform(6, width - x), rng.uniform(6, height - y)
        corners = [x, y, x + w, y, x + w, y + h / 2, x + w / 2, y + h, x, y + h]
        boxes.append([x, y, x + w, y + h])
        if polygons:
            shapes.append([corners])
            from zoo.data.masks import mask_pixels

            planes.append(mask_pixels([corners], (height, width)))
        else:
            yy, xx = np.mgrid[:height, :width]
            plane = (xx >= x) & (xx < x + w) & (yy >= y) & (yy < y + h) & (rng.random((height, width)) < 0.8)
            planes.append(plane.astype(np.uint8))
            shapes.append(pack(plane))
    target = Target.empty(
        1,
        (height, width),
        boxes=torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        labels=torch.arange(1, objects + 1),
        masks=shapes,
        ignore_boxes=torch.tensor([[1.0, 1.0, 9.0, 7.0]]),
        ignore_labels=torch.tensor([3]),
        stuff=torch.from_numpy(rng.integers(0, 5, (height, width)).astype(np.uint8)) if stuff else None,
    )
    image = torch.from_numpy(rng.integers(0, 256, (3, height, width)).astype(np.uint8))
    dense = np.stack(planes) if planes else np.zeros((0, height, width), np.uint8)
    return image, target, torch.from_numpy(dense)
