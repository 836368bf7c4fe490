"""A step on the CPU, and the way back from its answer to a table."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from fusion.agreement import agreed_metadata
from fusion.arrow_arrays import arrow_array
from fusion.columns import Columns, Fused, Sources, fuse_in_ranges
from fusion.corners import FAR
from fusion.pool import Pool, Tables, pool_tables
from fusion.steps.base import Rebuilt, Rescored, Step
from fusion.table import DetectionTable
from fusion.table_columns import OPTIONAL

__all__ = ["fuse_tables", "id_column", "taken", "to_table", "trace"]


def fuse_tables(step: Step, tables: Tables) -> DetectionTable:
    """Run one step.

    Raises:
        InputError: If the tables do not go together, or the step refuses them.
    """
    return _run(step, pool_tables(tables, shared=getattr(step, "shares_members", False)), sources=False)[0]


def trace(step: Step, tables: Tables) -> tuple[DetectionTable, Sources]:
    """Run one step and report which input rows each fused detection came from.

    Returns:
        The fused table, and per row of it the rows of the inputs, counted through the tables in the
        order given, best score first.
    """
    pool = pool_tables(tables, shared=getattr(step, "shares_members", False))
    table, answer = _run(step, pool, sources=True)
    sources: Sources | None = getattr(answer, "sources", None)
    return table, sources or Sources(np.arange(len(answer.row) + 1), answer.row)


def _run(step: Step, pool: Pool, *, sources: bool) -> tuple[DetectionTable, Fused | Rescored | Rebuilt]:
    """Run a step on a pool; return the table and, where sources are asked for in its order, the step's answer."""
    answer: Fused | Rescored | Rebuilt
    if getattr(step, "cellwise", False):
        answer, image, category = fuse_in_ranges(pool.sorter(), lambda columns: _fuse(step, pool, columns, sources))
    else:
        answer = step.fuse(pool, sources)
        if isinstance(answer, Fused):
            image, category = pool.columns.image, pool.columns.category
            pool.forget_columns()
    if isinstance(answer, Rebuilt):
        table = answer.table
    elif isinstance(answer, Rescored):
        if sources:
            answer = _in_image_order(pool, answer)
        table = to_table(pool, answer, pool.image()[answer.row], pool.category()[answer.row])
    else:
        table = to_table(pool, answer, image[answer.cell], category[answer.cell])
    return table, answer


def _fuse(step: Step, pool: Pool, columns: Columns, sources: bool) -> Fused:
    answer = step.fuse(pool.with_columns(columns), sources)
    if not isinstance(answer, Fused):
        raise TypeError(f"{type(step).__name__} is cellwise and must answer Fused, not {type(answer).__name__}")
    return answer


def _in_image_order(pool: Pool, rescored: Rescored) -> Rescored:
    """Sort rows by (image, row), the order they have in the table."""
    order = np.argsort(pool.image()[rescored.row], kind="stable")
    return Rescored(rescored.row[order], rescored.score[order])


def to_table(pool: Pool, fused: Fused | Rescored, image: np.ndarray, category: np.ndarray) -> DetectionTable:
    """Build the table of an operator's answer, whose rows are of these dense image and category indices.

    Rows that keep their box keep its every bit, and the name of their member. New boxes come from
    several members: such a table is a member of its own and has no `member` column.
    """
    corners, votes = (None, None) if isinstance(fused, Rescored) else (fused.corners, fused.votes)
    data = {
        "image_id": id_column(pool.image_ids, image),
        "category_id": arrow_array(pool.category_ids[category]),
        "score": arrow_array(fused.score),
    }
    if corners is None:
        data.update((name, arrow_array(pool.column(name)[fused.row])) for name in "xywh")
    else:
        x1, y1, x2, y2 = corners.T
        for name, values in zip("xywh", (x1, y1, x2 - x1, y2 - y1), strict=True):
            data[name] = arrow_array(np.ascontiguousarray(values))
    # a soft mask belongs to the box that it was made for, as do the far sides that its source gave
    for name in (*FAR.values(), "mask", "soft_mask", "view") if corners is None else ("mask", "view"):
        if any(name in table.arrow.column_names for table in pool.tables):
            data[name] = taken(pool.tables, name, fused.row)
    if corners is None:
        names = arrow_array(pool.members, pa.string())
        data["member"] = pa.DictionaryArray.from_arrays(arrow_array(pool.member[fused.row].astype(np.int32)), names)
    if votes is not None:
        data["votes"] = arrow_array(votes)
    elif all("votes" in table.arrow.column_names for table in pool.tables):
        data["votes"] = arrow_array(pool.column("votes")[fused.row])
    return DetectionTable.from_arrow(pa.table(data), agreed_metadata(pool.tables, corners is not None), "fusion")


def id_column(ids: np.ndarray, index: np.ndarray) -> pa.Array:
    """Return image ids, int64 or names, by index as a table's column."""
    if ids.dtype == object:
        return pa.DictionaryArray.from_arrays(arrow_array(index.astype(np.int32)), arrow_array(ids, pa.string()))
    return arrow_array(ids[index] if len(ids) else np.zeros(0, np.int64))


def taken(tables: Sequence[DetectionTable], name: str, rows: np.ndarray) -> pa.Array:
    """Return an optional column by row; rows of tables without it are null."""
    kind = OPTIONAL[name]
    chunks = [
        table.arrow[name] if name in table.arrow.column_names else pa.chunked_array([pa.nulls(len(table), kind)])
        for table in tables
    ]
    column = pa.chunked_array([chunk for part in chunks for chunk in part.chunks], kind)
    return column.take(arrow_array(rows)).combine_chunks()
