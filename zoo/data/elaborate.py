"""The elaborate augmentation of mmfruit-openimages2019, sec. 5.3: a turn and a crop for the sake of one object."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from zoo.config import Elaborate
from zoo.data.dataset import Data
from zoo.data.record import Target
from zoo.data.rotation import rotate
from zoo.data.transforms import VisitDraws, crop

__all__ = ["Elaborated", "Shapes", "shapes_of"]

_BINS = 100


@dataclass(frozen=True, eq=False)
class Shapes:
    """What the objects of a data set are like, crowds not counted.

    Attributes:
        imbalance: float64 [k], mean of abs(log2(width / height)) of each category; 0 without objects.
        edges: float64 [101], scales from the smallest to the largest there is. A scale is the long side of a box
            divided by that of its image.
        share: float64 [101], share of the objects up to each of them, from 0 to 1.
    """

    imbalance: np.ndarray
    edges: np.ndarray
    share: np.ndarray

    def draw(self, low: float, high: float, rng: np.random.Generator) -> float:
        """Draw a scale as the objects have them, of those from `low` to `high`; evenly where no object is."""
        first, last = np.interp((low, high), self.edges, self.share)
        if first == last:
            return float(rng.uniform(low, high))
        return float(np.clip(np.interp(rng.uniform(first, last), self.share, self.edges), low, high))


def shapes_of(data: Data) -> Shapes:
    """Count the shapes and scales of a data set's objects."""
    total, count, scales = np.zeros(len(data.category_ids)), np.zeros(len(data.category_ids), np.int64), []
    for part in data.parts:
        truth = part.truth
        rows = np.flatnonzero(~truth.crowd & (truth.xywh[:, 2:] > 0).all(axis=1))
        size = part.sizes[truth.image[rows]]  # heights, widths
        sides = truth.xywh[rows, 2:] * (size[:, ::-1] if truth.unit == "normalized" else 1)
        category = truth.category[rows]
        total += np.bincount(category, np.abs(np.log2(sides[:, 0] / sides[:, 1])), len(total))
        count += np.bincount(category, minlength=len(count))
        scales.append(np.minimum(sides.max(axis=1) / size.max(axis=1), 1.0))
    found = np.concatenate(scales)
    if not len(found):
        return Shapes(total, np.linspace(0, 1, _BINS + 1), np.linspace(0, 1, _BINS + 1))
    edges = np.linspace(found.min(), found.max(), _BINS + 1)
    share = np.concatenate(([0.0], np.cumsum(np.histogram(found, edges)[0]) / len(found)))
    return Shapes(total / np.maximum(count, 1), edges, share)


@dataclass(frozen=True)
class Elaborated:
    """Turn the picture about an object of the category that it was drawn for, then cut a part that covers its box.

    The part has the shape of the picture, or more where the box needs it, and is nowhere larger than the picture: only
    scales from the box's own on are drawn, and where the largest allowed is less, the picture stays whole. Pictures
    that were not drawn for a category stay as they are.

    Attributes:
        settings: How far and how large.
        shapes: Of the training data.
    """

    settings: Elaborate
    shapes: Shapes

    def __call__(self, image: Tensor, target: Target, draws: VisitDraws) -> tuple[Tensor, Target]:
        """Return the changed image and target."""
        rng = draws.of("elaborate")
        rows = torch.nonzero(target.labels == target.drawn).flatten().tolist() if target.drawn else []
        if not rows:
            return image, target
        row = rows[int(rng.integers(len(rows)))]
        degrees = float(rng.normal(0.0, self.spread(target.drawn)))
        image, target, row = _turned(image, target, row, degrees)
        height, width = target.size
        box = target.boxes[row].double().numpy()
        x1, y1, x2, y2 = box.tolist()
        own = max(x2 - x1, y2 - y1) / max(target.size)
        largest = min(self.settings.memory_scale, float(self.shapes.edges[-1]))
        if own >= largest:
            return image, target
        least = min(max(own, float(self.shapes.edges[0])), largest)
        part = own / self.shapes.draw(least, largest, rng)
        top, rows_kept = _place(y1, y2, height, part, rng)
        left, columns_kept = _place(x1, x2, width, part, rng)
        return crop(image, target, top, left, rows_kept, columns_kept)

    def spread(self, label: int) -> float:
        """Return the standard deviation of a category's angles in degrees."""
        wanted = self.settings.degrees * float(self.shapes.imbalance[label - 1])
        return float(np.clip(wanted, self.settings.least, self.settings.most))


def _turned(image: Tensor, target: Target, row: int, degrees: float) -> tuple[Tensor, Target, int]:
    """Return both turned about the middle of an object, and its new row; unturned where nothing of it would stay."""
    x1, y1, x2, y2 = target.boxes[row].tolist()
    numbered = replace(target, labels=torch.arange(len(target.labels)))
    turned_image, turned = rotate(image, numbered, degrees, about=((x1 + x2) / 2, (y1 + y2) / 2))
    place = torch.nonzero(turned.labels == row).flatten().tolist()
    if not place:
        return image, target, row
    return turned_image, replace(turned, labels=target.labels[turned.labels]), place[0]


def _place(low: float, high: float, length: int, part: float, rng: np.random.Generator) -> tuple[int, int]:
    """Return where a part of a picture's side begins that holds a box's side, and how long it is."""
    first, last = int(np.floor(low)), int(np.ceil(high))
    long = min(max(round(part * length), last - first), length)
    return int(rng.integers(max(last - long, 0), min(first, length - long) + 1)), long
