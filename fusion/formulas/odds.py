"""Scores as probabilities, and evidence for or against them as log odds."""

import math
import sys

__all__ = ["expected", "joint", "log_odds", "probability", "weighed"]

_LARGEST = math.log(sys.float_info.max)  # exp of more is infinite, and an error in plain Python


def log_odds(p: float) -> float:
    """Return the log odds of a probability in (0, 1)."""
    return math.log(p) - math.log1p(-p)


def probability(odds: float) -> float:
    """Return the probability of log odds."""
    return 1.0 / (1.0 + math.exp(-odds)) if odds >= -_LARGEST else 0.0


def joint(odds: float, certain: int) -> float:
    """Return the probability that independent votes make together.

    Args:
        odds: Sum of the log odds of the votes in (0, 1).
        certain: Votes of 1 less votes of 0, which outweigh all others.
    """
    value = probability(odds)
    if certain != 0:
        value = 1.0 if certain > 0 else 0.0
    return value


def expected(score: float, present: float, absent: float) -> float:
    """Return what is expected of evidence that is there with a probability."""
    return score * present + (1.0 - score) * absent


def weighed(score: float, evidence: float) -> float:
    """Return a probability whose odds are multiplied by exp(evidence)."""
    odds = score * math.exp(evidence)
    return odds / (odds + (1.0 - score))
