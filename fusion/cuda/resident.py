"""Tables that are on the GPU, and the way back from there."""

from dataclasses import dataclass, field, replace
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from fusion.agreement import agreed_metadata
from fusion.corners import FAR, unlike_sum
from fusion.cuda.kernels.cells import GpuColumns, Rows, sort_rows
from fusion.cuda.kernels.device import empty, filled, to_device, to_host
from fusion.cuda.kernels.rescore import number_inputs
from fusion.members import label
from fusion.on_cpu import id_column, taken
from fusion.table import DetectionTable, Metadata

__all__ = ["CARRIED", "NUMBERS", "GpuPool", "Origins", "Resident", "UnsuitableError"]

NUMBERS = ("score", "x", "y", "w", "h")
CARRIED = ("mask", "view")
_FLOAT64 = np.dtype(np.float64)


class UnsuitableError(Exception):
    """The twin cannot take this input; the step on the CPU can, or says what is wrong with it."""


@dataclass(frozen=True)
class Origins:
    """What rows on the GPU refer to.

    Attributes:
        image_ids: Ids of all images, ascending: int64, or object array of str.
        category_ids: int32, ids of all categories, ascending.
        tables: What was put on the GPU so far; `Rows.origin` counts through them.
        masks: The masks of those tables on the GPU, by how many tables there were; see `masking`.
        views: Their views, likewise; see `views`.
    """

    image_ids: np.ndarray
    category_ids: np.ndarray
    tables: list[DetectionTable] = field(default_factory=list)
    masks: dict[int, Any] = field(default_factory=dict)
    views: dict[int, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Resident:
    """A table on the GPU: what a step with a twin answers with.

    Attributes:
        origins: Where its ids and its rows' other columns are.
        rows: The numbers, on the GPU.
        names: Models behind the rows, by `rows.member`; None for a table that is a member itself.
        kinds: float32 or float64, of score, x, y, w, h in the table that it stands for.
        optional: Which of the columns "x2", "y2", "mask", "soft_mask", "view" and "votes" it has.
        metadata: What the table says about itself.
    """

    origins: Origins
    rows: Rows
    names: tuple[str, ...] | None
    kinds: tuple[np.dtype[Any], ...]
    optional: frozenset[str]
    metadata: Metadata

    def __len__(self) -> int:
        return len(self.rows.image)

    def with_metadata(self, **changes: Any) -> "Resident":
        """Return the same rows with some of the metadata changed."""
        return replace(self, metadata=msgspec.structs.replace(self.metadata, **changes))

    def to_table(self) -> DetectionTable:
        """Copy the rows from the GPU and make the table of them."""
        image, category, *numbers, x2, y2, member, origin, votes = map(to_host, self.rows)
        data = {
            "image_id": id_column(self.origins.image_ids, image),
            "category_id": pa.array(self.origins.category_ids[category]),
        }
        for name, kind, column in zip(NUMBERS, self.kinds, numbers, strict=True):
            data[name] = pa.array(column.astype(kind, copy=False))
        _, x, y, w, h = numbers
        for name, near, size, far in (("x2", x, w, x2), ("y2", y, h, y2)):
            if name in self.optional:
                data[name] = pa.array(unlike_sum(near, size, far), from_pandas=True)
        for name in CARRIED:
            if name in self.optional:
                data[name] = taken(self.origins.tables, name, origin)
        if self.names is not None:
            names = pa.array(self.names, pa.string())
            data["member"] = pa.DictionaryArray.from_arrays(pa.array(member.astype(np.int32)), names)
        if "votes" in self.optional:
            data["votes"] = pa.array(votes)
        return DetectionTable.from_arrow(pa.table(data), self.metadata, "fusion")


@dataclass(frozen=True)
class GpuPool:
    """The inputs of one step on the GPU, one behind the other.

    Attributes:
        inputs: The inputs, at least one.
        rows: Their rows; `rows.member` counts through `members`.
        members: Names of the models behind the rows.
    """

    inputs: tuple[Resident, ...]
    rows: Rows
    members: tuple[str, ...]

    @property
    def origins(self) -> Origins:
        """What the rows refer to."""
        return self.inputs[0].origins

    @property
    def labels(self) -> list[str]:
        """What the inputs are called."""
        return [label(self.inputs, number) for number in range(len(self.inputs))]

    def input_of_rows(self) -> Any:
        """Return which of the inputs each row is of: int16 [n] on the GPU."""
        size = len(self.rows.image)
        number = empty(size, np.int16)
        number_inputs(size, to_device(np.cumsum([len(table) for table in self.inputs]).astype(np.int32)), number)
        return number

    def sorted(self, score: Any = None, used: Any = None, categories: int | None = None) -> GpuColumns:
        """Return the rows sorted into cells; by other scores, without some, or into cells of whole images (1)."""
        rows, origins = self.rows, self.origins
        return sort_rows(
            rows,
            rows.score if score is None else score,
            filled(len(rows.image), np.int8, 1) if used is None else used,
            len(origins.image_ids),
            categories or len(origins.category_ids),
        )

    def kept(self, rows: Rows, *, own_scores: bool = False) -> Resident:
        """Return rows that keep their boxes as the answer; with `own_scores`, also the type of their scores."""
        kinds = tuple(np.result_type(*kinds) for kinds in zip(*(source.kinds for source in self.inputs), strict=True))
        return self._answer(rows, self.members, kinds if own_scores else (_FLOAT64, *kinds[1:]), new_boxes=False)

    def made(self, rows: Rows) -> Resident:
        """Return new boxes, with votes, as the answer."""
        return self._answer(rows, None, (_FLOAT64,) * 5, new_boxes=True)

    def _answer(
        self, rows: Rows, names: tuple[str, ...] | None, kinds: tuple[np.dtype[Any], ...], *, new_boxes: bool
    ) -> Resident:
        columns = [source.optional for source in self.inputs]
        optional = frozenset().union(*columns) - {"votes"}
        if new_boxes:
            optional -= {"soft_mask", *FAR.values()}
        if new_boxes or all("votes" in names for names in columns):
            optional |= {"votes"}
        metadata = agreed_metadata(self.inputs, new_boxes)
        return Resident(self.origins, rows, names, kinds, optional, metadata)
