"""What to simulate: the data set's scenario and the members' skills; `simulated.py` says what they mean."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from fusion.checks import at_least, within
from fusion.errors import InputError, option

__all__ = ["Scenario", "Skill", "demo_members"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """The data set to simulate.

    Attributes:
        images: Number of images; ids are 1 to `images`.
        categories: Number of categories; ids are 1 to `categories`, the most common first.
        objects: Mean number of objects per image.
        zipf: Exponent of the categories' long tail; 0 makes all equally common.
        distractors: Mean number of places per image that fool several members.
        crowd: Share of the objects that are crowd annotations.
        width: Width of all images in pixels.
        height: Height of all images in pixels.
        masks: Make masks for annotations and detections.

    Raises:
        InputError: If a value is out of its range.
    """

    images: int = 500
    categories: int = 20
    objects: float = 6.0
    zipf: float = 1.0
    distractors: float = 15.0
    crowd: float = 0.01
    width: int = 640
    height: int = 480
    masks: bool = False

    def __post_init__(self) -> None:
        at_least("images", self.images, 0, whole=True)
        at_least("categories", self.categories, 1, whole=True)
        within("objects", self.objects, 0, 1000)
        within("zipf", self.zipf, 0, 10)
        within("distractors", self.distractors, 0, 1000)
        within("crowd", self.crowd, 0, 1)
        at_least("width", self.width, 16, whole=True)
        at_least("height", self.height, 16, whole=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Skill:
    """What one simulated member can do; the module's text says what each number means.

    Attributes:
        name: Name of the member, and of its file.
        recall: Share of the objects it finds.
        separation: Distance of right and wrong boxes in evidence, in standard deviations.
        localisation: Standard deviation of a box's center and log side, relative to the side.
        clutter: Mean number of boxes per image that belong to no object.
        duplicates: Mean number of further boxes per found object.
        confusion: Share of its objects' boxes that carry a wrong category.
        correlation: 0 for errors of its own, 1 for errors shared with all other members of 1.
        mask_noise: Standard deviation of the outlines' coefficients, relative to the radius.
        temperature: Divides the log odds: below 1 over-confident, above 1 under-confident.
        shift: Added to the log odds after that.
        low: Score of a hopeless box.
        high: Score of a certain box.
        category_skill: Per category id, by how much (in standard deviations) it is better or worse there.
        best_side: Side in pixels of the objects that it sees best, as a view of an image at one scale does; 0 for
            a member to which sizes are equal.
        size_slope: By how much (in standard deviations) it is worse per doubling of the side away from there.

    Raises:
        InputError: If a value is out of its range.
    """

    name: str
    recall: float = 0.8
    separation: float = 2.5
    localisation: float = 0.07
    clutter: float = 8.0
    duplicates: float = 0.2
    confusion: float = 0.03
    correlation: float = 0.85
    mask_noise: float = 0.04
    temperature: float = 1.0
    shift: float = 0.0
    low: float = 0.0
    high: float = 1.0
    category_skill: Mapping[int, float] = field(default_factory=dict)
    best_side: float = 0.0
    size_slope: float = 0.5

    def __post_init__(self) -> None:
        if not self.name or Path(self.name).name != self.name:
            raise InputError(f"option {option('name')}", f"expected a plain file name, got {self.name!r}")
        within("recall", self.recall, 0.001, 0.999)
        within("separation", self.separation, 0.1, 100)
        within("localisation", self.localisation, 0, 1)
        within("clutter", self.clutter, 0, 1000)
        within("duplicates", self.duplicates, 0, 100)
        within("confusion", self.confusion, 0, 1)
        within("correlation", self.correlation, 0, 1)
        within("mask_noise", self.mask_noise, 0, 0.3)
        within("temperature", self.temperature, 0.05, 100)
        within("shift", self.shift, -100, 100)
        within("low", self.low, -1e6, 1e6)
        within("high", self.high, -1e6, 1e6)
        within("best_side", self.best_side, 0, 1e6)
        within("size_slope", self.size_slope, 0, 10)
        if self.low >= self.high:
            raise InputError(
                f"option {option('high')}", f"expected a number above low ({self.low:g}), got {self.high:g}"
            )
        for category, shift in self.category_skill.items():
            within(f"category_skill[{category}]", shift, -4, 4)


def demo_members(categories: int = 20) -> tuple[Skill, ...]:
    """Return six members with different strengths and differently distorted scores.

    On `Scenario()` their AP lies between .33 and .49. Their errors are partly independent, so that
    fusing adds 5 to 7 points of AP, but only once their scores are comparable: pooled as they come,
    they fall behind the best member by far.

    Args:
        categories: Number of categories of the scenario; one member is best on the first quarter,
            another on the last half.

    Returns:
        The members; the last one's scores run up to 495.7.
    """
    first = range(1, categories // 4 + 1)
    last = range(categories - categories // 2 + 1, categories + 1)
    common = dict.fromkeys(first, 0.35) | dict.fromkeys(last, -0.35)
    rare = dict.fromkeys(first, -0.3) | dict.fromkeys(last, 0.45)
    return (
        Skill(name="all-rounder", recall=0.86, separation=2.6, localisation=0.062, clutter=9),
        Skill(name="generalist", recall=0.84, localisation=0.065, temperature=0.5, shift=2),
        Skill(
            name="common",
            recall=0.84,
            separation=2.4,
            localisation=0.065,
            temperature=2,
            shift=-1,
            category_skill=common,
        ),
        Skill(name="rare", recall=0.82, separation=2.3, localisation=0.07, shift=3, category_skill=rare),
        Skill(name="sharp", recall=0.7, separation=2.4, localisation=0.055, clutter=4, temperature=3, high=0.6),
        Skill(name="eager", recall=0.92, separation=2, localisation=0.09, clutter=14, duplicates=0.6, high=495.7),
    )
