"""Matching at many thresholds at once: bit t of a whole number stands for threshold t."""

from typing import Any

__all__ = ["IGNORED", "LOST", "SHARED", "claim"]

IGNORED = 1
"""Flag of ground truth that does not count."""
SHARED = 2
"""Flag of a crowd, which is never taken."""
LOST = 4
"""Flag of ground truth a match with which is not counted."""


def claim(wanted: Any, flags: int, taken: Any, g: int) -> Any:
    """Return at which thresholds a detection gets an object; there it is taken then.

    Args:
        wanted: Bits of the thresholds at which it has none yet and overlaps this one enough.
        flags: Of the object.
        taken: By object, bits of the thresholds at which it is taken; changed.
        g: The object.
    """
    if flags & SHARED == 0:
        wanted &= ~taken[g]
        taken[g] |= wanted
    return wanted
