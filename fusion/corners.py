"""Boxes that come as corners x1, y1, x2, y2, kept to the last bit in a table of x, y, w and h.

Of one pair of decimal corners in twenty-five no float64 `w` gives the far one back as `x + w`: where w has the unit of
x2 and their difference lies halfway between two of its multiples, the sum is the even neighbour of x2 for either. There
x2 stands beside w, in a column of its own. w is always x2 - x, rounded once, as whoever converts boxes has it.
"""

import numpy as np
import numpy.typing as npt

__all__ = ["FAR", "far_side", "from_corners", "unlike_sum"]

FAR = {"x": "x2", "y": "y2"}
"""Name of the far side of each near one."""


def from_corners(corners: npt.ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Turn corners into xywh.

    Args:
        corners: [n, 4] x1, y1, x2, y2; float32 is widened first, so that little is lost in w.

    Returns:
        float64 [n, 4] xywh, and float64 [n, 2] the x2 and y2 that x + w and y + h do not give; NaN elsewhere.
    """
    given = np.asarray(corners, dtype=np.float64).reshape(-1, 4)
    near, far = given[:, :2], given[:, 2:]
    with np.errstate(over="ignore", invalid="ignore"):
        size = far - near
        return np.hstack((near, size)), unlike_sum(near, size, far)


def unlike_sum(near: np.ndarray, size: np.ndarray, far: np.ndarray) -> np.ndarray:
    """Return the far sides that near + size does not give; NaN elsewhere."""
    return np.where(near + size != far, far, np.nan)


def far_side(near: np.ndarray, size: np.ndarray, known: np.ndarray | None) -> np.ndarray:
    """Return the far side of boxes, float64 [n]: near + size, or what is known of it.

    Args:
        near: [n] x or y.
        size: [n] w or h.
        known: float64 [n], NaN where near + size is right; None where it always is.
    """
    far: np.ndarray = np.add(near, size, dtype=np.float64)
    return far if known is None else np.where(np.isnan(known), far, known)
