"""The columns of a detection table: their names and types, and what is required of their values."""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fusion.arrays import STRING_IDS
from fusion.arrow_arrays import arrow_array, numpy_array
from fusion.corners import FAR
from fusion.errors import InputError
from fusion.soft_masks import SOFT_MASK_TYPE, check_soft_masks

__all__ = ["MASK_TYPE", "OPTIONAL", "check_values", "checked_schema", "single", "with_sorted_dictionary"]

MASK_TYPE = pa.struct([("height", pa.int32()), ("width", pa.int32()), ("counts", pa.large_binary())])
_SHORT = {  # of up to 2 GiB, as libraries make them
    pa.struct([*list(MASK_TYPE)[:2], ("counts", pa.binary())]): MASK_TYPE,
    pa.struct([*list(SOFT_MASK_TYPE)[:2], ("values", pa.list_(pa.float32()))]): SOFT_MASK_TYPE,
}
_NUMBERS = ("score", "x", "y", "w", "h")
_REQUIRED = ("image_id", "category_id", *_NUMBERS)
OPTIONAL = {
    "x2": pa.float64(),
    "y2": pa.float64(),
    "mask": MASK_TYPE,
    "soft_mask": SOFT_MASK_TYPE,
    "member": pa.dictionary(pa.int32(), pa.string()),
    "view": pa.dictionary(pa.int32(), pa.string()),
    "votes": pa.int16(),
}


def checked_schema(arrow: pa.Table, where: object) -> pa.Table:
    """Return a table with its columns in order, masks with offsets of 32 bits as those with 64.

    Raises:
        InputError: If one is missing, strange, there twice or of another type.
    """
    missing = [name for name in _REQUIRED if name not in arrow.column_names]
    if missing:
        raise InputError(
            where,
            f"column {', '.join(missing)} is missing; it has {', '.join(arrow.column_names)}",
            "A detection table needs " + ", ".join(_REQUIRED),
        )
    if len(set(arrow.column_names)) < len(arrow.column_names):
        raise InputError(where, "a column name occurs twice")
    names = [name for name in (*_REQUIRED, *OPTIONAL) if name in arrow.column_names]
    unknown = sorted(set(arrow.column_names) - set(names))
    if unknown:
        raise InputError(where, f"column {', '.join(unknown)} is not one of a detection table", "Drop it")
    for name in names:
        kind = arrow.schema.field(name).type
        if kind in _SHORT:
            arrow = arrow.set_column(arrow.column_names.index(name), name, arrow[name].cast(_SHORT[kind]))
            continue
        if not _type_fits(name, kind):
            raise InputError(where, f"column {name} is of type {kind}, expected {_expected(name)}")
    if len({arrow.schema.field(name).type for name in "xywh"}) > 1:
        raise InputError(where, "columns x, y, w, h are of different types")
    return arrow.select(names)


def _type_fits(name: str, kind: pa.DataType) -> bool:
    if name == "image_id":
        return kind in (pa.int64(), STRING_IDS)
    if name == "category_id":
        return bool(kind == pa.int32())
    if name in _NUMBERS:
        return kind in (pa.float64(), pa.float32())
    return bool(kind == OPTIONAL[name])


def _expected(name: str) -> str:
    if name == "image_id":
        return "int64 or dictionary<int32, string>"
    if name == "category_id":
        return "int32"
    return "float64 or float32" if name in _NUMBERS else str(OPTIONAL[name])


def check_values(arrow: pa.Table, where: object) -> None:
    """Check the values of a table whose columns are right.

    Raises:
        InputError: If one is null, not finite or impossible; rows are named.
    """
    for name in arrow.column_names:
        if name not in ("mask", "soft_mask", "view", *FAR.values()) and arrow[name].null_count:
            rows = np.flatnonzero(numpy_array(pc.is_null(arrow[name])))
            raise InputError(where, f"column {name} is null in {_rows(rows)}", "Every detection needs it")
    for name in _NUMBERS:
        values = numpy_array(arrow[name])
        wrong = np.flatnonzero(~np.isfinite(values))
        if len(wrong):
            raise InputError(where, f"column {name} is not finite in {_rows(wrong, values)}", "Drop or mend these rows")
        if name in "wh":
            wrong = np.flatnonzero(values < 0)
            if len(wrong):
                raise InputError(
                    where,
                    f"column {name} is negative in {_rows(wrong, values)}",
                    "If the boxes are xyxy, say so at import",
                )
    for near, size in (("x", "w"), ("y", "h")):
        if FAR[near] in arrow.column_names:
            _check_far(
                numpy_array(arrow[near]), numpy_array(arrow[size]), numpy_array(arrow[FAR[near]]), FAR[near], where
            )
    if "soft_mask" in arrow.column_names:
        check_soft_masks(single(arrow["soft_mask"]), where)


def _check_far(near: np.ndarray, size: np.ndarray, far: np.ndarray, name: str, where: object) -> None:
    """Require of a far side that is there that it is near + size but for rounding."""
    near, size = near.astype(np.float64, copy=False), size.astype(np.float64, copy=False)
    unit = np.spacing(np.maximum(np.maximum(np.abs(near), size), np.abs(far)))
    wrong = np.flatnonzero(~(np.isnan(far) | (np.isfinite(far) & (np.abs(near + size - far) <= 2 * unit))))
    if len(wrong):
        raise InputError(
            where,
            f"column {name} is not where the box ends in {_rows(wrong, far)}",
            f"Leave column {name} out where boxes have changed",
        )


def _rows(rows: np.ndarray, values: np.ndarray | None = None) -> str:
    shown = [f"row {row}" if values is None else f"row {row} ({values[row]:g})" for row in rows[:3]]
    return ", ".join(shown) + (f" and {len(rows) - 3} more" if len(rows) > 3 else "")


def with_sorted_dictionary(arrow: pa.Table) -> pa.Table:
    """Re-code string image ids so that the codes sort as the names do."""
    array = single(arrow["image_id"])
    names = array.dictionary.to_pylist()
    order = sorted(range(len(names)), key=names.__getitem__)
    if order == list(range(len(names))):
        return arrow
    code = np.empty(len(names), dtype=np.int32)
    code[order] = np.arange(len(names), dtype=np.int32)
    ids = pa.DictionaryArray.from_arrays(
        arrow_array(code[numpy_array(array.indices)]), arrow_array([names[i] for i in order], pa.string())
    )
    return arrow.set_column(arrow.column_names.index("image_id"), "image_id", ids)


def single(column: pa.ChunkedArray | pa.Array) -> Any:
    """Return a column as one array."""
    if isinstance(column, pa.Array):
        return column
    if column.num_chunks == 1:
        return column.chunk(0)
    return column.combine_chunks() if column.num_chunks else pa.nulls(0, column.type)
