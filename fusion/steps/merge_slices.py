"""Merging what one member found in the slices of large images."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa

from fusion.arrow_arrays import arrow_array, numpy_array
from fusion.columns import Sources
from fusion.errors import InputError, option
from fusion.kernels.jit import chunks, joined, run
from fusion.kernels.slices import claim_cells, grow, unite
from fusion.kernels.suppress import NmsScratch, Picked
from fusion.masks import MaskText, joined_masks, mask_text, mask_texts, unreadable
from fusion.on_cpu import to_table
from fusion.pool import Pool, pool_tables
from fusion.slices import check_offsets, offsets_of, read_offsets
from fusion.soft_masks import SOFT_MASK_TYPE
from fusion.steps.base import Rebuilt, check, parameter
from fusion.suppression import suppress
from fusion.table import DetectionTable
from fusion.table_columns import MASK_TYPE

__all__ = ["MergeSlices"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeSlices:
    """Move boxes and masks from the slices of an image to where they belong, and merge those of one object.

    A slice is a view: boxes are as found in it, `image_id` is that of the whole image, the column `view` names the
    slice, and `offsets` say where its upper left corner lies. A table without the column is one view, called as its
    member; the whole image beside its slices has offset 0, 0. For masks, the offsets say the size of the whole image
    as well; pixels outside of it are cut off.

    Boxes of an (image, category) cell are taken by score, ties by row. Each claims those behind it, not claimed yet,
    that overlap it by at least `threshold`: "ios" is the intersection over the smaller of the two boxes, "iou" over
    their union. Then

    - "union" (greedy non-maximum merging): the box grows around those that it claimed, best first; one that no longer
      overlaps the grown box by the threshold is dropped without effect. The mask is the union of the masks of all that
      it grew around. A soft mask belongs to a box that is gone, and goes too.
    - "best": the box stays as it is, with its mask; what it claimed is dropped.

    The score is the best one's. These are the answers of SAHI's GreedyNMMPostprocess and NMSPostprocess, category by
    category, but for ties, which go by coordinates there, and for a union with a detection without a mask, which there
    has none. The answer has no column `view`. With sources, a box comes with all that it claimed.
    """

    offsets: Mapping[str, Sequence[int]] = field(
        metadata=parameter(
            "Where the slice of each view lies, and the size of its image: [x, y] or [x, y, width, height] in pixels.",
            files={"offsets": "CSV (view,x,y or view,x,y,width,height) or TOML: where slices lie. [required]"},
            read=read_offsets,
            sample="slices.csv",
        )
    )
    measure: str = field(
        default="ios",
        metadata=parameter("Overlap: shared area over the smaller box, or over the union.", choices=("ios", "iou")),
    )
    threshold: float = field(
        default=0.5, metadata=parameter("Boxes that overlap by this or more are merged.", above=0.0, high=1.0)
    )
    merge: str = field(
        default="union",
        metadata=parameter(
            "What becomes of merged boxes: the box around them, or the best.", choices=("union", "best")
        ),
    )

    def __post_init__(self) -> None:
        check(self)
        # a file gives lists, and equal steps should be equal
        object.__setattr__(self, "offsets", check_offsets(self.offsets))

    def fuse(self, pool: Pool, sources: bool = False) -> Rebuilt:
        """Return the merged detections in whole images.

        Raises:
            InputError: If boxes are normalized, a view has no offset, a mask cannot be read, or its image has no size.
        """
        if pool.tables[0].metadata.unit != "pixel":
            raise InputError("merge_slices", "offsets are in pixels, and the boxes are normalized", "Use pixel boxes")
        offset = offsets_of(self.offsets, pool)
        masked = _check_sizes(pool, offset)
        whole = pool_tables(_moved(pool, offset), shared=True)
        columns, smaller, threshold = whole.columns, self.measure == "ios", float(self.threshold)

        def claim(low: int, high: int, _work: NmsScratch, out: Picked) -> int:
            return int(claim_cells(columns, low, high, smaller, threshold, out))

        fused = suppress(columns, claim, True)
        start, row = behind = fused.sources or Sources(np.zeros(1, np.int64), np.zeros(0, np.int64))
        taken = np.zeros(len(row), bool)
        taken[start[:-1]] = True
        if self.merge == "union":
            corners = np.empty((len(fused.row), 4))
            x, y = (whole.column(name).astype(np.float64, copy=False) for name in "xy")
            grow(start, row, x, y, whole.far("x"), whole.far("y"), smaller, threshold, corners, taken)
            fused = fused._replace(corners=corners)
        table = to_table(whole, fused, columns.image[fused.cell], columns.category[fused.cell])
        if any("mask" in one.arrow.column_names for one in pool.tables):
            table = _with_masks(table, pool, offset, behind, taken & masked[row])
        return Rebuilt(table, fused.row, behind if sources else None)


def _given(table: DetectionTable, name: str) -> np.ndarray:
    """Return which rows have a mask (or soft mask): bool [n]."""
    if name not in table.arrow.column_names:
        return np.zeros(len(table), bool)
    return numpy_array(table.arrow[name].is_valid())


def _check_sizes(pool: Pool, offset: np.ndarray) -> np.ndarray:
    """Require the size of the whole image, one of each, where there are masks; return which rows have one."""
    masked = np.concatenate([_given(table, "mask") for table in pool.tables])
    rows = np.flatnonzero(masked | np.concatenate([_given(table, "soft_mask") for table in pool.tables]))
    unknown = rows[offset[rows, 2] == 0]
    if len(unknown):
        raise InputError(
            f"option {option('offsets')}",
            "there are masks, and not all views say how large the whole image is",
            "Add its width and height: view,x,y,width,height in CSV, [x, y, width, height] in TOML",
        )
    image = pool.image()[rows]
    first = np.zeros(len(pool.image_ids), np.int64)
    first[image[::-1]] = rows[::-1]
    wrong = rows[(offset[rows, 2:] != offset[first[image], 2:]).any(axis=1)]
    if len(wrong):
        one, other = (" x ".join(map(str, offset[row, 2:])) for row in (first[pool.image()[wrong[0]]], wrong[0]))
        raise InputError(
            f"option {option('offsets')}",
            f"views of image {pool.image_ids[pool.image()[wrong[0]]]} are of images of {one} and {other} pixels",
            "Give the views of one image the same width and height",
        )
    return masked


def _moved(pool: Pool, offset: np.ndarray) -> list[DetectionTable]:
    """Return the tables with boxes and soft masks in whole images, without masks and views."""
    tables, end = [], 0
    for table in pool.tables:
        begin, end = end, end + len(table)
        own = offset[begin:end]
        names = [name for name in table.arrow.column_names if name not in ("mask", "view")]
        arrow = table.arrow.select(names)
        for name, by in (("x", own[:, 0]), ("y", own[:, 1]), ("w", 0), ("h", 0), ("x2", own[:, 0]), ("y2", own[:, 1])):
            if name in names:
                values = pa.array(table.column(name).astype(np.float64) + by, from_pandas=True)
                arrow = arrow.set_column(names.index(name), name, values)
        if table.soft_mask is not None:
            _, _, values = table.soft_mask.flatten()
            sizes: list[pa.Array] = [arrow_array(own[:, side].astype(np.int32)) for side in (3, 2)]
            maps = pa.StructArray.from_arrays(
                [*sizes, values], fields=list(SOFT_MASK_TYPE), mask=arrow_array(~_given(table, "soft_mask"))
            )
            arrow = arrow.set_column(names.index("soft_mask"), "soft_mask", maps)
        tables.append(replace(table, arrow=arrow.combine_chunks()))
    return tables


def _with_masks(
    table: DetectionTable, pool: Pool, offset: np.ndarray, behind: Sources, used: np.ndarray
) -> DetectionTable:
    """Give each row the union of the masks that are used of its sources, null where there is none."""
    own = [pa.nulls(len(one), MASK_TYPE) if one.mask is None else one.mask for one in pool.tables]
    text = MaskText._make(joined_masks(list(map(mask_text, own))))
    start, row = np.concatenate(([0], np.cumsum(used)))[behind.start], behind.row[used]

    def task(low: int, high: int) -> tuple[np.ndarray, ...]:
        texts, length, wrong = unite(low, high, start, row, text, offset)
        if wrong >= 0:
            raise unreadable(pool, text, wrong)
        return texts, length

    texts, length = joined(run(task, chunks(start, 8192)) or [(np.zeros(0, np.uint8), np.zeros(0, np.int64))])
    has = np.diff(start) > 0
    lead = np.zeros(len(has), np.int64)
    lead[has] = row[start[:-1][has]]
    sizes: list[pa.Array] = [arrow_array(np.where(has, offset[lead, side], 0).astype(np.int32)) for side in (3, 2)]
    masks = pa.StructArray.from_arrays(
        [*sizes, mask_texts(texts, length)], fields=list(MASK_TYPE), mask=arrow_array(~has)
    )
    return DetectionTable.from_arrow(table.arrow.append_column("mask", masks), table.metadata, "merge_slices")
