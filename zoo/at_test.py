"""Settings of test beside those of training: what is set for this prediction, and what a user should know of it."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from fusion.belonging import same_word
from fusion.coco_results.category_join import CategoryJoin
from fusion.coco_results.raw import RecordKey
from fusion.coco_results.reading import Reading
from fusion.coco_results.vocabulary import OwnLists, Vocabulary, examples
from fusion.errors import InputError, option
from zoo.config import AnyModel, Model, read_model, replace, with_field
from zoo.data import Data, View
from zoo.data.transforms import fitting_size
from zoo.members.joined import Joining
from zoo.runs import Identity

__all__ = ["limit_notes", "set_at_test", "size_notes", "with_categories_of", "with_mapped_categories"]

_APART = 1 / 3
_LVIS_DETECTIONS, _LVIS_SCORE = 300, 1e-3


def set_at_test(identity: Identity, settings: Mapping[str, Any]) -> Identity:
    """Return a trained model with other settings of test.

    Args:
        identity: Of the training.
        settings: Values by field, such as {"infer.detections": 300}; text is read as at the command line.

    Raises:
        InputError: If a field is not one of `infer`, or the value does not fit.
    """
    if not settings:
        return identity
    config = read_model(identity.model)
    for name, value in settings.items():
        if not name.startswith("infer."):
            raise InputError(
                f"config field {name}", "belongs to a model that is trained already", "Only fields of infer can be set"
            )
        config = with_field(config, name, value)
    return msgspec.structs.replace(identity, model=config.to_dict())


def with_categories_of(identity: Identity, data: Data, where: object) -> tuple[Identity, tuple[str, ...]]:
    """Return a trained model whose labels stand for the categories of a data set, and notes.

    Categories are the same where ids and names are; where all names are there under other ids, names decide. The data
    may have more: an expert finds those that it knows.

    Args:
        identity: Of the training.
        data: What it is shown.
        where: The training, for messages.

    Raises:
        InputError: If they are other categories.
    """
    ids, names = [int(i) for i in data.category_ids], list(data.category_names)
    own_ids, own_names = list(identity.category_ids), list(identity.category_names)
    named = {name: i for i, name in zip(ids, names, strict=True)}
    changed = [
        (i, name, mine)
        for i, name, mine in zip(ids, names, own_names, strict=False)
        if name and mine and not same_word(name, mine)
    ]
    if ids == own_ids and not changed:
        return identity, ()
    few = f"{where} knows {len(own_ids)} of the {len(ids)} categories of {data.name}"
    name_of = dict(zip(ids, names, strict=True))
    if set(own_ids) < set(ids) and all(
        not name_of[i] or not mine or same_word(name_of[i], mine) for i, mine in zip(own_ids, own_names, strict=True)
    ):
        return identity, (few,)
    if len(named) == len(names) and len(set(own_names)) == len(own_names) and set(own_names) <= set(named):
        moved = tuple(named[name] for name in own_names)
        less = (few,) if len(own_names) < len(names) else ()
        first = next(name for name, old, new in zip(own_names, own_ids, moved, strict=True) if old != new)
        said = (
            f"{data.name} has the categories of the training under other ids ({first} is {named[first]}, it was "
            f"{own_ids[own_names.index(first)]}): they are taken by their names"
        )
        return msgspec.structs.replace(identity, category_ids=moved), (*less, said)
    if ids == own_ids:
        number, name, mine = changed[0]
        problem = f"has other categories than {where} was trained on: category {number} is {name!r}, it was {mine!r}"
    else:
        problem = f"has {len(ids)} categories with other ids than the {len(own_ids)} of {where}"
    raise InputError(data.name, problem, "Predict on a data set with the categories of the training")


def with_mapped_categories(
    identity: Identity, data: Data, joining: Joining, where: object
) -> tuple[Identity, tuple[int, ...], tuple[str, ...]]:
    """Return a trained model whose labels stand for categories of a data set that has others, by names or a map.

    Args:
        identity: Of the training.
        data: What it is shown.
        joining: Which category is which, and whether what is not there is dropped.
        where: The training, for messages.

    Returns:
        The model with the categories that are kept; the labels that it knows them by, 1..K; and notes.

    Raises:
        InputError: If a category is not there, unless such are dropped; or none is.
    """
    names = tuple(data.category_names)
    ids = data.category_ids.astype(np.int32)
    vocabulary = Vocabulary(np.zeros(0, np.int64), ids, names, where=data.name)
    by = Reading(categories="name") if joining.label_map is None else Reading(label_map=joining.label_map)
    join = CategoryJoin(str(where), vocabulary, by, True, OwnLists({}, {}, {}))
    keys = [RecordKey(*one) for one in zip(identity.category_ids, identity.category_names, strict=True)]
    numbers, errors = join.numbers(keys, np.zeros(len(keys), np.int64))
    for error in errors:
        raise error
    kept = tuple(label for label, number in enumerate(numbers, 1) if number is not None)
    unknown = [str(key.name) for key, number in zip(keys, numbers, strict=True) if number is None]
    if not kept or (unknown and not joining.drop):
        target = data.name if joining.label_map is None else "the label map"
        raise InputError(
            str(where),
            f"{len(unknown)} of its {len(keys)} categories are not in {target}: {examples(unknown)}",
            f"Say which is which with {option('label_map')}, or drop what it finds of others with "
            f"{option('unknown_categories', 'drop')}",
        )
    dropped = (f"dropped: what it finds of {len(unknown)} categories: {examples(unknown)}",) if unknown else ()
    mapped = msgspec.structs.replace(
        identity,
        category_ids=tuple(int(number) for number in numbers if number is not None),
        category_names=tuple(identity.category_names[label - 1] for label in kept),
    )
    return mapped, kept, (*join.notes, *dropped)


def size_notes(config: AnyModel, views: Sequence[View], sizes: np.ndarray) -> list[str]:
    """Say which views show images at a size that differs by more than a third from all that training has shown.

    Sizes are compared as the square root of the area, the median over the images, so that limits of the longest side
    count as well.

    Args:
        config: Of the model.
        views: What is looked at.
        sizes: int [n, 2], heights and widths of the images.
    """
    low, high = config.data.jitter or (1.0, 1.0)
    seen = [_side(sizes, short, config.data.long) for short in (min(config.data.short), max(config.data.short))]
    smallest, largest = seen[0] * min(low, 1.0), seen[1] * max(high, 1.0)
    trained = "-".join(str(short) for short in dict.fromkeys((min(config.data.short), max(config.data.short))))
    usual = "x".join(map(str, replace(config.infer, short=None, long=None).sizes(config.data)[0]))
    lines = []
    for view in {view.short: view for view in views}.values():
        if view.short is None or view.long is None:
            continue
        side = _side(sizes, view.short, view.long)
        nearest = min(max(side, smallest), largest)
        if abs(side / nearest - 1) > _APART:
            lines.append(
                f"view {view.short}: images are seen {abs(100 * (side / nearest - 1)):.0f} % "
                f"{'smaller' if side < nearest else 'larger'} than in training (short side {trained} up to "
                f"{config.data.long}), and so are their objects; {option('views', usual)} shows them as training did"
            )
    return lines


def _side(sizes: np.ndarray, short: int, long: int) -> float:
    """Return the median over images of the square root of their area after resizing."""
    distinct, count = np.unique(np.asarray(sizes), axis=0, return_counts=True)
    fitted = [fitting_size((int(h), int(w)), short, long) for h, w in distinct]
    sides = np.sqrt([float(height * width) for height, width in fitted])
    return float(np.median(np.repeat(sides, count)))


def limit_notes(config: AnyModel, data: Data) -> list[str]:
    """Say where the settings of test cannot give all that a data set asks for.

    Args:
        config: Of the model.
        data: Its annotations, of training or of test, are looked at.
    """
    if not isinstance(config, Model):
        return []
    lines = []
    limit, field = min(
        (config.infer.detections, "infer.detections"), (config.rpn.after_nms[1], "the second of rpn.after_nms")
    )
    counts = [
        np.bincount(truth.image[~truth.crowd], minlength=len(truth.image_id))
        for truth in (part.truth for part in data.parts)
    ]
    objects = np.concatenate(counts)
    if (crowded := int((objects > limit).sum())) > 0:
        lines.append(
            f"{crowded:,} of {len(objects):,} images have more objects (up to {objects.max():,}) than the {limit} that "
            f"are found in an image at most: raise {field}"
        )
    infer = config.infer
    lvis = any(part.truth.frequency is not None and part.truth.negative is not None for part in data.parts)
    if lvis and (infer.detections < _LVIS_DETECTIONS or infer.score > _LVIS_SCORE):
        lines.append(
            f"LVIS measures up to {_LVIS_DETECTIONS} detections of an image, also of low scores; infer.detections="
            f"{infer.detections} and infer.score={infer.score:g} leave out what counts there (300 and 1e-4 do not)"
        )
    return lines
