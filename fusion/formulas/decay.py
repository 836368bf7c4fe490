"""How soft suppression lowers scores (Bodla 2017)."""

import math

__all__ = ["gaussian", "linear"]


def gaussian(squares: float, sigma: float) -> float:
    """Return the factor by which gaussian soft-NMS lowers a score: exp(-sum of IoU^2 / sigma)."""
    return math.exp(-squares / sigma)


def linear(overlap: float, threshold: float) -> float:
    """Return the factor 1 - IoU, or 1 up to the threshold, of linear soft-NMS."""
    return 1.0 - overlap if overlap > threshold else 1.0
