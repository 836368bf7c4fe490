"""Checking compressed masks before C code that trusts them sees one."""

import numpy as np

from fusion.kernels.jit import jit

__all__ = ["fitting_runs"]


@jit
def fitting_runs(counts, counts_end, masked, size):
    """Tell which masks are well-formed: every run ends, none is negative, and together they fill the image.

    pycocotools reads and writes outside its buffers otherwise. The code is COCO's: five bits a
    byte, least significant first, and from the fourth run on the difference to the run before the
    previous one.

    Args:
        counts: uint8, compressed runs, one mask behind the other.
        counts_end: int32 [n + 1], where they end; the first is 0.
        masked: bool [n], which rows have a mask.
        size: int32 [n, 2], height and width.

    Returns:
        bool [n]; True for rows without a mask.
    """
    n = len(masked)
    fits = np.ones(n, np.bool_)
    for i in range(n):
        if not masked[i]:
            continue
        area = np.int64(size[i, 0]) * np.int64(size[i, 1])
        at = counts_end[i]
        end = counts_end[i + 1]
        total = np.int64(0)
        one_before = np.int64(0)
        two_before = np.int64(0)
        runs = 0
        good = 0 < area < 2**32 and at < end  # pycocotools counts pixels in 32 bits
        while good and at < end:
            c = np.int64(counts[at]) - 48
            at += 1
            good = 0 <= c <= 63
            run = (c & 31) - ((c & 16) << 1)
            if c & 32:
                run = c & 31
                shift = 5
                while good and c & 32:
                    if at >= end or shift > 30:
                        good = False
                        break
                    c = np.int64(counts[at]) - 48
                    at += 1
                    good = 0 <= c <= 63
                    run |= ((c & 31) - ((c & 16) << 1 if not c & 32 else 0)) << shift
                    shift += 5
            if runs > 2:
                run += two_before
            good = good and run >= 0
            total += run
            two_before = one_before
            one_before = run
            runs += 1
        fits[i] = good and total == area
    return fits
