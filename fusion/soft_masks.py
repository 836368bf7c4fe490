"""Soft masks: square maps of probabilities, each in the box of its detection, as mask heads give them."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fusion.arrow_arrays import arrow_array, numpy_array
from fusion.errors import InputError

__all__ = ["SOFT_MASK_TYPE", "SoftMaps", "check_soft_masks", "soft_maps", "soft_mask_array"]

SOFT_MASK_TYPE = pa.struct([("height", pa.int32()), ("width", pa.int32()), ("values", pa.large_list(pa.float32()))])


class SoftMaps(NamedTuple):
    """The maps of n detections as kernels see them.

    Attributes:
        values: float32 [sum of sides ** 2], each map row by row.
        offset: int64 [n + 1].
        height: int32 [n], pixels of the image.
        width: int32 [n].
    """

    values: np.ndarray
    offset: np.ndarray
    height: np.ndarray
    width: np.ndarray


def soft_mask_array(values: npt.ArrayLike, height: npt.ArrayLike, width: npt.ArrayLike) -> pa.StructArray:
    """Make a soft mask column, for `DetectionTable.from_arrays`.

    Args:
        values: [n, s, s] probabilities, rows from the top of the box, columns from its left.
        height: [n] or one number, pixels of the image.
        width: [n] or one number.

    Returns:
        [n] structs (height, width, values).

    Raises:
        InputError: If the maps are not square.
    """
    maps = np.asarray(values, np.float32)
    if maps.ndim != 3 or maps.shape[1] != maps.shape[2]:
        raise InputError("soft masks", f"expected maps of shape [n, s, s], got {list(maps.shape)}")
    offset = np.arange(len(maps) + 1, dtype=np.int64) * maps.shape[1] ** 2
    lists = pa.LargeListArray.from_arrays(arrow_array(offset), arrow_array(maps.ravel()))
    sizes = [arrow_array(np.broadcast_to(np.asarray(size, np.int32), len(maps))) for size in (height, width)]
    return pa.StructArray.from_arrays([*sizes, lists], fields=list(SOFT_MASK_TYPE))


def check_soft_masks(soft_masks: pa.StructArray, where: object) -> None:
    """Require square maps of probabilities in images that have pixels; null stands for no map.

    Raises:
        InputError: If one is anything else; the row is named.
    """
    given = numpy_array(soft_masks.is_valid())
    maps = soft_maps(soft_masks)
    count = np.diff(maps.offset)
    side = np.sqrt(count).astype(np.int64)
    outside = ~((maps.values >= 0) & (maps.values <= 1))
    wrong = np.searchsorted(maps.offset, np.flatnonzero(outside), side="right") - 1
    for rows, problem in (
        (np.flatnonzero(given & ((side * side != count) | (count == 0))), "is not square"),
        (np.flatnonzero(given & ((maps.height < 1) | (maps.width < 1))), "has an image without pixels"),
        (wrong, "has values outside [0, 1]"),
    ):
        if len(rows):
            raise InputError(where, f"the soft mask of row {rows[0]} {problem}", "Make the column with soft_mask_array")


def soft_maps(soft_masks: pa.StructArray) -> SoftMaps:
    """Return the buffers of a soft mask column; a null has an empty map."""
    height, width, values = soft_masks.flatten()  # unlike `field`, minds that the array may be a slice
    offset = np.zeros(len(values) + 1, np.int64)
    np.cumsum(numpy_array(values.value_lengths(), 0), out=offset[1:])
    return SoftMaps(
        numpy_array(values.flatten()),
        offset,
        numpy_array(height, 0),
        numpy_array(width, 0),
    )
