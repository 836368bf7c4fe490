"""Samples for a loader: images changed for training, or as views for a prediction."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor
from torch.utils.data import Dataset

from fusion.errors import InputError
from zoo.config import TrainData
from zoo.data.crops import CutOut
from zoo.data.dataset import Data
from zoo.data.elaborate import Elaborated, shapes_of
from zoo.data.instaboost import Boosted
from zoo.data.mixtures import Mixture, Mosaic
from zoo.data.order import repeat_factors
from zoo.data.record import Key, Sample, Target, collate
from zoo.data.rotation import Rotate
from zoo.data.strong import Strongly
from zoo.data.transforms import Distort, Flip, Jitter, Resize, Transform, VisitDraws, settle
from zoo.data.views import View

__all__ = ["Batch", "Broken", "Guarded", "TrainSet", "ViewSet", "gathered", "training_transforms"]

_IN_A_ROW = 100


class TrainSet(Dataset[Sample]):
    """Training samples, indexed by `Key`, or its first numbers.

    Args:
        data: The data set.
        settings: What becomes of the images.
        seed: Of the training.
    """

    def __init__(self, data: Data, settings: TrainData, seed: int) -> None:
        self.data, self.seed = data, seed
        self.mixtures = training_mixtures(settings, data)
        self.transforms = training_transforms(settings, data)
        self.strong = None if settings.strong is None else Strongly(settings.strong)
        known = [part.name for part in data.parts]
        for name in settings.strong.sources if settings.strong is not None else ():
            if name not in known:
                remedy = f"There are {', '.join(known)}; name= in --data names them"
                raise InputError("data.strong.sources", f"no data set is named {name!r}", remedy)

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, numbers: tuple[int, ...]) -> Sample:
        key = Key(*numbers)
        draws = VisitDraws(self.seed, key.epoch, key.image, key.visit, key.stream)
        image, target = self._picture(key.image, draws, 0)
        target = replace(target, drawn=key.category, stream=key.stream)
        for mixture in self.mixtures:
            if partners := mixture.partners(draws):
                others = [self._picture(partner, draws, place) for place, partner in enumerate(partners, 1)]
                image, target = mixture.join([(image, target), *others], draws)
        for transform in self.transforms:
            image, target = transform(image, target, draws)
        return settle(image, target)

    def _picture(self, index: int, draws: VisitDraws, place: int) -> tuple[Tensor, Target]:
        """Return a picture of a sample, changed by what its own data set asks for."""
        image, target = self.data.load(index)
        if self.strong is None:
            return image, target
        return self.strong(image, target, draws._replace(image=index, visit=4 * draws.visit + place))


class ViewSet(Dataset[Sample]):
    """Images as a detector looks at them at test, with their annotations, indexed by image.

    Args:
        data: The data set.
        short: Length of the short side; None leaves them as they are.
        long: Longest side; None with `short`.
        flip: Mirror them left to right.
    """

    def __init__(self, data: Data, short: int | None, long: int | None, flip: bool = False) -> None:
        self.data, self.view = data, View(short, long, flip)

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> Sample:
        return settle(*self.view.apply(*self.data.load(index)))


@dataclass(frozen=True)
class Broken:
    """A sample that cannot be read; an error itself would not come whole out of a process that loads samples.

    Attributes:
        where: As those of `InputError`.
        problem: As those of `InputError`.
        remedy: As those of `InputError`.
    """

    where: str
    problem: str
    remedy: str


class Batch(NamedTuple):
    """What a loader gives.

    Attributes:
        images: The images.
        targets: Their annotations.
        broken: Samples in place of which others came.
        failed: The sample that ends the work; the others are not of use then.
    """

    images: list[Tensor]
    targets: list[Target]
    broken: list[Broken]
    failed: Broken | None


class _Guarded(NamedTuple):
    sample: Sample | None
    broken: list[Broken]


class Guarded(Dataset[_Guarded]):
    """Samples for a loader with `gathered`: what cannot be read comes as a value.

    Args:
        samples: The samples, indexed by tuples.
        skip: The images of the data set; where it is given, keys are `Key`s, and an image that cannot be read gives way
            to the next that can.
    """

    def __init__(self, samples: Dataset[Sample], skip: int | None = None) -> None:
        self._samples, self._skip = samples, skip

    def __getitem__(self, key: tuple[Any, ...]) -> _Guarded:
        broken: list[Broken] = []
        while True:
            try:
                return _Guarded(self._samples[key], broken)
            except InputError as error:
                broken.append(Broken(error.where, error.problem, error.remedy))
            if self._skip is None or len(broken) == min(_IN_A_ROW, self._skip):
                return _Guarded(None, broken)
            old = Key(*key)  # another image was not drawn for the sake of a category
            key = old._replace(image=(old.image + 1) % self._skip, category=0)


def gathered(items: Sequence[_Guarded]) -> Batch:
    """Make a batch of guarded samples."""
    images, targets = collate([item.sample for item in items if item.sample is not None])
    failed = next((item.broken[0] for item in items if item.sample is None), None)
    return Batch(images, targets, [one for item in items for one in item.broken], failed)


def training_mixtures(settings: TrainData, data: Data) -> tuple[Mixture, ...]:
    """Return how the settings join pictures."""
    if settings.mosaic <= 0:
        return ()
    factors = np.ones(len(data))
    if settings.mosaic_kind != "shuffle":
        factors = repeat_factors(data.image_categories, settings.repeat_threshold)
    return (Mosaic(settings.mosaic, factors, settings.mosaic_kind == "balanced"),)


def training_transforms(settings: TrainData, data: Data) -> tuple[Transform, ...]:
    """Return what the settings ask for: turn and crop, moved objects, flip, colours, size, rotation, jitter."""
    transforms: list[Transform] = []
    if settings.crop is not None:
        turn = None if settings.elaborate is None else Elaborated(settings.elaborate, shapes_of(data))
        transforms.append(CutOut(settings.crop.pad, turn))
    if settings.instaboost is not None:
        transforms.append(Boosted(settings.instaboost))
    if settings.elaborate is not None and settings.crop is None:
        transforms.append(Elaborated(settings.elaborate, shapes_of(data)))
    if settings.flip > 0:
        transforms.append(Flip(settings.flip))
    if settings.photometric:
        transforms.append(Distort())
    square = settings.crop is not None and settings.crop.square
    transforms.append(Resize(settings.short, settings.long, settings.short_range, square))
    if settings.rotation is not None:
        transforms.append(Rotate(settings.rotation))
    if settings.jitter is not None:
        transforms.append(Jitter(*settings.jitter))
    return tuple(transforms)
