"""Element dropout: of one input only the scores, or only the boxes, are used."""

from dataclasses import dataclass, field, replace
from typing import ClassVar

import msgspec
import numpy as np

from fusion.arrow_arrays import arrow_array
from fusion.columns import Sources
from fusion.errors import InputError
from fusion.kernels.jit import chunks, run
from fusion.kernels.partners import pair_cells
from fusion.pool import Pool
from fusion.steps.base import Rebuilt, check, parameter
from fusion.table import DetectionTable
from fusion.table_columns import OPTIONAL

__all__ = ["PARTS", "Dropout"]

PARTS = ("scores", "boxes")


@dataclass(frozen=True, slots=True, kw_only=True)
class Dropout:
    """Use only the scores, or only the boxes, of the first of two inputs.

    Source: mmfruit-openimages2019, sec. 4.2 ("only use the classification score or bounding box information of a
    model"), which says no more. Here the partner of a detection of `left` is the detection of `right`, in the
    same image and category, whose IoU with it is largest and above the threshold; of equals the one of higher score,
    then the first row. If several have the same partner, the one of highest score keeps it (ties: the first
    row). The pairs are the same for both parts:

    - "scores": the box, mask and view of `right`'s detection with the score of `left`'s,
    - "boxes": the box, mask and view of `left`'s detection with the score of `right`'s.

    Detections of `left` without a partner have no box to move to, or no score to take, and are dropped. What is
    left counts as found by `left`: it is what `left` still contributes, to be fused with `right`, which is not
    in the answer. A recipe says so:

        [nodes.left_scores]
        step = "dropout"
        inputs = ["left", "right"]
        part = "scores"

        [nodes.output]
        step = "adj_nms"
        inputs = ["left_scores", "right"]

    Rows of an image are in the order of the input that gives the boxes. `Rebuilt.row` is the row that gives the
    box; sources are the two rows of a pair, the one of higher score first.
    """

    shares_members: ClassVar[bool] = True  # two fusions of one member can be left and right

    part: str = field(default="scores", metadata=parameter("What is used of the first table.", choices=PARTS))
    iou: float = field(default=0.5, metadata=parameter("What the IoU of partners must exceed.", low=0.0, high=1.0))

    def __post_init__(self) -> None:
        check(self)

    def fuse(self, pool: Pool, sources: bool = False) -> Rebuilt:
        """Return what `left` still contributes."""
        if len(pool.tables) != 2:
            raise InputError("dropout", f"expected two inputs, left and right, got {len(pool.tables)}")
        left, right = pool.tables
        columns, threshold = pool.columns, float(self.iou)
        seeking = np.arange(len(columns.row)) < len(left)
        partner, taken = np.empty(len(seeking), np.int64), np.zeros(len(seeking), dtype=bool)
        run(
            lambda low, high: pair_cells(columns, low, high, seeking, threshold, True, taken, partner),
            chunks(columns.start),
        )
        own = np.flatnonzero(partner >= 0)
        other = partner[own]
        by_box = other if self.part == "scores" else own
        order = np.argsort(by_box)
        own, other, box = own[order], other[order], by_box[order]
        score = pool.column("score").astype(np.float64, copy=False)
        if self.part == "scores":
            table = _mixed(right, box - len(left), score[own], left, own)
        else:
            table = _mixed(left, box, score[other], left, own)
        pairs = np.stack([own, other], axis=1)
        pairs[score[own] < score[other]] = pairs[score[own] < score[other], ::-1]
        both = Sources(2 * np.arange(len(own) + 1), pairs.ravel()) if sources else None
        return Rebuilt(table, box, both)


def _mixed(
    boxes: DetectionTable, box: np.ndarray, score: np.ndarray, left: DetectionTable, own: np.ndarray
) -> DetectionTable:
    """Take the rows `box` of a table, with other scores, as found by the members of the rows `own` of left."""
    arrow = boxes.arrow.take(arrow_array(box)).combine_chunks()
    arrow = arrow.set_column(arrow.column_names.index("score"), "score", arrow_array(score))
    arrow = arrow.drop_columns([name for name in ("member", "votes") if name in arrow.column_names])
    if left.member is not None:
        arrow = arrow.append_column("member", left.member.take(arrow_array(own)))
        optional = [name for name in OPTIONAL if name in arrow.column_names]
        arrow = arrow.select([name for name in arrow.column_names if name not in OPTIONAL] + optional)
    name = left.metadata.member or "table0"
    return replace(boxes, arrow=arrow, metadata=msgspec.structs.replace(boxes.metadata, member=name, made_by={}))
