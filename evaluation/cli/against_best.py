"""Whether a fused table is better than the best of its inputs, in one sentence."""

from collections.abc import Sequence

from evaluation.comparison import difference_of
from evaluation.leaderboard import Entry
from fusion.errors import Warned

__all__ = ["against_best"]


def against_best(fused: Entry, inputs: Sequence[Entry], units: int) -> str:
    """Say how much better a fused table is than the best of its inputs; a warning where it may be no better.

    Args:
        fused: Its entry.
        inputs: Theirs, at least one, of the same draws.
        units: Number of things drawn.
    """
    best = max(inputs, key=lambda entry: entry.figures["AP"])
    told = difference_of(best.figures["AP"], fused.figures["AP"], best.values, fused.values, units)
    interval = f"{100 * told.value:+.2f} AP, 95 % interval {100 * told.low:+.2f} to {100 * told.high:+.2f}"
    if told.low > 0:
        return f"is better than the best of its inputs, {best.name} ({interval})"
    verdict = "may be no better" if told.value > 0 else "is not better"
    return Warned(f"{verdict} than the best of its inputs, {best.name} ({interval}); try `quorum auto`")
