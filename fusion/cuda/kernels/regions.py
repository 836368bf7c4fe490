"""Regions: rows of one image, member and box. What the scores of a region leave of 1 is background."""

from typing import Any

import numpy as np

from fusion.cuda.kernels.cells import Rows, sort_rows
from fusion.cuda.kernels.device import Kernel, cuda, device_function, empty, filled, number_at
from fusion.steps.select_experts import SLACK

__all__ = ["leave_background_out"]

_PRIME = np.int64(2**31 - 1)  # the product of a number below it and the factor of `mixed` fits in 64 bits


def leave_background_out(rows: Rows, number: Any, images: int, used: Any) -> bool:
    """Take the flag from the experts' rows whose region is background rather than anything else.

    Rows of a region are brought together by the bits of their boxes, into cells of about as many rows as the region
    has: cells of whole images would take the square of an image's size.

    Args:
        rows: The rows of base and experts, at least one.
        number: int16 [n], which input each row is of; 0 is the base.
        images: Number of images of the session.
        used: int8 [n], changed.

    Returns:
        Whether the experts' scores are a softmax; else the flags mean nothing.
    """
    size = len(rows.image)
    buckets = max(1, size // images)
    bits = (column.view(np.int64) for column in (rows.x, rows.y, rows.w, rows.h))
    bucket, wrong = empty(size, np.int32), filled(1, np.int32)
    bucket_boxes(size, rows.member, *bits, buckets, bucket)
    # all of one score, so that a cell is in order of row
    columns = sort_rows(
        rows._replace(category=bucket), filled(size, np.float64), filled(size, np.int8, 1), images, buckets
    )
    gate_regions(size, rows, number, columns, used, wrong)
    return number_at(wrong, 0) == 0


@device_function
def mixed(key, bits):
    """Return another number of 31 bits, of one and of a float's bits but its sign: there are two zeros."""
    return (key * np.int64(48271) + ((bits ^ (bits >> np.int64(32))) & _PRIME)) % _PRIME


@Kernel
def bucket_boxes(member, x, y, w, h, buckets, bucket):
    """Write a number below `buckets` for each row, the same for rows of one member and box."""
    for i in range(cuda.grid(1), len(bucket), cuda.gridsize(1)):
        key = mixed(mixed(mixed(mixed(np.int64(member[i]), x[i]), y[i]), w[i]), h[i])
        bucket[i] = key % buckets


@Kernel
def gate_regions(rows, number, columns, used, wrong):
    """Take the flag from rows of background; `wrong` tells if the scores of a region are no softmax."""
    for p in range(cuda.grid(1), len(columns.row), cuda.gridsize(1)):
        r, c = columns.row[p], columns.cell[p]
        if number[r] > 0:
            total = best = 0.0
            for at in range(columns.start[c], columns.start[c + 1]):
                q = columns.row[at]
                place = rows.x[q] == rows.x[r] and rows.y[q] == rows.y[r]
                if place and rows.w[q] == rows.w[r] and rows.h[q] == rows.h[r] and rows.member[q] == rows.member[r]:
                    total += rows.score[q]
                    best = max(best, rows.score[q])
            if rows.score[r] < 0.0 or total > 1.0 + SLACK:
                wrong[0] = 1
            elif 1.0 - total > best:
                used[r] = 0
