"""Shapes and textures of rendered pictures, as functions of coordinates in which a shape fits into the unit disc."""

from collections.abc import Callable

import numpy as np

__all__ = ["SHAPES", "texture"]

_Shape = Callable[[np.ndarray, np.ndarray], np.ndarray]


def _disc(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return np.asarray(np.hypot(u, v) - 0.95)


def _ring(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return np.asarray(np.abs(np.hypot(u, v) - 0.72) - 0.23)


def _lens(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return np.asarray(np.hypot(u, np.abs(v) + 0.6) - 1.15)


def _square(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return np.asarray(np.maximum(np.abs(u), np.abs(v)) - 0.7)


def _frame(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return np.asarray(np.abs(np.maximum(np.abs(u), np.abs(v)) - 0.54) - 0.16)


def _regular(corners: int) -> _Shape:
    angle = (np.arange(corners) + 0.5) * (2 * np.pi / corners)
    cosine, sine, inner = np.cos(angle), np.sin(angle), np.cos(np.pi / corners) * 0.97

    def inside(u: np.ndarray, v: np.ndarray) -> np.ndarray:
        far = cosine[0] * u + sine[0] * v
        for c, s in zip(cosine[1:], sine[1:], strict=True):
            np.maximum(far, c * u + s * v, out=far)
        return np.asarray(far - inner)

    return inside


def _star(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    wedge = np.pi / 5
    angle = np.abs((np.arctan2(v, u) + wedge) % (2 * wedge) - wedge)  # from the nearest point of the star
    radius = np.hypot(u, v)
    x, y = radius * np.cos(angle), radius * np.sin(angle)
    # the edge from the point at (1, 0) to the notch at 0.42 of the radius
    nx, ny = 0.42 * np.sin(wedge), 1 - 0.42 * np.cos(wedge)
    return np.asarray((nx * (x - 1) + ny * y) / np.hypot(nx, ny))


def _cross(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    u, v = np.abs(u), np.abs(v)
    return np.asarray(np.minimum(np.maximum(u - 0.94, v - 0.3), np.maximum(v - 0.94, u - 0.3)))


def _crescent(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return np.asarray(np.maximum(np.hypot(u, v) - 0.95, 0.75 - np.hypot(u - 0.45, v)))


def _flower(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return np.asarray(np.hypot(u, v) - 0.72 - 0.23 * np.cos(5 * np.arctan2(v, u)))


def _bar(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return np.asarray(np.hypot(np.maximum(np.abs(u) - 0.65, 0), v) - 0.3)


SHAPES: dict[str, _Shape] = {
    "disc": _disc,
    "ring": _ring,
    "lens": _lens,
    "square": _square,
    "frame": _frame,
    "triangle": _regular(3),
    "hexagon": _regular(6),
    "star": _star,
    "cross": _cross,
    "crescent": _crescent,
    "flower": _flower,
    "bar": _bar,
}
"""Functions of (u, v): about the distance from the edge, negative inside."""


def texture(name: str, u: np.ndarray, v: np.ndarray) -> np.ndarray | None:
    """Return where the second tone of a texture is, 0 to 1; None for a plain surface."""
    if name == "striped":
        return np.asarray(np.clip(1.5 * np.sin(9 * u) + 0.5, 0, 1))
    if name == "checked":
        return np.asarray(np.clip(3 * np.sin(7 * u) * np.sin(7 * v) + 0.5, 0, 1))
    if name == "dotted":
        return np.asarray(np.clip(2 * (np.cos(9 * u) * np.cos(9 * v) - 0.25) + 0.5, 0, 1))
    return None
