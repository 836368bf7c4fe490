"""Pixels of a rendered picture: ground, surfaces, light and noise."""

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from zoo.synthetic.rendering.layout import Element, PictureLayout, Scenery, stream
from zoo.synthetic.rendering.shapes import texture
from zoo.synthetic.rendering.vocabulary import COLOURS, MATERIALS

__all__ = ["Painting", "paint"]

_GROUND = np.array([[0.68, 0.6, 0.45], [0.36, 0.45, 0.28], [0.4, 0.5, 0.56], [0.5, 0.49, 0.47]], np.float32)
_THING, _UNSURE = 0, 255


class Painting(NamedTuple):
    """A painted picture.

    Attributes:
        pixels: uint8 [height, width, 3].
        stuff: uint8 [height, width]: 0 for things, 1 and on for materials, 255 for groups and clutter.
    """

    pixels: np.ndarray
    stuff: np.ndarray


def paint(scenery: Scenery, layout: PictureLayout, seed: int, picture: int) -> Painting:
    """Paint a picture; it depends on nothing but the arguments."""
    rng = stream(seed, picture, "paint")
    height, width = layout.height, layout.width
    canvas, material = _ground(rng, height, width)
    light = rng.uniform(0, 2 * np.pi)
    for element, (rows, columns, u, v, opacity) in zip(layout.elements, layout.patches, strict=True):
        colour = _surface(rng, element, u, v, light)
        part = canvas[rows, columns]
        part += opacity[..., None] * (colour - part)
    stuff = np.where(layout.owner == -2, material + 1, _UNSURE)
    shown = np.flatnonzero(~layout.group)
    stuff[np.isin(layout.owner, shown)] = _THING
    pixels = _light(rng, canvas, scenery.noise) if scenery.noise else canvas
    return Painting((np.clip(pixels, 0, 1) * 255 + 0.5).astype(np.uint8), stuff.astype(np.uint8))


def _ground(rng: np.random.Generator, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the canvas [height, width, 3] and the material of each pixel."""
    chosen = rng.choice(len(MATERIALS), 2, replace=False)
    border = _smooth(rng, 4, height, width)
    material = np.where(border > rng.uniform(-0.6, 0.6), chosen[0], chosen[1])
    grain = np.zeros((height, width), np.float32)
    for m in chosen.tolist():
        where = material == m
        grain[where] = _grain(rng, MATERIALS[m], height, width)[where]
    tint = _GROUND + rng.normal(0, 0.05, _GROUND.shape).astype(np.float32)
    shade = 1 + 0.25 * _smooth(rng, 5, height, width) + grain
    return tint[material] * shade[..., None], material


def _grain(rng: np.random.Generator, material: str, height: int, width: int) -> np.ndarray:
    if material == "sand":
        return 0.1 * rng.standard_normal((height, width), np.float32)
    if material == "grass":
        blades = 0.22 * rng.standard_normal((height // 4 + 1, width), np.float32)
        return np.repeat(blades, 4, axis=0)[:height]
    if material == "water":
        bent = np.arange(height, dtype=np.float32)[:, None] + 3 * _smooth(rng, 6, height, width)
        return np.asarray(0.14 * np.sin(bent * (2 * np.pi / 9)), np.float32)
    stones = 0.18 * rng.standard_normal((height // 6 + 1, width // 6 + 1), np.float32)
    return np.repeat(np.repeat(stones, 6, axis=0), 6, axis=1)[:height, :width]


def _surface(rng: np.random.Generator, element: Element, u: np.ndarray, v: np.ndarray, light: float) -> np.ndarray:
    """Return the colour of an element at the places of its patch, [h, w, 3]."""
    hue = COLOURS[element.kind.colour] + rng.normal(0, 0.014)
    base = _rgb(hue, rng.uniform(0.6, 0.95), rng.uniform(0.6, 0.95))
    tone = texture(element.kind.texture, u, v)
    turned = light - element.angle
    shade = 1 + 0.22 * (u * np.float32(np.cos(turned)) + v * np.float32(np.sin(turned)))
    colour = base * shade[..., None]
    if tone is not None:
        second = base * np.float32(0.3) if rng.random() < 0.5 else np.float32(0.25) * base + np.float32(0.72)
        colour += tone[..., None] * (second - colour)
    return colour


def _light(rng: np.random.Generator, canvas: np.ndarray, noise: float) -> np.ndarray:
    height, width, _ = canvas.shape
    cast = rng.normal(0, 0.05 * noise, 3) + 1 + 0.18 * noise * rng.uniform(-1.6, 1)
    field = 1 + 0.2 * noise * _smooth(rng, 3, height, width)
    canvas = canvas * field[..., None] * cast.astype(np.float32)
    if rng.random() < 0.35 * noise:
        for axis in (0, 1):
            after, before = np.roll(canvas, 1, axis), np.roll(canvas, -1, axis)
            canvas = np.float32(0.5) * canvas + np.float32(0.25) * (after + before)
    grain = np.float32(noise * rng.uniform(0.005, 0.05))
    return np.asarray(canvas + grain * rng.standard_normal(canvas.shape, np.float32))


def _smooth(rng: np.random.Generator, cells: int, height: int, width: int) -> np.ndarray:
    """A smooth field of about -1 to 1."""
    grid = rng.standard_normal((cells, cells), np.float32) * np.float32(0.8)
    return np.asarray(_spread(cells, height) @ grid @ _spread(cells, width).T)


@lru_cache(maxsize=64)
def _spread(cells: int, length: int) -> np.ndarray:
    """Matrix [length, cells] of smooth interpolation between grid points."""
    place = np.linspace(0, cells - 1, length)
    low = np.minimum(place.astype(np.int64), cells - 2)
    share = place - low
    share = share * share * (3 - 2 * share)
    matrix = np.zeros((length, cells), np.float32)
    matrix[np.arange(length), low] = 1 - share
    matrix[np.arange(length), low + 1] += share
    return matrix


def _rgb(hue: float, saturation: float, value: float) -> np.ndarray:
    from colorsys import hsv_to_rgb

    return np.array(hsv_to_rgb(hue % 1, saturation, value), np.float32)
