"""Loads for the benchmarks: boxes with the shape of real detectors' output, made by a formula.

Nothing here is the output of a real detector. The figures that matter to speed are set to those of
COCO's validation set: how many boxes share an (image, category) cell, how much they overlap, how many
ground truth objects there are and how large a mask's text is.
"""

import functools
from dataclasses import dataclass, replace

import numpy as np

__all__ = ["EvaluationLoad", "FederatedLabels", "Load", "evaluation_load", "federated_load", "make_load"]

CATEGORIES = 80
CANVAS = (480, 640)  # height, width of every image of the evaluation load, in pixels


@dataclass(frozen=True)
class Load:
    """Detections of several members as flat arrays, sorted by (member, image).

    Attributes:
        image: int32 [n], dense image index.
        category: int32 [n], 0 to 79.
        member: int16 [n].
        score: float64 [n] in (0, 1), no two equal.
        x1: float64 [n], left side in [0, 1].
        y1: float64 [n], top side in [0, 1].
        x2: float64 [n], right side in [0, 1], above `x1`.
        y2: float64 [n], bottom side in [0, 1], above `y1`.
    """

    image: np.ndarray
    category: np.ndarray
    member: np.ndarray
    score: np.ndarray
    x1: np.ndarray
    y1: np.ndarray
    x2: np.ndarray
    y2: np.ndarray


@dataclass(frozen=True)
class FederatedLabels:
    """What LVIS knows about categories and images.

    Attributes:
        negative: Ids of the categories known to be absent from each image.
        not_exhaustive: Ids of the categories not fully annotated in each image.
        frequency: "f", "c" or "r" for each category.
    """

    negative: list[list[int]]
    not_exhaustive: list[list[int]]
    frequency: list[str]


@dataclass(frozen=True)
class EvaluationLoad:
    """Ground truth and detections of one detector as flat arrays, both sorted by image.

    Boxes are float64 [n, 4] in COCO xywh pixels; ids are int64 and start at 1; masks are lists of
    compressed COCO RLE `counts` for images of `height` x `width`, or None.

    Attributes:
        images: Number of images (ids 1 to `images`).
        categories: Number of categories (ids 1 to `categories`).
        height: Pixels, the same for all images.
        width: Pixels, the same for all images.
        truth_image: int64 [g].
        truth_category: int64 [g].
        truth_box: float64 [g, 4].
        truth_area: float64 [g]: area of the mask where there are masks, else of the box.
        truth_crowd: bool [g].
        truth_mask: Counts of g masks, or None.
        image: int64 [n].
        category: int64 [n].
        score: float64 [n], no two equal.
        box: float64 [n, 4].
        mask: Counts of n masks, or None.
        federated: LVIS's labels, or None.
    """

    images: int
    categories: int
    height: int
    width: int
    truth_image: np.ndarray
    truth_category: np.ndarray
    truth_box: np.ndarray
    truth_area: np.ndarray
    truth_crowd: np.ndarray
    truth_mask: list[bytes] | None
    image: np.ndarray
    category: np.ndarray
    score: np.ndarray
    box: np.ndarray
    mask: list[bytes] | None
    federated: FederatedLabels | None = None


def _zipf(rng: np.random.Generator, size: int, categories: int, exponent: float) -> np.ndarray:
    """Ranks 0 to categories - 1, drawn with probability proportional to (rank + 1) ** -exponent."""
    weights = np.arange(1, categories + 1) ** -exponent
    return np.searchsorted(np.cumsum(weights) / weights.sum(), rng.random(size), side="right")


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def make_load(images: int, members: int = 5, seed: int = 0) -> Load:
    """Make the load of the operators' benchmarks; not real detector output.

    An image has about 54 objects whose categories follow Zipf's law over the image's own order of
    the 80 categories, so that one or two categories fill most of it. Every member finds an object
    0, 1 or more times (1.2 on average) with noise on the sides, and adds about 33 boxes of clutter.
    Per image and 5 members: about 490 boxes in 48 cells, 10.2 boxes per cell on average.

    Args:
        images: Number of images.
        members: Number of members.
        seed: Seed of the generator.

    Returns:
        The detections.
    """
    rng = np.random.default_rng(seed)
    order = np.argsort(rng.random((images, CATEGORIES)), axis=1).astype(np.int32)

    share = rng.beta(1.2, 3.2, images)  # of the image's main category, over Zipf's law
    owner = np.repeat(np.arange(images, dtype=np.int32), rng.poisson(50, images))
    rank = np.where(rng.random(len(owner)) < share[owner], 0, _zipf(rng, len(owner), CATEGORIES, 1.0))
    kind = order[owner, rank]
    center, side, quality = _objects(rng, len(owner))

    copies = rng.poisson(1.38, (members, len(owner)))
    copies[rng.random(copies.shape) < 0.02] = 0
    member, index = np.divmod(np.repeat(np.arange(copies.size), copies.ravel()), len(owner))
    spread = 0.08 * side[index]
    found = (
        owner[index],
        kind[index],
        member,
        quality[index] + rng.normal(0, 1.2, len(index)),
        center[index] + rng.normal(0, 1, (len(index), 2)) * spread,
        side[index] * np.exp(rng.normal(0, 0.08, (len(index), 2))),
    )

    noise = rng.poisson(30, (members, images))
    member, place = np.divmod(np.repeat(np.arange(noise.size), noise.ravel()), images)
    center, side, quality = _objects(rng, len(place))
    clutter = (place, order[place, _zipf(rng, len(place), CATEGORIES, 1.15)], member, quality - 3, center, side)

    image, category, member, logit, center, side = (np.concatenate(pair) for pair in zip(found, clutter, strict=True))
    first = np.argsort(member * np.int64(images) + image, kind="stable")
    low = np.clip(center - side / 2, 0, 0.99)[first]
    high = np.maximum(np.clip(center + side / 2, 0, 1)[first], low + 1e-3)
    return Load(
        image[first].astype(np.int32),
        category[first].astype(np.int32),
        member[first].astype(np.int16),
        _sigmoid(logit[first]),
        low[:, 0].copy(),
        low[:, 1].copy(),
        high[:, 0].copy(),
        high[:, 1].copy(),
    )


def _objects(rng: np.random.Generator, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Centers [n, 2], sides [n, 2] and logits [n] of random objects, in units of the image."""
    side = np.clip(np.exp(rng.normal(-1.9, 0.7, (size, 1)) + rng.normal(0, 0.3, (size, 2))), 0.01, 0.9)
    return rng.random((size, 2)) * (1 - side) + side / 2, side, rng.normal(-0.5, 1.2, size)


def evaluation_load(
    images: int = 5000,
    detections: int = 500_000,
    categories: int = CATEGORIES,
    seed: int = 0,
    masks: bool = False,
    objects: float = 7.36,
    nearby: float = 0.62,
) -> EvaluationLoad:
    """Make the load of the evaluation's benchmarks, COCO-like; not real detector output.

    About 7.4 objects per image in two or three categories, 1.3 % crowd. Nine objects in ten are
    found at least once, with noise that keeps most of these above IoU 0.5; the other detections
    are clutter, 62 % of it in the categories of the image. AP is about .46, .44 on masks.

    Args:
        images: Number of images.
        detections: Number of detections, over all images.
        categories: Number of categories.
        seed: Seed of the generator.
        masks: Give every object and detection a mask. Boxes are then rounded to a grid of sizes, so
            that masks of one size share all but the ends of their text.
        objects: Mean number of objects of an image.
        nearby: Share of the clutter that is in the categories of the image.

    Returns:
        Ground truth and detections.
    """
    rng = np.random.default_rng(seed)
    height, width = CANVAS
    canvas = np.array([width, height])
    kinds = _zipf(rng, images * 4, categories, 0.8).reshape(images, 4)

    owner = np.repeat(np.arange(images), rng.poisson(objects, images))
    kind = kinds[owner, _zipf(rng, len(owner), 4, 1.0)]
    side = np.clip(
        np.exp(rng.normal(4.25, 0.9, (len(owner), 1)) + rng.normal(0, 0.3, (len(owner), 2))), 4, 0.95 * canvas
    )
    corner = rng.random((len(owner), 2)) * (canvas - side)
    skill = rng.normal(0, 1, len(owner))
    crowd = rng.random(len(owner)) < 0.013

    copies = np.where(rng.random(len(owner)) < 0.92, 1 + rng.poisson(1.0, len(owner)), 0)
    of = np.repeat(np.arange(len(owner)), copies)
    extra = np.arange(len(of)) - np.repeat(np.cumsum(copies) - copies, copies) > 0
    spread = np.where(extra, 0.11, 0.055)[:, None]
    size = side[of] * np.exp(rng.normal(0, 1, (len(of), 2)) * spread)
    shift = corner[of] + (side[of] - size) / 2 + rng.normal(0, 1, (len(of), 2)) * spread * side[of]
    logit = 0.05 + skill[of] + rng.normal(0, 1, len(of)) - np.where(extra, 2.5, 0)

    clutter = max(detections - len(of), 0)
    place = rng.integers(images, size=clutter)
    local = kinds[place, _zipf(rng, clutter, 4, 1.0)]
    strange = np.where(rng.random(clutter) < nearby, local, _zipf(rng, clutter, categories, 0.8))
    noise = np.clip(np.exp(rng.normal(4.25, 0.9, (clutter, 2))), 4, 0.95 * canvas)

    image = np.concatenate((owner[of], place))
    category = np.concatenate((kind[of], strange))
    score = _sigmoid(np.concatenate((logit, rng.normal(-3.2, 1.2, clutter))))
    size = np.clip(np.concatenate((size, noise)), 1, canvas)
    low = np.concatenate((shift, rng.random((clutter, 2)) * (canvas - noise)))
    box = np.hstack((np.clip(low, 0, canvas - size), size))
    kept = np.sort(rng.permutation(len(image))[:detections])
    kept = kept[np.argsort(image[kept], kind="stable")]
    box, truth_box = box[kept], np.hstack((corner, side))
    area, truth_mask, mask = truth_box[:, 2] * truth_box[:, 3], None, None
    if masks:
        truth_box, area, truth_mask = _masks(truth_box)
        box, _, mask = _masks(box)
    return EvaluationLoad(
        images,
        categories,
        height,
        width,
        owner + 1,
        kind.astype(np.int64) + 1,
        truth_box,
        area,
        crowd,
        truth_mask,
        image[kept] + 1,
        category[kept].astype(np.int64) + 1,
        score[kept],
        box,
        mask,
    )


def federated_load(images: int = 5000, detections: int = 1_500_000, categories: int = 1203) -> EvaluationLoad:
    """Make a load of the size of LVIS's validation set; not real detector output.

    About 12 objects per image; of 1203 categories 405 are frequent and 337 rare. The best 300
    detections of an image are kept, as detectors do; about 40 % of them are in categories that are
    known to be present in or absent from their image.

    Args:
        images: Number of images.
        detections: Number of detections, at most 300 per image.
        categories: Number of categories.

    Returns:
        Ground truth and detections.
    """
    each = -(-detections // images)
    load = evaluation_load(images, detections * 6 // 5, categories, objects=12.2, nearby=0.3)
    rng = np.random.default_rng(1)
    order = np.lexsort((-load.score, load.image))
    start = np.searchsorted(load.image[order], load.image[order])
    kept = np.sort(order[np.arange(len(order)) - start < each])
    present = np.unique(load.truth_image * (categories + 1) + load.truth_category)
    lists: list[list[int]] = [[] for _ in range(images)]
    for value in present.tolist():
        lists[value // (categories + 1) - 1].append(value % (categories + 1))
    absent = _zipf(rng, images * 12, categories, 0.4).reshape(images, 12) + 1
    frequent, common = round(categories * 0.337), round(categories * 0.72)
    labels = FederatedLabels(
        negative=[sorted(set(row) - set(there)) for row, there in zip(absent.tolist(), lists, strict=True)],
        not_exhaustive=[[k for k in there if rng.random() < 0.1] for there in lists],
        frequency=["f"] * frequent + ["c"] * (common - frequent) + ["r"] * (categories - common),
    )
    parts = {name: getattr(load, name)[kept] for name in ("image", "category", "score", "box")}
    return replace(load, truth_crowd=np.zeros_like(load.truth_crowd), federated=labels, **parts)


def _masks(box: np.ndarray) -> tuple[np.ndarray, np.ndarray, list[bytes]]:
    """Rounded boxes [n, 4], areas of the masks [n] and their counts: one wobbly ellipse per box."""
    height, width = CANVAS
    level = np.maximum(np.round(1.06 ** np.round(np.log(box[:, 2:]) / np.log(1.06))), 1).astype(np.int64)
    level = np.minimum(level, [width, height - 1])  # a full column would join its neighbour
    corner = np.clip(np.round(box[:, :2]).astype(np.int64), 0, [width, height] - level)
    sizes, which = np.unique(level, axis=0, return_inverse=True)
    shapes = [_ellipse(int(w), int(h)) for w, h in sizes]
    text = [
        _placed(shapes[shape], x * height + y)
        for shape, x, y in zip(which.ravel().tolist(), *corner.T.tolist(), strict=True)
    ]
    area = np.array([shape[3] for shape in shapes], np.float64)[which.ravel()] if len(box) else np.zeros(0)
    return np.hstack((corner, level)).astype(np.float64), area, text


def _ellipse(w: int, h: int) -> tuple[int, int, bytes, int, int | None]:
    """First run, pixels from the first to the last set one, text between, area, run the last is relative to."""
    column = (np.arange(w) + 0.5) / w * 2 - 1
    reach = np.sqrt(1 - column**2) * h / 2
    wobble = 0.05 * h * np.sin(11 * column)
    top = np.clip(np.round(h / 2 - reach + wobble), 0, h - 1).astype(np.int64)
    length = np.maximum(np.clip(np.round(h / 2 + reach + wobble), 1, h).astype(np.int64) - top, 1)
    runs = np.empty(2 * w - 1, np.int64)
    runs[::2] = length
    runs[1::2] = CANVAS[0] - top[:-1] - length[:-1] + top[1:]
    counts = runs.tolist()
    text = b"".join(_number(run - (counts[i - 2] if i > 1 else 0)) for i, run in enumerate(counts))
    return int(top[0]), sum(counts), text, int(length.sum()), counts[-2] if w > 1 else None


def _placed(shape: tuple[int, int, bytes, int, int | None], offset: int) -> bytes:
    """Counts of a shape whose box's first pixel is at `offset` in column-major order."""
    first, span, text, _, before = shape
    rest = CANVAS[0] * CANVAS[1] - offset - first - span
    return _number(offset + first) + text + (_number(rest - (before or 0)) if rest else b"")


@functools.cache
def _number(value: int) -> bytes:
    """One number of a COCO RLE text: five bits per character, least first, sign in the last."""
    text = bytearray()
    while True:
        low = value & 31
        value >>= 5
        last = value == (-1 if low & 16 else 0)
        text.append(48 + (low if last else low | 32))
        if last:
            return bytes(text)
