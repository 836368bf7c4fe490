"""Where things are in a rendered picture: objects, groups and clutter, and what of each can be seen."""

import math
import zlib
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from fusion.checks import at_least, within
from zoo.synthetic.rendering.shapes import SHAPES
from zoo.synthetic.rendering.vocabulary import Kind, PictureVocabulary

__all__ = ["Element", "PictureLayout", "Scenery", "lay_out", "stream"]

_CLUTTER = -1
_SEEN = 0.25  # share of an object's pixels below which it is left out
_PIXELS = 16  # the fewest pixels of an object


@dataclass(frozen=True, kw_only=True)
class Scenery:
    """What rendered pictures are like.

    Attributes:
        size: Long side of all pictures in pixels; the short side is the same or three quarters of it.
        vocabulary: The categories.
        objects: Mean number of objects per picture, before companions and contents.
        clutter: Mean number of things per picture that belong to no category.
        groups: Share of the pictures with a group: many small things of one category, annotated as one region.
        noise: Strength of shadows, colour casts, blur and pixel noise; 0 for clean pictures.

    Raises:
        InputError: If a value is out of its range.
    """

    size: int = 128
    vocabulary: PictureVocabulary = field(default_factory=PictureVocabulary)
    objects: float = 4.0
    clutter: float = 3.0
    groups: float = 0.06
    noise: float = 1.0

    def __post_init__(self) -> None:
        at_least("size", self.size, 32, whole=True)
        within("objects", self.objects, 0, 100)
        within("clutter", self.clutter, 0, 100)
        within("groups", self.groups, 0, 1)
        within("noise", self.noise, 0, 3)


class Element(NamedTuple):
    """One painted thing.

    Attributes:
        kind: What it looks like.
        x: Of its center, pixels.
        y: Of its center, pixels.
        a: Half its extent along its own first axis, pixels.
        b: Half its extent along its second axis, pixels.
        angle: Of the first axis, radians.
        owner: Index of its annotation; -1 for clutter.
    """

    kind: Kind
    x: float
    y: float
    a: float
    b: float
    angle: float
    owner: int


class PictureLayout(NamedTuple):
    """What is in a picture.

    Attributes:
        height: Pixels.
        width: Pixels.
        elements: What is painted, back to front.
        patches: Where each element is: (rows, columns, u, v, opacity), the coordinates its own.
        category: int64 [n], index of each annotation's category.
        group: bool [n], which are regions of several objects.
        owner: int16 [height, width], annotation that each pixel shows; -1 clutter, -2 the ground.
    """

    height: int
    width: int
    elements: list[Element]
    patches: list[tuple[slice, slice, np.ndarray, np.ndarray, np.ndarray]]
    category: np.ndarray
    group: np.ndarray
    owner: np.ndarray


def stream(seed: int, picture: int, name: str) -> np.random.Generator:
    """Return the random numbers of one purpose in one picture."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence((seed, picture, zlib.crc32(name.encode())))))


def lay_out(scenery: Scenery, seed: int, picture: int) -> PictureLayout:
    """Draw what is in a picture; it depends on nothing but the arguments."""
    rng = stream(seed, picture, "layout")
    long, short = scenery.size, round(scenery.size * (1 if rng.random() < 0.4 else 0.75))
    height, width = (long, short) if rng.random() < 0.4 else (short, long)
    elements, category, group = _draw(rng, scenery, height, width)
    patches = [_patch(element, height, width) for element in elements]
    owner = np.full((height, width), -2, np.int16)
    seen = np.zeros((height, width), bool)
    whole, shown = np.zeros(len(category), np.int64), np.zeros(len(category), np.int64)
    painted = np.zeros(len(elements), bool)
    for i in range(len(elements) - 1, -1, -1):  # front to back, so that what is left out hides nothing
        rows, columns, _, _, opacity = patches[i]
        solid = opacity >= 0.5
        free = solid & ~seen[rows, columns]
        total, left = int(solid.sum()), int(free.sum())
        one = elements[i].owner
        if left == 0 or (one >= 0 and (left < _SEEN * total or (not group[one] and left < _PIXELS))):
            continue
        painted[i] = True
        seen[rows, columns] |= solid
        owner[rows, columns][free] = one
        if one >= 0:
            whole[one] += total
            shown[one] += left
    kept = np.flatnonzero(painted)
    there = np.flatnonzero(shown > 0)
    number = np.full(len(category) + 2, _CLUTTER, np.int16)
    number[there] = np.arange(len(there))
    number[-2] = -2
    elements = [elements[i]._replace(owner=int(number[elements[i].owner])) for i in kept]
    return PictureLayout(
        height, width, elements, [patches[i] for i in kept], category[there], group[there], number[owner]
    )


def _draw(
    rng: np.random.Generator, scenery: Scenery, height: int, width: int
) -> tuple[list[Element], np.ndarray, np.ndarray]:
    """Return elements back to front, and the category and kind of each annotation."""
    words = scenery.vocabulary
    elements: list[Element] = []
    category: list[int] = []
    group: list[bool] = []
    limit = np.cumsum(words.share)[:-1]

    def add(kind: int, x: float, y: float, side: float) -> None:
        elements.append(_element(rng, words.kinds[kind], x, y, side, len(category)))
        category.append(kind)
        group.append(False)

    if rng.random() < scenery.groups:
        kind = int(np.searchsorted(limit, rng.random(), side="right"))
        x, y = _place(rng, height, width)
        spread, side = 0.14 * scenery.size, rng.uniform(0.06, 0.1) * scenery.size
        for _ in range(int(rng.integers(10, 19))):
            dx, dy = rng.normal(0, spread * 0.6, 2)
            elements.append(_element(rng, words.kinds[kind], x + dx, y + dy, side * rng.uniform(0.8, 1.2), 0))
        category.append(kind)
        group.append(True)
    for _ in range(int(rng.poisson(scenery.objects))):
        kind = int(np.searchsorted(limit, rng.random(), side="right"))
        side = _side(rng, scenery.size)
        if kind in words.content:
            side = max(side, 0.28 * scenery.size)
        x, y = _free_place(rng, height, width, side, elements)
        add(kind, x, y, side)
        if kind in words.content and rng.random() < 0.7:
            dx, dy = rng.uniform(-0.1, 0.1, 2) * side
            add(words.content[kind], x + dx, y + dy, side * rng.uniform(0.34, 0.46))
        if kind in words.companion and rng.random() < 0.6:
            other = side * rng.uniform(0.6, 1.1)
            turn, far = rng.uniform(0, 2 * math.pi), 0.55 * (side + other)
            beside = (x + far * math.cos(turn), y + far * math.sin(turn))
            if 0 < beside[0] < width and 0 < beside[1] < height:
                add(words.companion[kind], *beside, other)
    for _ in range(int(rng.poisson(scenery.clutter))):
        clutter = _clutter(rng, scenery, height, width)
        elements.insert(int(rng.integers(0, len(elements) + 1)) if rng.random() < 0.3 else 0, clutter)
    return elements, np.array(category, np.int64), np.array(group, bool)


def _element(rng: np.random.Generator, kind: Kind, x: float, y: float, side: float, owner: int) -> Element:
    stretch = math.exp(rng.normal(0, 0.12))
    return Element(kind, x, y, side / 2 * stretch, side / 2 / stretch, rng.uniform(0, 2 * math.pi), owner)


def _clutter(rng: np.random.Generator, scenery: Scenery, height: int, width: int) -> Element:
    """A thing of no category: one that only its surface tells from one, or a thin line."""
    x, y = _place(rng, height, width)
    others = scenery.vocabulary.lookalikes
    if others and rng.random() < 0.6:
        kind = others[int(rng.integers(len(others)))]
        return _element(rng, kind, x, y, _side(rng, scenery.size), _CLUTTER)
    kind = scenery.vocabulary.kinds[int(rng.integers(len(scenery.vocabulary.kinds)))]
    half, thin = rng.uniform(0.15, 0.5) * scenery.size, rng.uniform(0.012, 0.03) * scenery.size
    return Element(Kind("bar", kind.colour, "plain"), x, y, half, thin / 0.3, rng.uniform(0, math.pi), _CLUTTER)


def _side(rng: np.random.Generator, size: int) -> float:
    return size * float(np.clip(0.22 * math.exp(rng.normal(0, 0.45)), 0.09, 0.6))


def _place(rng: np.random.Generator, height: int, width: int) -> tuple[float, float]:
    x, y = rng.uniform(0.04, 0.96, 2) * (width, height)
    return float(x), float(y)


def _free_place(
    rng: np.random.Generator, height: int, width: int, side: float, elements: list[Element]
) -> tuple[float, float]:
    """Return a place where little else is; after some attempts any place."""
    for _ in range(6):
        x, y = _place(rng, height, width)
        if all(math.hypot(x - e.x, y - e.y) > 0.6 * (side / 2 + max(e.a, e.b)) for e in elements):
            break
    return x, y


def _patch(element: Element, height: int, width: int) -> tuple[slice, slice, np.ndarray, np.ndarray, np.ndarray]:
    kind, x, y, a, b, angle, _ = element
    reach = max(a, b) + 1.5
    rows = slice(max(0, math.floor(y - reach)), max(0, min(height, math.ceil(y + reach))))
    columns = slice(max(0, math.floor(x - reach)), max(0, min(width, math.ceil(x + reach))))
    dx = np.arange(columns.start, columns.stop, dtype=np.float32)[None] + np.float32(0.5 - x)
    dy = np.arange(rows.start, rows.stop, dtype=np.float32)[:, None] + np.float32(0.5 - y)
    c, s = np.float32(math.cos(angle)), np.float32(math.sin(angle))
    u, v = (c * dx + s * dy) / np.float32(a), (c * dy - s * dx) / np.float32(b)
    opacity = np.clip(0.5 - np.float32(min(a, b)) * SHAPES[kind.shape](u, v), 0, 1).astype(np.float32)
    return rows, columns, u, v, opacity
