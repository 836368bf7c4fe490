"""Matching: which rows are right and which are wrong, at every threshold at once; a thread for each cell.

A whole number of 64 bits holds the answers of one row: bit t is of threshold t.
"""

from typing import Any

import numpy as np

from evaluation.cuda.kernels.pairing import INSIDE, GpuPairs
from evaluation.formulas import matching
from evaluation.formulas.matching import IGNORED, LOST
from fusion.cuda.kernels.cells import GpuColumns
from fusion.cuda.kernels.device import Kernel, cuda, empty, filled, formula

__all__ = ["MOST_THRESHOLDS", "matched"]

claim = formula(matching.claim)

MOST_THRESHOLDS = 62


def matched(columns: GpuColumns, pairs: GpuPairs, flags: Any, thresholds: Any) -> tuple[Any, Any]:
    """Match the rows of each cell in order of score.

    Args:
        columns: The rows.
        pairs: What they can match.
        flags: uint8 [g], of the ground truth.
        thresholds: float64 [t], ascending, at most `MOST_THRESHOLDS`.

    Returns:
        int64 [n] both: at which thresholds a row is right, and at which it is wrong.
    """
    size, cells = len(columns.row), len(columns.start) - 1
    hits, wrong = empty(size, np.int64), empty(size, np.int64)
    match_cells(cells, columns, pairs, flags, thresholds, filled(len(flags), np.int64), hits, wrong)
    return hits, wrong


@Kernel
def match_cells(columns, pairs, flags, thresholds, taken, hits, wrong):
    """Give each row the best ground truth that is left, at each threshold; `taken` int64 [g] is 0 before."""
    one, nothing = np.int64(1), np.int64(0)
    every = (one << np.int64(len(thresholds))) - one
    for c in range(cuda.grid(1), len(columns.start) - 1, cuda.gridsize(1)):
        for p in range(columns.start[c], columns.start[c + 1]):
            found, spared, free = nothing, nothing, every
            for i in range(pairs.begin[p], pairs.end[p]):
                g = pairs.truth[i]
                passed = nothing
                while passed < len(thresholds) and pairs.iou[i] >= thresholds[passed]:
                    passed += one
                take = claim(free & ((one << passed) - one), flags[g], taken, g)
                free &= ~take
                if flags[g] & IGNORED != 0:
                    spared |= take
                elif flags[g] & LOST == 0:
                    found |= take
            hits[p] = found
            wrong[p] = every & ~(found | spared) if pairs.state[p] == INSIDE else nothing
