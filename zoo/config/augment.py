"""Settings of what training images go through besides their size, flip and colours."""

from dataclasses import dataclass
from typing import Literal

__all__ = ["Elaborate", "InstaBoost", "Rotation", "Strong"]


@dataclass(frozen=True, kw_only=True)
class Elaborate:
    """A turn and a crop for the sake of the category that a picture was drawn for (mmfruit-openimages2019, sec. 5.3).

    The picture is turned about one of the category's objects, by a normal distribution that is wider for categories of
    long objects. Then a part is cut that covers its box, in which the box's long side has a drawn share of the part's
    (the scale), as such shares of the picture are among the objects of the training data. Numbers, and that the turn is
    about the object, are ours.

    Attributes:
        degrees: Standard deviation of the angle for each 1 of a category's mean abs(log2(width / height)).
        least: The smallest standard deviation in degrees.
        most: The largest.
        memory_scale: The largest scale that memory allows; no limit at 1, since parts are resized like pictures.
    """

    degrees: float = 10.0
    least: float = 5.0
    most: float = 45.0
    memory_scale: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Rotation:
    """Rotation about the middle of the image, which keeps its size (lvistraveler-lvis2020, Table 1; angles are ours).

    Attributes:
        degrees: The largest angle, either way.
        chance: Probability.
        boxes: "masks" takes boxes from the rotated masks, where there are masks; "corners" from the rotated boxes'
            corners, which are wider ("make rotated bounding box align with rotated mask").
    """

    degrees: float = 10.0
    chance: float = 0.5
    boxes: Literal["masks", "corners"] = "masks"


@dataclass(frozen=True, kw_only=True)
class InstaBoost:
    """Objects cut out by their masks and pasted again close by, the hole filled from around it (InstaBoost).

    Objects whose masks touch move together; those close to the border stay. The edge is feathered in place of matting,
    and places are drawn without a heatmap (ours).

    Attributes:
        chance: Probability that an image is changed.
        scale: Range of the factor on the size.
        shift: Largest shift, as a share of width and height.
        degrees: Largest angle, either way.
        border: Pixels between an object that is moved and the border.
        radius: Pixels from which a hole is filled.
        colour: Probability that the colours of what is pasted are changed (what is changed is ours).
    """

    chance: float = 0.5
    scale: tuple[float, float] = (0.8, 1.2)
    shift: float = 1 / 15
    degrees: float = 1.0
    border: int = 10
    radius: int = 5
    colour: float = 0.5


@dataclass(frozen=True, kw_only=True)
class Strong:
    """Colour jitter, blur and cutout (alibaba-lvis2020, sec. 4.1); chances and strengths are ours.

    Attributes:
        sources: Names of the joined data sets that are changed, such as those of pseudo labels; empty for all.
        colour: Probability of changed colours.
        strength: Largest change of brightness, contrast and saturation, as a share; a quarter of it of the hue.
        blur: Probability of a Gaussian blur.
        sigma: Range of its width in pixels.
        cutout: Probability of a rectangle of grey.
        area: Range of the share of the image that the rectangle covers.
    """

    sources: tuple[str, ...] = ()
    colour: float = 0.8
    strength: float = 0.4
    blur: float = 0.5
    sigma: tuple[float, float] = (0.1, 2.0)
    cutout: float = 0.5
    area: tuple[float, float] = (0.02, 0.1)
