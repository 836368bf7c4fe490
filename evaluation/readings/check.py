"""Whether a results file means what it seems to mean, and what else it may mean: the other readings, tried on objects.

The rule: another reading is taken for what was meant if, on confident boxes that it was not chosen by, it agrees far
better than the plain one: twice as many boxes have an IoU of 0.5 (or of 0.75) with an object, and at least 15 in 100
more, and at least 30 in 100, and more than chance explains. A bad detector agrees badly under every reading, and
passes; a detector whose boxes are too tight or too loose gains a few boxes in 100 by a picture of another size.
"""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from evaluation.ground_truth import GroundTruth
from evaluation.readings.agreement import IOU, Agreement, chance
from evaluation.readings.candidates import LOW, best_reading
from evaluation.readings.categories import better_categories
from evaluation.readings.sample import Sample
from evaluation.readings.tables import FEW, RIGHT
from fusion.box_formats import AS_IT_IS, BOX_FORMATS
from fusion.coco_results import RawResults, Reading
from fusion.errors import InputError, option

__all__ = ["OtherReadingError", "check_reading", "far_better"]

_TIGHT = 0.75
_GAIN, _POINTS, _LEAST, _CHANCE = 2.0, 0.15, 0.3, 1e-6
_SAME, _NEARER = 0.01, 1e-4  # difference of IoU, and chance that so many lie nearer to objects of another image
_FIRST, _FEWEST = 400, 100  # boxes that a reading is chosen by; the fewer, the more objects an image has
_PAIRS = 20_000
_LEAST_SIDE = 10  # pixels of objects or images that boxes between 0 and 1 cannot be of
_WORDS = {
    "xyxy": "corners",
    "cxcywh": "centres and sizes",
    "yxhw": "y before x",
    "yxyx": "corners, y before x",
}


class OtherReadingError(InputError):
    """Boxes, images or categories of a file agree with the ground truth only if they mean something else."""


def check_reading(raw: RawResults, truth: GroundTruth, reading: Reading) -> list[str]:
    """Compare a sample of confident boxes with the objects of the ground truth.

    What the reading says explicitly is taken as it is; the rest is tried otherwise where agreement is low.

    Args:
        raw: The results file.
        truth: The ground truth, in pixels.
        reading: How it is to be read.

    Returns:
        Notes: that agreement is low, although nothing else agrees better.

    Raises:
        OtherReadingError: If another reading agrees far better; its options are named.
    """
    reading = replace(reading, native=raw.native)
    sample = Sample.of(raw, truth)
    if sample is None:
        return []
    if truth.crowd.all():
        return _without_objects(sample, reading)
    before = sample.agreement(reading)
    annotated = sample.annotated(reading)
    low = _share(before.best >= _TIGHT, annotated) < LOW  # as are those that meet less
    first = min(_FIRST, max(_FEWEST, _PAIRS * len(truth.image_id) // len(truth)))
    best = best_reading(sample.part(slice(0, first)), reading) if low else reading
    found = _confirmed(sample, reading, best, first)
    agreement = before if found == reading else sample.agreement(found)
    found, agreement = _nearer(sample, found, agreement)
    if not reading.says_categories and agreement.meets.mean() >= _LEAST:
        categories = sample.categories(found)
        found = better_categories(raw, truth.vocabulary, found, sample.key, categories, agreement)
    if found != reading:
        raise _other(raw, sample, reading, found, before, sample.agreement(found))
    if _share(before.meets, annotated) < LOW / 2:
        if np.median(truth.xywh[:, 2:]) >= _LEAST_SIDE:
            _refuse_shares(sample, reading)
        inside = f", {_percent(sample.inside(reading))} lie inside their image," if truth.height.any() else ""
        return [
            f"only {_percent(before.meets)} of {_counted(sample, raw)} meet an object of any category (IoU 0.5)"
            f"{inside} and {_unproven(sample, before, best)}: a poor detector, or another data set"
        ]
    met, right = (int((which & annotated).sum()) for which in (before.meets, before.right))
    if met >= FEW and right < RIGHT * met:
        return [
            f"of {met:,} confident boxes that meet an object only {right:,} are of its category, and no other numbering"
            f" agrees far better: a poor classifier, or category ids that mean something else; {option('label_map')}"
            " says which"
        ]
    return _of_two_kinds(sample, reading, before)


def _of_two_kinds(sample: Sample, plain: Reading, before: Agreement) -> list[str]:
    """Say so if many of the boxes that meet nothing would in another format, which no option can set right."""
    rest = sample.part(np.flatnonzero(~before.meets)[:_FIRST])
    if sample.settled(plain) or len(rest) < FEW or not before.meets.any():
        return []
    shares = {
        name: rest.agreement(replace(plain, box_format=name)).meets for name in BOX_FORMATS if name != plain.native
    }
    name = max(shares, key=lambda one: float(shares[one].mean()))
    if not far_better(shares[name], np.zeros(len(rest), np.bool_)):
        return []
    return [
        f"of {len(rest):,} confident boxes that meet no object {_percent(shares[name])} would with"
        f" {option('box_format', name)}: the file seems to be of two kinds of boxes; write them all in one way"
    ]


def _without_objects(sample: Sample, reading: Reading) -> list[str]:
    """Say what can be said of boxes where there are no objects: that they can hardly be pixels of their image."""
    if sample.settled(reading):
        return []
    if np.median(sample.size(sample.place(reading))) >= _LEAST_SIDE:
        _refuse_shares(sample, reading)
    inside = sample.inside(reading)
    if inside.mean() >= LOW:
        return []
    return [
        f"only {_percent(inside)} of {_counted(sample, sample.raw)} lie inside their image, and there are no objects to"
        f" compare them with: see {option('box_format')} and {option('picture')}"
    ]


def _unproven(sample: Sample, before: Agreement, best: Reading) -> str:
    """Say of other readings that none agrees far better, or that the best one does, of too few boxes to be sure."""
    share = float(sample.agreement(best).meets.mean())
    if share < max(_LEAST, _GAIN * float(before.meets.mean())):
        return "no other reading of boxes and images agrees far better"
    return f"{100 * share:.0f} % would with {best.options()}, which so few boxes do not prove"


def _refuse_shares(sample: Sample, reading: Reading) -> None:
    """Refuse boxes that cannot be pixels since all lie between 0 and 1."""
    shares = reading.native.endswith("_normalized")
    if not shares and not sample.settled(reading) and np.percentile(np.abs(sample.box), 99) <= 1.5:
        choices = ", ".join(option("box_format", name) for name in BOX_FORMATS if name.endswith("_normalized"))
        raise OtherReadingError(
            sample.raw.where,
            "its boxes lie between 0 and 1, where pixels are expected",
            f"They are shares of the picture's sides: {choices}; or {option('as_is', True)} if they are meant so",
        )


def far_better(after: np.ndarray, before: np.ndarray) -> bool:
    """Tell whether boxes agree far better under one reading than under another.

    Args:
        after: bool [n], which agree under the one.
        before: bool [n], which under the other.
    """
    n, share, other = len(after), after.mean(), before.mean()
    if share < _GAIN * other or share - other < _POINTS or share < _LEAST:
        return False
    return chance(n, int(after.sum()), max(other, 0.1)) < _CHANCE


def _share(which: np.ndarray, among: np.ndarray) -> float:
    return float(which[among].mean())


def _confirmed(sample: Sample, plain: Reading, other: Reading, first: int) -> Reading:
    """Return the other reading if it is far better on boxes that it was not chosen by: those after the first ones."""
    rest = sample.part(slice(first, None)) if len(sample) >= 2 * first else sample
    if other == plain:
        return plain
    after, before = rest.agreement(other).best, rest.agreement(plain).best
    return other if any(far_better(after >= iou, before >= iou) for iou in (IOU, _TIGHT)) else plain


def _nearer(sample: Sample, plain: Reading, before: Agreement) -> tuple[Reading, Agreement]:
    """Return the reading of the images before or after if boxes lie nearer to objects there, as in frames of a video.

    Objects of one frame meet those of the next, so hardly more boxes meet one. But of boxes that are read rightly
    hardly any lies nearer to an object of another image.
    """
    if plain.says_images or not all(isinstance(key.id, int) and key.name is None for key in sample.raw.columns.images):
        return plain, before
    for shift in (-1, 1):
        other = replace(plain, image_offset=shift)
        after = sample.agreement(other)
        gain = (after.best - before.best)[after.meets | before.meets]
        more, less = int((gain > _SAME).sum()), int((gain < -_SAME).sum())
        if more > 1.5 * less and chance(more + less, more, 0.5) < _NEARER:
            return other, after
    return plain, before


def _other(
    raw: RawResults, sample: Sample, plain: Reading, found: Reading, before: Agreement, after: Agreement
) -> InputError:
    boxes = (found.box_format, found.picture, found.images, found.image_offset)
    moved = boxes != (plain.box_format, plain.picture, plain.images, plain.image_offset)
    how = " and ".join(_described(plain, found))
    if moved:
        iou = IOU if far_better(after.meets, before.meets) else _TIGHT
        as_it_stands, otherwise = (_percent(agreement.best >= iou) for agreement in (before, after))
        how_well = "" if iou == IOU else f" with an IoU of {iou}"
        problem = f"{as_it_stands} meet an object{how_well} as they stand, {otherwise} {how}"
    else:
        problem = (
            f"{_percent(after.meets)} meet an object, but {_percent(before.right)} one of their category as they stand"
            f" and {_percent(after.right)} {how}"
        )
    said = found.options()
    if found.label_map is not None:
        untold = [key for key in raw.columns.categories if not {key.id, str(key.id), key.name} & {*found.label_map}]
        if untold:
            said += f" {option('unknown_categories', 'drop')}"
            problem += f"; of {len(untold)} rare categories it cannot be told which they are"
    return OtherReadingError(
        raw.where,
        f"of {_counted(sample, raw)} {problem}",
        f"Read it with {said}; or as it stands with {option('as_is', True)}",
    )


def _described(plain: Reading, found: Reading) -> Iterator[str]:
    if found.box_format != plain.box_format and found.box_format is not None:
        name = found.box_format.removesuffix("_normalized")
        words = _WORDS.get(name, "")
        shares = "shares of the picture's sides" if found.box_format != name else ""
        yield f"when read as {', '.join(filter(None, (words, shares)))}"
    if found.picture not in (plain.picture, None, AS_IT_IS):
        yield f"when read as boxes of other pictures ({found.picture})"
    if found.images != plain.images or found.image_offset != plain.image_offset:
        shift = f" counted from {-found.image_offset}" if found.images else f" with {found.image_offset:+d}"
        what = {
            None: "image ids",
            "file_name": "file names",
            "order": "images",
            "id_order": "images by id",
            "name_order": "images by name",
        }
        yield f"with {what[found.images]}{'' if found.images == 'file_name' else shift}"
    if found.categories != plain.categories or found.label_map or found.category_offset:
        yield "when their categories are renumbered"


def _counted(sample: Sample, raw: RawResults) -> str:
    count = len(raw.columns.score)
    return f"{count:,} boxes" if count == len(sample) else f"{len(sample):,} confident boxes (of {count:,})"


def _percent(which: np.ndarray) -> str:
    share = 100 * float(which.mean())
    return f"{share:.1f} %" if 0 < share < 10 else f"{share:.0f} %"
