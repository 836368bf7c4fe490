"""Strong changes of pixels: colours, blur and a rectangle cut out; annotations stay."""

from dataclasses import dataclass

import numpy as np
from torch import Tensor
from torchvision.transforms.v2 import functional as F  # noqa: N812 (its usual name)

from zoo.config import Strong
from zoo.data.record import Target
from zoo.data.transforms import VisitDraws

__all__ = ["Strongly", "recoloured"]

_GREY = 128
_RATIO = 3.0


@dataclass(frozen=True)
class Strongly:
    """Change colours, blur, cut out; each by its chance, of pictures of the sources named, before they are joined.

    Attributes:
        settings: Chances, strengths and sources.
    """

    settings: Strong

    def __call__(self, image: Tensor, target: Target, draws: VisitDraws) -> tuple[Tensor, Target]:
        """Return the changed image and the target."""
        own = self.settings
        if own.sources and target.source not in own.sources:
            return image, target
        rng = draws.of("strong")
        colour, blur, cut = rng.random(3) < (own.colour, own.blur, own.cutout)
        if colour:
            image = recoloured(image, own.strength, rng)
        if blur:
            sigma = float(rng.uniform(*own.sigma))
            around = min(int(np.ceil(3 * sigma)), min(image.shape[-2:]) - 1)
            image = F.gaussian_blur(image, [2 * around + 1] * 2, [sigma] * 2)
        if cut:
            image = _cut(image, own.area, rng)
        return image, target


def recoloured(image: Tensor, strength: float, rng: np.random.Generator) -> Tensor:
    """Return uint8 [3, h, w], brightness, contrast and saturation changed by up to a share, the hue by a quarter."""
    brightness, contrast, saturation = rng.uniform(1 - strength, 1 + strength, 3).tolist()
    image = F.adjust_contrast(F.adjust_brightness(image, brightness), contrast)
    changed: Tensor = F.adjust_hue(F.adjust_saturation(image, saturation), float(rng.uniform(-strength, strength)) / 4)
    return changed


def _cut(image: Tensor, area: tuple[float, float], rng: np.random.Generator) -> Tensor:
    height, width = image.shape[-2:]
    size, ratio = rng.uniform(*area) * height * width, np.exp(rng.uniform(-1, 1) * np.log(_RATIO))
    h, w = (
        min(max(1, round(float(side))), most)
        for side, most in zip((np.sqrt(size * ratio), np.sqrt(size / ratio)), (height, width), strict=True)
    )
    top, left = int(rng.integers(height - h + 1)), int(rng.integers(width - w + 1))
    image = image.clone()
    image[:, top : top + h, left : left + w] = _GREY
    return image
