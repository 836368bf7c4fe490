"""Score maps: straight lines between knots, and what lies beyond these. Of numbers, or of NumPy's arrays."""

from typing import Any

__all__ = ["beyond", "on_line"]


def on_line(score: Any, knot: Any, value: Any, slope: Any) -> Any:
    """Return the value at a score of the line that passes through a knot."""
    return value + slope * (score - knot)


def beyond(value: Any, last: Any, above: Any, below: Any, span: Any) -> Any:
    """Return a value that goes on rising beyond the knots: towards 1 above, towards 0 below.

    Args:
        value: That of the knots, or of the one next to the score.
        last: Value of the last knot.
        above: By how much the score is above the last knot; 0 where it is not.
        below: By how much it is below the first.
        span: Distance of the two, above 0.
    """
    return (value + (1.0 - last) * above / (above + span)) * (span / (span + below))
