"""One fusion on the GPU: tables are uploaded once, fused step by step, and downloaded once."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from fusion.cuda.kernels.cells import MOST_CELLS, Rows, rows_like
from fusion.cuda.kernels.device import free_memory, out_of_memory, to_device
from fusion.cuda.kernels.rescore import copy_rows
from fusion.cuda.resident import CARRIED, NUMBERS, GpuPool, Origins, Resident
from fusion.cuda.steps import TWINS, UnsuitableError
from fusion.errors import InputError
from fusion.pool import Step, Tables, apply, check_agreement, dense, distinct, name_members
from fusion.table import DetectionTable

__all__ = ["Session"]

# An upper bound of what is on the GPU at once: a row as it was uploaded (54 bytes), pooled (54), sorted (70), what
# `wbf`, the largest operator, works with (120), and its answer (100).
_BYTES_PER_ROW = 400
_BYTES_PER_CELL = 16
_SMALLER = "Keep the tables as folders of parts, which are fused one at a time; or use --device cpu"


class Session:
    """Runs steps on the GPU where they have a twin, and on the CPU where they have none.

    Args:
        tables: All tables of the fusion.

    Raises:
        InputError: If the GPU's memory is too small for them.
    """

    def __init__(self, tables: Tables) -> None:
        inputs = (tables,) if isinstance(tables, DetectionTable) else tuple(tables)
        full = [table for table in inputs if len(table)]
        self._id_types = {table.arrow["image_id"].type for table in full}
        images = categories = np.zeros(0, np.int64)
        if len(self._id_types) == 1:  # other tables are refused by the step that pools them
            images = np.unique(np.concatenate([table.image_ids for table in full]))
            categories = np.unique(np.concatenate([distinct(table.category_id) for table in full]))
        _check_memory(sum(map(len, full)), len(images) * len(categories))
        self._origins = Origins(images, categories.astype(np.int32))
        self._uploaded: dict[int, Resident] = {}
        self._rows = 0

    def run(self, step: Step, tables: Tables) -> DetectionTable:
        """Run one step and return its table."""
        answer = self.apply(step, (tables,) if isinstance(tables, DetectionTable) else tables)
        return answer if isinstance(answer, DetectionTable) else answer.to_table()

    def apply(self, step: Step, inputs: "Sequence[DetectionTable | Resident]") -> "DetectionTable | Resident":
        """Run one step; its answer stays on the GPU if it was made there.

        Raises:
            InputError: If the tables do not go together, or the step refuses them.
        """
        twin = TWINS.get(type(step))
        if twin is not None and any(map(len, inputs)) and all(self._fits(table) for table in inputs):
            try:
                return twin(step, self._pool(inputs))
            except UnsuitableError:  # the CPU says what is wrong
                pass
            except Exception as error:
                if not out_of_memory(error):
                    raise
                problem = f"its memory was used up by {type(step).__name__}"
                raise InputError("device cuda", problem, _SMALLER) from error
        return apply(step, [table if isinstance(table, DetectionTable) else table.to_table() for table in inputs])

    def _fits(self, table: "DetectionTable | Resident") -> bool:
        """Whether a table can be on the GPU: nothing of it is lost there, and its ids are known."""
        if isinstance(table, Resident) or id(table) in self._uploaded or not len(table):
            return True
        if "soft_mask" in table.arrow.column_names:  # it belongs to its box, which a step may replace
            return False
        if table.arrow["image_id"].type not in self._id_types or len(self._id_types) > 1:
            return False
        known = np.isin(distinct(table.category_id), self._origins.category_ids).all()
        return bool(known and np.isin(table.image_ids, self._origins.image_ids).all())

    def _pool(self, inputs: "Sequence[DetectionTable | Resident]") -> GpuPool:
        residents = tuple(table if isinstance(table, Resident) else self._upload(table) for table in inputs)
        check_agreement(residents)
        members, codes = name_members(residents, [table.names for table in residents], shared=False)
        rows = residents[0].rows
        if len(residents) > 1:
            size = sum(map(len, residents))
            votes = all("votes" in table.optional for table in residents)
            rows = rows_like(rows, size, votes=votes)
            first = 0
            for table, own in zip(residents, codes, strict=True):
                copy_rows(len(table), table.rows, to_device(own), first, rows)
                first += len(table)
        return GpuPool(residents, rows, members)

    def _upload(self, table: DetectionTable) -> Resident:
        """Put a table on the GPU, unless it is there."""
        if id(table) not in self._uploaded:
            self._uploaded[id(table)] = Resident(
                self._origins,
                self._rows_of(table),
                None if table.member is None else tuple(table.member.dictionary.to_pylist()),
                tuple(table.column(name).dtype for name in NUMBERS),
                frozenset(name for name in (*CARRIED, "votes") if name in table.arrow.column_names),
                table.metadata,
            )
            # kept, so that no other table gets its id
            self._origins.tables.append(table)
            self._rows += len(table)
        return self._uploaded[id(table)]

    def _rows_of(self, table: DetectionTable) -> Rows:
        n = len(table)
        image = np.searchsorted(self._origins.image_ids, table.image_ids).astype(np.int32)
        member: Any = np.zeros(n, np.int16) if table.member is None else table.member.indices.to_numpy()
        votes = table.column("votes") if "votes" in table.arrow.column_names else np.zeros(0, np.int16)
        columns = (
            np.repeat(image, np.diff(table.image_start)),
            dense(table.category_id, self._origins.category_ids),
            *(table.column(name).astype(np.float64, copy=False) for name in NUMBERS),
            member.astype(np.int16, copy=False),
            np.arange(self._rows, self._rows + n, dtype=np.int32),
            votes,
        )
        return Rows._make(map(to_device, columns))


def _check_memory(rows: int, cells: int) -> None:
    need, free = rows * _BYTES_PER_ROW + cells * _BYTES_PER_CELL, free_memory()
    if need > free:
        problem = f"the tables need about {need / 2**30:.1f} GiB on the GPU, and {free / 2**30:.1f} GiB are free"
        raise InputError("device cuda", problem, _SMALLER)
    if rows >= 2**31 or cells > MOST_CELLS:
        problem = f"{rows:,} rows, or {cells:,} pairs of image and category, are too many at once"
        raise InputError("device cuda", problem, _SMALLER)
