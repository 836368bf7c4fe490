"""The detection table: the one form in which every member's detections are kept and passed on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fusion.arrays import box_columns, float_array, id_array, int32_array
from fusion.arrow_arrays import arrow_array, numpy_array
from fusion.belonging import Sketch
from fusion.corners import FAR, far_side
from fusion.errors import InputError
from fusion.printed_table import PrintedTable, notebook_html
from fusion.table_columns import OPTIONAL, check_values, checked_schema, single, with_sorted_dictionary

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["VERSION", "DetectionTable", "Metadata", "Part"]

VERSION = 2
_SHOWN = 5  # rows in a notebook


class Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which part of a table a file of a folder is.

    Attributes:
        rule: How images were dealt to parts; "id" stands for `fusion.storage.part_of`.
        count: Number of parts.
        number: This one, counted from 0, as in its file's name.
    """

    rule: str
    count: int
    number: int


class Metadata(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a table says about itself; stored as JSON in the Parquet schema.

    Attributes:
        version: Of this layout; a newer one than the software knows is refused.
        dataset: Name of the data set.
        split: Name of the split.
        unit: "pixel" or "normalized" boxes.
        categories: Fingerprint of the data set's categories; None when none were given at import.
        category_names: Sketch of the same: some of their ids and names.
        images: Sketch of the images of the ground truth it was imported against; None when none was given.
        member: Name of the model that made the detections; None for a table without a name.
        boxes: "given", or "from_masks" when the source had masks only and the boxes are their bounds.
        made_by: How the table was made: source files, recipe, package versions.
        part: Which part of a folder a file is; None for a whole table.
    """

    version: int = VERSION
    dataset: str | None = None
    split: str | None = None
    unit: str = "pixel"
    categories: str | None = None
    category_names: Sketch | None = None
    images: Sketch | None = None
    member: str | None = None
    boxes: str = "given"
    made_by: Mapping[str, Any] = msgspec.field(default_factory=dict)
    part: Part | None = None


@dataclass(frozen=True)
class DetectionTable:
    """Detections of one member (or a fusion) over many images, in columns, sorted by image id.

    Columns: `image_id` (int64, or string as a dictionary), `category_id` int32, `score`, `x`, `y`,
    `w`, `h` (float64 or float32; COCO xywh, half-open, in pixels unless the metadata says
    normalized), and optionally `x2` and `y2` (float64; the far sides that the source gave where x + w and
    y + h are not them, null elsewhere), `mask` (COCO compressed RLE), `soft_mask` (probabilities in the
    box), `member`, `view`, `votes`. Rows of one image are in the order of their source. Build one with
    `from_arrays` or `read_table`; both validate, so that code behind them needs no checks of its own.

    Attributes:
        arrow: The columns.
        metadata: What the table says about itself.
    """

    arrow: pa.Table
    metadata: Metadata

    @classmethod
    def from_arrays(
        cls,
        *,
        image_id: npt.ArrayLike,
        category_id: npt.ArrayLike,
        score: npt.ArrayLike,
        xywh: npt.ArrayLike | tuple[npt.ArrayLike, ...] | None = None,
        xyxy: npt.ArrayLike | None = None,
        mask: pa.Array | pa.ChunkedArray | None = None,
        soft_mask: pa.Array | pa.ChunkedArray | None = None,
        member: Sequence[str] | pa.Array | None = None,
        view: Sequence[str] | pa.Array | None = None,
        votes: npt.ArrayLike | None = None,
        metadata: Metadata | None = None,
        where: object = "detections",
    ) -> "DetectionTable":
        """Make a table from arrays in any image order.

        Args:
            image_id: [n] integers or strings.
            category_id: [n] integers.
            score: [n] float64 or float32; any finite number.
            xywh: [n, 4] float64 or float32, or a tuple of the four columns.
            xyxy: [n, 4] corners instead, kept to the last bit as float64.
            mask: [n] Arrow structs (height, width, counts); null where a detection has no mask.
            soft_mask: [n] Arrow structs of `fusion.soft_masks`; null where a detection has none.
            member: [n] names of the models the rows come from.
            view: [n] names of the test-time-augmentation views.
            votes: [n] number of members that support each detection.
            metadata: What the table says about itself.
            where: Name of the source for error messages.

        Raises:
            InputError: If lengths differ, or a value is not usable; rows are named.
        """
        ids = id_array(image_id, where)
        boxes, far = box_columns(xywh, xyxy, where)
        columns: dict[str, Any] = {
            "image_id": ids,
            "category_id": int32_array(category_id, "category_id", where),
            "score": float_array(score, "score", where),
        }
        columns.update(zip("xywh", boxes, strict=True))
        columns.update(far)
        for name, structs in (("mask", mask), ("soft_mask", soft_mask)):
            if structs is not None:
                columns[name] = structs
        for name, names in (("member", member), ("view", view)):
            if names is not None:
                columns[name] = (
                    (names if isinstance(names, pa.Array) else arrow_array(names)).cast(pa.string()).dictionary_encode()
                    if len(names)
                    else pa.array([], OPTIONAL[name])
                )
        if votes is not None:
            columns["votes"] = np.asarray(votes, dtype=np.int16)
        arrays = {
            name: column if isinstance(column, (pa.Array, pa.ChunkedArray)) else arrow_array(column)
            for name, column in columns.items()
        }
        for name, array in arrays.items():
            if len(array) != len(ids):
                raise InputError(where, f"column {name} has {len(array)} rows where image_id has {len(ids)}")
        return cls.from_arrow(pa.table(arrays), metadata or Metadata(), where)

    @classmethod
    def from_arrow(cls, arrow: pa.Table, metadata: Metadata, where: object = "detections") -> "DetectionTable":
        """Make a table from Arrow columns: check every rule, then sort by image id (stable).

        Raises:
            InputError: If a column is missing, of another type, or holds a value that is not allowed.
        """
        arrow = checked_schema(arrow, where).combine_chunks()
        check_values(arrow, where)
        ids = arrow["image_id"]
        if pa.types.is_dictionary(ids.type):
            arrow = with_sorted_dictionary(arrow)
            keys = numpy_array(arrow["image_id"].combine_chunks().indices)
        else:
            keys = numpy_array(ids)
        if not bool(np.all(keys[1:] >= keys[:-1])):
            arrow = arrow.take(arrow_array(np.argsort(keys, kind="stable"))).combine_chunks()
        return cls(arrow.replace_schema_metadata(None), metadata)

    def __len__(self) -> int:
        return int(self.arrow.num_rows)

    def __repr__(self) -> str:
        named = "" if self.metadata.member is None else f" of {self.metadata.member!r}"
        more = [name for name in OPTIONAL if name in self.arrow.column_names]
        columns = f"; also {', '.join(more)}" if more else ""
        return f"DetectionTable({len(self):,} detections{named} on {len(self.image_ids):,} images{columns})"

    def _repr_html_(self) -> str:
        shown = [name for name in self.arrow.column_names if name not in ("mask", "soft_mask")]
        rows = self.arrow.select(shown).slice(0, _SHOWN)
        table = PrintedTable.of(shown, zip(*(rows[name].to_pylist() for name in shown), strict=True))
        table.title = f"the first {rows.num_rows} detections"
        return notebook_html(self, table)

    def to_pandas(self) -> "pd.DataFrame":
        """Return the columns as a data frame, a row per detection, in the order of the table.

        Names (`member`, `view`, image ids of text) are categorical; a mask is a mapping of height, width and counts.
        """
        return self.arrow.to_pandas()

    def column(self, name: str) -> Any:
        """Return a numeric column as a NumPy array without copying."""
        return numpy_array(self.arrow[name])

    @cached_property
    def image_id(self) -> np.ndarray:
        """[n] int64, or an object array of str."""
        return np.repeat(self.image_ids, np.diff(self.image_start))

    @cached_property
    def image_ids(self) -> np.ndarray:
        """The images that have detections, ascending: int64, or an object array of str."""
        ids = self.arrow["image_id"]
        if pa.types.is_dictionary(ids.type):
            array = single(ids)
            names = np.array(array.dictionary.to_pylist(), dtype=object)
            return names[numpy_array(array.indices)[self.image_start[:-1]]] if len(self) else names[:0]
        return np.ascontiguousarray(numpy_array(ids)[self.image_start[:-1]])

    @cached_property
    def image_start(self) -> np.ndarray:
        """int64 [images + 1]: offsets of the rows of each image in `image_ids` (CSR)."""
        ids = self.arrow["image_id"]
        keys = numpy_array(single(ids).indices) if pa.types.is_dictionary(ids.type) else numpy_array(ids)
        if len(keys) == 0:
            return np.zeros(1, dtype=np.int64)
        return np.concatenate(([0], np.flatnonzero(keys[1:] != keys[:-1]) + 1, [len(keys)])).astype(np.int64)

    def rows_of(self, image_id: int | str) -> np.ndarray:
        """Return the rows of an image, int64 [n]; none of one without detections."""
        place = int(np.searchsorted(self.image_ids, image_id))
        if place == len(self.image_ids) or self.image_ids[place] != image_id:
            return np.zeros(0, np.int64)
        return np.arange(self.image_start[place], self.image_start[place + 1])

    @property
    def category_id(self) -> np.ndarray:
        """[n] int32."""
        return self.column("category_id")  # type: ignore[no-any-return]

    @property
    def score(self) -> np.ndarray:
        """[n] float64 or float32."""
        return self.column("score")  # type: ignore[no-any-return]

    @property
    def xywh(self) -> np.ndarray:
        """[n, 4], a copy."""
        return np.stack([self.column(name) for name in "xywh"], axis=1)

    def known_far(self, near: str) -> np.ndarray | None:
        """Return the x2 ("x") or y2 ("y") that x + w or y + h is not, float64 [n], NaN elsewhere; None without any."""
        return self.column(FAR[near]) if FAR[near] in self.arrow.column_names else None

    def far(self, near: str) -> np.ndarray:
        """Return the far side of the boxes: x2 of "x" or y2 of "y", float64 [n]."""
        return far_side(self.column(near), self.column({"x": "w", "y": "h"}[near]), self.known_far(near))

    @property
    def mask(self) -> pa.StructArray | None:
        """[n] structs (height, width, counts), null where a detection has none; None without the column."""
        return single(self.arrow["mask"]) if "mask" in self.arrow.column_names else None

    @property
    def soft_mask(self) -> pa.StructArray | None:
        """[n] structs (height, width, values), null where a detection has none; None without the column."""
        return single(self.arrow["soft_mask"]) if "soft_mask" in self.arrow.column_names else None

    @property
    def member(self) -> pa.DictionaryArray | None:
        """[n] names of the models the rows come from; None without the column."""
        return single(self.arrow["member"]) if "member" in self.arrow.column_names else None

    def with_metadata(self, **changes: Any) -> "DetectionTable":
        """Return the same columns with some of the metadata changed."""
        return replace(self, metadata=msgspec.structs.replace(self.metadata, **changes))

    def with_scores(self, score: np.ndarray) -> "DetectionTable":
        """Return the same rows with other scores, float64 [n], finite."""
        place = self.arrow.column_names.index("score")
        return replace(self, arrow=self.arrow.set_column(place, "score", arrow_array(score)))

    def select_images(self, image_ids: npt.ArrayLike) -> "DetectionTable":
        """Return the rows of some images; ids without detections are fine."""
        keep = np.repeat(np.isin(self.image_ids, np.asarray(image_ids)), np.diff(self.image_start))
        return replace(self, arrow=self.arrow.filter(arrow_array(keep)).combine_chunks())

    def select_categories(self, category_ids: npt.ArrayLike) -> "DetectionTable":
        """Return the rows of some categories; ids without detections are fine."""
        keep = np.isin(self.category_id, np.asarray(category_ids))
        return replace(self, arrow=self.arrow.filter(arrow_array(keep)).combine_chunks())
