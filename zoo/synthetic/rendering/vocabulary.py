"""What there is in rendered pictures: categories in a tree, how common they are, and which of them go together."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from fusion.checks import at_least, within

__all__ = ["COLOURS", "FAMILIES", "MATERIALS", "MOST", "TEXTURES", "Kind", "PictureVocabulary"]

FAMILIES = {
    "round thing": ("disc", "ring", "lens"),
    "angular thing": ("square", "triangle", "hexagon", "frame"),
    "pointed thing": ("star", "cross"),
    "bent thing": ("crescent", "flower", "bar"),
}
"""Families of shapes, the first level of the tree."""

_SHAPES = (
    "disc",
    "square",
    "star",
    "crescent",
    "ring",
    "triangle",
    "cross",
    "flower",
    "lens",
    "frame",
    "bar",
    "hexagon",
)
COLOURS = {
    "red": 0.0,
    "orange": 0.075,
    "yellow": 0.15,
    "green": 0.33,
    "cyan": 0.5,
    "blue": 0.62,
    "violet": 0.76,
    "pink": 0.9,
}
"""Hue of each colour."""

TEXTURES = ("plain", "striped", "checked", "dotted")
MATERIALS = ("sand", "grass", "water", "stone")
"""What the ground is made of; in stuff maps numbered from 1, with 0 for things."""

MOST = len(_SHAPES) * len(COLOURS) * len(TEXTURES)


@dataclass(frozen=True, slots=True)
class Kind:
    """What a category looks like.

    Attributes:
        shape: One of the shapes in `FAMILIES`.
        colour: One of `COLOURS`.
        texture: One of `TEXTURES`.
    """

    shape: str
    colour: str
    texture: str

    @property
    def name(self) -> str:
        """Its name for people."""
        surface = self.colour if self.texture == "plain" else f"{self.texture} {self.colour}"
        return f"{surface} {self.shape}"

    @property
    def label(self) -> str:
        """Its name for machines, in the manner of Open Images."""
        return "/q/" + self.name.replace(" ", "_")


@dataclass(frozen=True, kw_only=True)
class PictureVocabulary:
    """The categories of rendered pictures; ids are 1 to `categories`, the most common first.

    Neighbours in frequency differ in shape; what differs only in colour and texture differs much in frequency, so that
    rare categories are easily taken for common ones.

    Attributes:
        categories: Number of categories.
        tail: Exponent of the long tail: category k is drawn with weight k ** -`tail`.
        rare: Share of the objects below which a category is rare in the sense of LVIS ("r").
        common: Share below which another one is common ("c"); the others are frequent ("f").
        drawn_tail: Exponent by which this set is drawn in its place, such as 0.5 for a validation set on which rare
            categories can be measured; groups go by `tail` all the same. None draws by `tail`.

    Raises:
        InputError: If a value is out of its range.
    """

    categories: int = 20
    tail: float = 1.0
    rare: float = 0.01
    common: float = 0.05
    drawn_tail: float | None = None

    def __post_init__(self) -> None:
        at_least("categories", self.categories, 1, whole=True)
        within("categories", self.categories, 1, MOST)
        within("tail", self.tail, 0, 5)
        within("drawn_tail", 0.0 if self.drawn_tail is None else self.drawn_tail, 0, 5)
        within("rare", self.rare, 0, 1)
        within("common", self.common, self.rare, 1)

    @cached_property
    def kinds(self) -> tuple[Kind, ...]:
        """The look of each category."""
        shapes = min(len(_SHAPES), max(3, math.ceil(self.categories / 3)))
        return tuple(_kind(k % shapes, k // shapes) for k in range(self.categories))

    @cached_property
    def lookalikes(self) -> tuple[Kind, ...]:
        """Looks that are no category, though their shapes are: only the surface tells."""
        used = set(self.kinds)
        shapes = {kind.shape for kind in self.kinds}
        surfaces = len(COLOURS) * len(TEXTURES)
        every = (_kind(s, n) for s in range(len(_SHAPES)) for n in range(surfaces))
        return tuple(kind for kind in every if kind.shape in shapes and kind not in used)

    @cached_property
    def share(self) -> np.ndarray:
        """float64 [categories], how often each is drawn."""
        return self._share(self.tail if self.drawn_tail is None else self.drawn_tail)

    @cached_property
    def frequency(self) -> tuple[str, ...]:
        """LVIS's groups, by `tail` alone, so that they are the same in every split."""
        shares = self._share(self.tail).tolist()
        return tuple("r" if share < self.rare else "c" if share < self.common else "f" for share in shares)

    def _share(self, tail: float) -> np.ndarray:
        weight = np.arange(1, self.categories + 1) ** -float(tail)
        return np.asarray(weight / weight.sum())

    @cached_property
    def companion(self) -> dict[int, int]:
        """Categories (by index) that seldom come alone, and what comes with them: 0 with 1, 4 with 5 ..."""
        return {k: k + 1 for k in range(0, self.categories - 1, 4)}

    @cached_property
    def content(self) -> dict[int, int]:
        """Categories (by index) that often hold another on top of them: 2 holds 3, 6 holds 7 ..."""
        return {k: k + 1 for k in range(2, self.categories - 1, 4)}

    @cached_property
    def parents(self) -> tuple[tuple[str, str], ...]:
        """Label and name of the shapes and families above the categories, families first."""
        shapes = {kind.shape for kind in self.kinds}
        families = [family for family, members in FAMILIES.items() if shapes & set(members)]
        return tuple(("/q/" + n.replace(" ", "_"), n) for n in (*families, *(s for s in _SHAPES if s in shapes)))

    def tree(self) -> dict[str, Any]:
        """Return the class tree in Open Images' form: families, shapes, categories."""

        def node(label: str, below: Sequence[dict[str, Any]] = ()) -> dict[str, Any]:
            return {"LabelName": label} | ({"Subcategory": list(below)} if below else {})

        families = []
        for family, shapes in FAMILIES.items():
            members = [
                node(f"/q/{shape}", [node(kind.label) for kind in self.kinds if kind.shape == shape])
                for shape in shapes
                if any(kind.shape == shape for kind in self.kinds)
            ]
            if members:
                families.append(node("/q/" + family.replace(" ", "_"), members))
        return node("/q/entity", families)


def _kind(shape: int, number: int) -> Kind:
    """Return the n-th look of a shape; neighbours in n differ in colour and in texture."""
    colours, textures = tuple(COLOURS), TEXTURES
    turn, step = divmod(number, len(colours))
    return Kind(
        _SHAPES[shape],
        colours[(3 * (number + shape)) % len(colours)],
        textures[(step + turn + shape) % len(textures)],
    )
