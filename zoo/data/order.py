"""The order in which an epoch visits the images."""

import zlib

import numpy as np

from evaluation.ground_truth import Labels
from fusion.errors import InputError
from zoo.config import Stream
from zoo.data.dataset import Data

__all__ = ["class_aware", "epoch_order", "full_class", "grouped", "repeat_factors", "repeated", "shuffled"]


def epoch_order(data: Data, stream: Stream, seed: int, epoch: int, number: int = 0) -> list[tuple[int, int]]:
    """Return the images of an epoch, in order, and for the sake of which category each was drawn.

    It depends on nothing but the arguments. Images of a step are all wide or all high, as far as there are enough,
    which saves padding.

    Args:
        data: The data set.
        stream: Which images, by which sampler, how many of them in a step.
        seed: Of the training.
        epoch: Number of the epoch.
        number: Of the stream.

    Returns:
        Pairs of an image's index and a label, 1..K, or 0 where no category was drawn.

    Raises:
        InputError: If the stream's source is unknown, or the sampler needs objects and there are none.
    """
    rng = _generator(seed, epoch, f"order {number}" if number else "order")
    mine = _images(data, stream)
    own = _rows(data.image_categories, mine)
    category, window = None, 0
    if stream.sampler == "repeat":
        order = repeated(repeat_factors(own, stream.repeat_threshold), rng)
    elif stream.sampler == "class_aware":
        length = len(mine)
        if stream.per_category is not None:
            length = stream.per_category * len(np.unique(own.category))
        order, category = class_aware(own, length, rng)
    elif stream.sampler == "full_class":
        order, category, window = full_class(own, len(mine), stream.images, rng)
    else:
        order = shuffled(len(mine), rng)
    drawn = np.zeros(len(order), np.int64) if category is None else category + 1
    drawn[drawn > len(data.category_ids)] = 0  # of a category that is background here
    order = mine[order]
    if stream.subsets:
        parts = (np.arange(*_part(data, subset.source)) for subset in stream.subsets)
        more = [rng.permutation(part)[: one.images] for part, one in zip(parts, stream.subsets, strict=True)]
        place = rng.permutation(len(order) + sum(map(len, more)))
        order = np.concatenate([order, *more])[place]
        drawn = np.concatenate([drawn, np.zeros(len(order) - len(drawn), np.int64)])[place]
    if stream.images > 1 and len(order):
        wide = (data.sizes[:, 1] >= data.sizes[:, 0])[order]
        starts = range(0, len(order), window or len(order))
        pieces = [np.arange(start, min(start + starts.step, len(order))) for start in starts]
        place = np.concatenate([grouped(piece, wide[piece], stream.images) for piece in pieces])
        order, drawn = order[place], drawn[place]
    return list(zip(order.tolist(), drawn.tolist(), strict=True))


def _images(data: Data, stream: Stream) -> np.ndarray:
    """Return the images that a stream's sampler takes, int64: those of its source without those of its subsets."""
    taken = np.ones(len(data), bool)
    if stream.source is not None:
        taken[:] = False
        taken[slice(*_part(data, stream.source))] = True
    for subset in stream.subsets:
        taken[slice(*_part(data, subset.source))] = False
    return np.flatnonzero(taken)


def _rows(labels: Labels, images: np.ndarray) -> Labels:
    """Return the categories of some images, in their order."""
    count = np.diff(labels.start)[images]
    start = np.concatenate(([0], np.cumsum(count))).astype(np.int64)
    row = np.repeat(labels.start[images] - start[:-1], count) + np.arange(start[-1])
    return Labels(start, labels.category[row])


def _part(data: Data, source: str) -> tuple[int, int]:
    """Return the first image of a source, and the one after its last."""
    first, names = 0, []
    for part in data.parts:
        if part.name == source:
            return first, first + len(part)
        first += len(part)
        names.append(part.name)
    remedy = f"There are {', '.join(names)}; name them by name= of --data"
    raise InputError("data.streams", f"no data set is named {source!r}", remedy)


def shuffled(images: int, rng: np.random.Generator) -> np.ndarray:
    """Return every image once."""
    return rng.permutation(images)


def repeat_factors(image_categories: Labels, threshold: float) -> np.ndarray:
    """Return how often each image is to come in an epoch, float64 [images] (lvistraveler-lvis2020; LVIS paper).

    A category in a share f of the images has the factor max(1, sqrt(threshold / f)), an image the largest of its
    categories', 1 without objects.
    """
    start, category = image_categories
    images = len(start) - 1
    share = np.bincount(category, minlength=1) / max(images, 1)
    factor = np.maximum(1.0, np.sqrt(threshold / np.maximum(share, 1e-300)))
    result = np.ones(images)
    np.maximum.at(result, np.repeat(np.arange(images), np.diff(start)), factor[category])
    return result


def repeated(factors: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return images as often as their factors say, the fraction by chance, in random order."""
    whole = np.floor(factors)
    count = whole + (rng.random(len(factors)) < factors - whole)
    return rng.permutation(np.repeat(np.arange(len(factors)), count.astype(np.int64)))


def class_aware(image_categories: Labels, length: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return images category by category (mmfruit-openimages2019, sec. 5.1): all categories equally often.

    Round by round, the categories that have an object come in random order, each with a random image of its own.

    Args:
        image_categories: Categories of each image.
        length: Number of images to return.
        rng: Random numbers.

    Returns:
        int64 [length] of images, and of the categories that they were drawn for.

    Raises:
        InputError: If no image has an object.
    """
    present = _present(image_categories)
    drawn = _rounds(present, length, rng)
    return _images_with(image_categories, drawn, rng), drawn


def full_class(
    image_categories: Labels, length: int, batch: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, int]:
    """Return images so that every batch has one of each category (mmfruit-openimages2019, sec. 5.3).

    Batches smaller than the number of categories are taken together, as few as have room for one of each (ours); room
    that is left goes to the categories in turn.

    Args:
        image_categories: Categories of each image.
        length: The least number of images to return; all windows are whole.
        batch: Images of a step, over all processes.
        rng: Random numbers.

    Returns:
        int64 [n] of images, and of the categories that they were drawn for, and the length of a window: every so many
        of them, from the first on, have one of each category.

    Raises:
        InputError: If no image has an object.
    """
    present = _present(image_categories)
    window = batch * -(-len(present) // batch)
    windows = max(1, -(-length // window))
    rounds, rest = divmod(window, len(present))
    more = _rounds(present, windows * rest, rng).reshape(windows, rest)
    drawn = rng.permuted(np.concatenate([np.tile(present, (windows, rounds)), more], axis=1), axis=1).ravel()
    return _images_with(image_categories, drawn, rng), drawn, window


def _present(image_categories: Labels) -> np.ndarray:
    """Return the categories that have an object, int64, ascending."""
    present = np.flatnonzero(np.bincount(image_categories.category))
    if len(present) == 0:
        raise InputError("training data", "no image has an object to sample by its category", "Use sampler=shuffle")
    return present


def _rounds(categories: np.ndarray, length: int, rng: np.random.Generator) -> np.ndarray:
    """Return so many categories, round by round, each round in random order."""
    rounds = -(-length // len(categories))
    return rng.permuted(np.tile(categories, (rounds, 1)), axis=1).ravel()[:length]


def _images_with(image_categories: Labels, drawn: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return a random image with each of the categories drawn."""
    start, category = image_categories
    image = np.repeat(np.arange(len(start) - 1), np.diff(start))
    image = image[np.argsort(category, kind="stable")]
    count = np.bincount(category)
    first = np.cumsum(count) - count
    return np.asarray(image[first[drawn] + (rng.random(len(drawn)) * count[drawn]).astype(np.int64)])


def grouped(order: np.ndarray, group: np.ndarray, batch: int) -> np.ndarray:
    """Return the order with batches of one group: a batch comes when its last image would.

    Args:
        order: int64 [n].
        group: bool [n], the group of each entry of `order`.
        batch: Images of a batch; what is left of each group in the end comes last.
    """
    place = np.arange(len(order))
    due = np.full(len(order), len(order))
    for value in (False, True):
        mine = place[group == value]
        full = len(mine) // batch * batch
        due[mine[:full]] = np.repeat(mine[batch - 1 : full : batch], batch)
    return order[np.argsort(due, kind="stable")]


def _generator(seed: int, epoch: int, name: str) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence((seed, epoch, zlib.crc32(name.encode())))))
