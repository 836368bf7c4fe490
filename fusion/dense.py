"""Dense indices of ids."""

import numpy as np

__all__ = ["dense", "distinct"]


def distinct(values: np.ndarray) -> np.ndarray:
    """Return the distinct values, ascending: np.unique without sorting, for ids in a narrow range."""
    low, width = _span(values)
    if width > 4 * len(values) + 1024:
        return np.unique(values)
    seen = np.zeros(width, bool)
    seen[values - low] = True
    return np.flatnonzero(seen) + low


def dense(values: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Return the index of each value in `ids`, which are ascending and have them all: int32."""
    low, width = _span(ids)
    if width > 4 * len(values) + 1024:
        return np.searchsorted(ids, values).astype(np.int32)
    lookup = np.zeros(width, np.int32)
    lookup[ids - low] = np.arange(len(ids), dtype=np.int32)
    index: np.ndarray = lookup[values - low]
    return index


def _span(values: np.ndarray) -> tuple[int, int]:
    return (int(values.min()), int(values.max()) - int(values.min()) + 1) if len(values) else (0, 0)
