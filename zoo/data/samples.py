"""Samples for a loader: images changed for training, or as views for a prediction."""

from torch.utils.data import Dataset

from zoo.config import Data as Settings
from zoo.data.dataset import Data
from zoo.data.record import Sample
from zoo.data.transforms import Distort, Draws, Flip, Jitter, Resize, Transform, settle
from zoo.data.views import View

__all__ = ["TrainSet", "ViewSet", "training_transforms"]


class TrainSet(Dataset[Sample]):
    """Training samples, indexed by (epoch, image) or (epoch, image, visit): all that their random draws depend on.

    Args:
        data: The data set.
        settings: What becomes of the images.
        seed: Of the training.
    """

    def __init__(self, data: Data, settings: Settings, seed: int) -> None:
        self.data, self.seed = data, seed
        self.transforms = training_transforms(settings)

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, key: tuple[int, int] | tuple[int, int, int]) -> Sample:
        epoch, index, visit = (*key, 0)[:3]
        image, target = self.data.load(index)
        draws = Draws(self.seed, epoch, index, visit)
        for transform in self.transforms:
            image, target = transform(image, target, draws)
        return settle(image, target)


class ViewSet(Dataset[Sample]):
    """Images as a detector looks at them at test, with their annotations, indexed by image.

    Args:
        data: The data set.
        short: Length of the short side.
        long: Longest side.
        flip: Mirror them left to right.
    """

    def __init__(self, data: Data, short: int, long: int, flip: bool = False) -> None:
        self.data, self.view = data, View(short, long, flip)

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> Sample:
        return settle(*self.view.apply(*self.data.load(index)))


def training_transforms(settings: Settings) -> tuple[Transform, ...]:
    """Return what the settings ask for: flip, colours, size, jitter of the size."""
    transforms: list[Transform] = []
    if settings.flip > 0:
        transforms.append(Flip(settings.flip))
    if settings.photometric:
        transforms.append(Distort())
    transforms.append(Resize(settings.short, settings.long, settings.short_range))
    if settings.jitter is not None:
        transforms.append(Jitter(*settings.jitter))
    return tuple(transforms)
