"""What a caller gives as arrays, as the columns of a table."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fusion.arrow_arrays import arrow_array
from fusion.corners import FAR, from_corners
from fusion.errors import InputError

__all__ = ["STRING_IDS", "box_columns", "float_array", "id_array", "int32_array"]

STRING_IDS = pa.dictionary(pa.int32(), pa.string())
"""Type of a column of names."""


def id_array(image_id: npt.ArrayLike, where: object) -> pa.Array:
    """Return image ids as a column: int64, or names."""
    if isinstance(image_id, pa.DictionaryArray):
        return image_id.cast(STRING_IDS)
    ids = np.asarray(image_id)
    if ids.size == 0:
        return pa.array([], pa.int64()) if ids.dtype.kind not in "UO" else pa.array([], pa.string()).dictionary_encode()
    if ids.dtype.kind in "iu" and ids.ndim == 1 and int(ids.max()) < 2**63:
        return arrow_array(ids.astype(np.int64, copy=False))
    if ids.dtype.kind in "UO" and ids.ndim == 1 and all(isinstance(name, str) for name in ids):
        return arrow_array(ids.astype(object), pa.string()).dictionary_encode()
    if ids.ndim == 1:
        wrong = [row for row, value in enumerate(ids.tolist()) if not _fits_id(value)]
        if wrong and all(isinstance(value, int) for value in ids.tolist()):
            raise InputError(
                where,
                f"image ids must fit in 64 bits, signed, got {ids[wrong[0]]} in row {wrong[0]}",
                "Give large ids as strings",
            )
        if wrong:
            problem = f"image ids must be integers or strings, got {ids.tolist()[wrong[0]]!r} in row {wrong[0]}"
            raise InputError(where, problem, "Drop or mend these rows")
    raise InputError(where, f"image ids must be a list of integers or of strings, got {ids.dtype} {ids.shape}")


def _fits_id(value: object) -> bool:
    return isinstance(value, str) or (
        isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63
    )


def box_columns(
    xywh: npt.ArrayLike | tuple[npt.ArrayLike, ...] | None, xyxy: npt.ArrayLike | None, where: object
) -> tuple[list[np.ndarray], dict[str, pa.Array]]:
    """Return x, y, w and h, and those of the columns x2 and y2 that are needed."""
    if (xywh is None) == (xyxy is None):
        raise InputError(where, "expected boxes as either xywh or xyxy", "Give one of them")
    if isinstance(xywh, tuple):
        return [float_array(column, name, where) for column, name in zip(xywh, "xywh", strict=True)], {}
    name, boxes = ("xywh", np.asarray(xywh)) if xyxy is None else ("xyxy", np.asarray(xyxy))
    if boxes.size == 0:
        boxes = boxes.reshape(0, 4)
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise InputError(where, f"{name} must be of shape [n, 4], got {list(boxes.shape)}")
    far = np.zeros((0, 2))
    if xyxy is not None:
        boxes, far = from_corners(boxes)
    kept = {
        name: pa.array(side, from_pandas=True)
        for name, side in zip(FAR.values(), far.T, strict=True)
        if not np.isnan(side).all()
    }
    columns = [float_array(np.ascontiguousarray(boxes[:, i]), name, where) for i, name in enumerate("xywh")]
    return columns, kept


def float_array(values: npt.ArrayLike, name: str, where: object) -> np.ndarray:
    """Return numbers as float64, or float32 where they are; what is no number is named by its row."""
    array = np.asarray(values)
    if array.dtype in (np.float32, np.float64):
        return array
    if array.dtype.kind not in "biuf" and array.ndim == 1:
        for row, value in enumerate(array.tolist()):
            if value is None or isinstance(value, (bool, str, bytes)):
                problem = f"{name} must be numbers, got {value!r} in row {row}"
                raise InputError(where, problem, "Drop or mend these rows")
    try:
        return array.astype(np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(where, f"{name} must be numbers, got {array.dtype} ({error})") from error


def int32_array(values: npt.ArrayLike, name: str, where: object) -> np.ndarray:
    """Return whole numbers as int32; an error says which do not fit."""
    array = np.asarray(values)
    if array.size == 0:
        return np.zeros(0, dtype=np.int32)
    if array.dtype.kind not in "iu":
        raise InputError(where, f"{name} must be integers, got {array.dtype}")
    if array.min() < -(2**31) or array.max() >= 2**31:
        raise InputError(where, f"{name} must fit in 32 bits, got values from {array.min()} to {array.max()}")
    return array.astype(np.int32, copy=False)
