"""Arithmetic as the definitions read, for all oracles."""


def one_by_one(values):
    """Add one by one; from Python 3.12 on, sum() rounds floats better than the definitions do."""
    total = 0.0
    for value in values:
        total += value
    return total
