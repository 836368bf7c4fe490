"""Votes on a box: who are its best voters, and what their votes come to."""

from typing import Any

__all__ = ["enter", "moved", "tally"]


def enter(other: int, u: float, j: int, found: int, k: int, others: Any, ious: Any, places: Any, first: int) -> int:
    """Put a voter where it belongs among the best k, behind its equals; return how many there are.

    Args:
        other: 1 for a voter of another member than the box's, which goes before all of its own.
        u: Its IoU with the box.
        j: Its place.
        found: How many there are, best first.
        k: Most of them.
        others: From `first` on, `other` of each voter so far, as `ious` and `places` hold the rest.
        ious: As `others`.
        places: As `others`.
        first: Where the voters of the box begin.
    """
    p = found
    while p > 0 and (other > others[first + p - 1] or (other == others[first + p - 1] and u > ious[first + p - 1])):
        p -= 1
    if p < k:
        found = min(found + 1, k)
        for q in range(first + found - 1, first + p, -1):
            others[q] = others[q - 1]
            ious[q] = ious[q - 1]
            places[q] = places[q - 1]
        others[first + p] = other
        ious[first + p] = u
        places[first + p] = j
    return found


def tally(columns: Any, places: Any, first: int, last: int) -> tuple[float, float, float, float, float]:
    """Return the sums of the scores and corners of the boxes at places[first:last], in their order."""
    score = x1 = y1 = x2 = y2 = 0.0
    for v in range(first, last):
        j = places[v]
        score += columns.score[j]
        x1 += columns.x1[j]
        y1 += columns.y1[j]
        x2 += columns.x2[j]
        y2 += columns.y2[j]
    return score, x1, y1, x2, y2


def moved(side: float, share: float, total: float, voters: int) -> float:
    """Return a side of a box moved towards the mean of its voters', whose sum is given, by a share."""
    return (1.0 - share) * side + share / voters * total
