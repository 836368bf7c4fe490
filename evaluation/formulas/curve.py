"""Points of the curve of precision over recall."""

import numpy as np

__all__ = ["precision"]

_SPACING = float(np.spacing(1.0))


def precision(right: float, wrong: float) -> float:
    """Return the share of right detections; the order of the sum is that of the official code."""
    return right / ((wrong + right) + _SPACING)
