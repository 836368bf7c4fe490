"""Correction of boxes: each member's brought to where the annotators draw them."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np
import pyarrow as pa

from fusion.arrow_arrays import arrow_array
from fusion.box_corrections import BoxCorrection, read_corrections
from fusion.checks import listing
from fusion.corners import FAR
from fusion.equal_boxes import image_order
from fusion.errors import InputError
from fusion.moved_masks import moved_masks
from fusion.on_cpu import fuse_tables
from fusion.pool import Pool
from fusion.steps.base import Rebuilt, check, parameter
from fusion.steps.concat import Concat
from fusion.table import DetectionTable

__all__ = ["CorrectBoxes"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CorrectBoxes:
    """Move the sides of each member's boxes by what was learned of them; see `BoxCorrection`.

    Detectors, and pose estimators even more, draw boxes that are a little too small, too large or shifted, each in its
    own way; averaged, they spoil each other. Scores, order and members stay. Run-length masks stay too, so that
    measured by masks nothing changes; with `masks="shift"` they are moved and scaled as their boxes, to the nearest
    pixel. A soft mask lies in its box, wherever that is.
    """

    compares_scores: ClassVar[bool] = False

    corrections: Mapping[str, BoxCorrection] = field(
        metadata=parameter(
            "Correction of each member; every one needs an entry.",
            files={"corrections": "Corrections of the members: what `quorum learn boxes` wrote. [required]"},
            learned=True,
            build=read_corrections,
            sample="boxes.toml",
        )
    )
    masks: str = field(
        default="keep",
        metadata=parameter("Whether masks stay, or are moved and scaled as their boxes.", choices=("keep", "shift")),
    )

    def __post_init__(self) -> None:
        check(self)

    def fuse(self, pool: Pool, sources: bool = False) -> Rebuilt:
        """Return all rows with corrected boxes.

        Raises:
            InputError: If a member has no correction, or a mask that is to be moved cannot be read.
        """
        before = np.stack([pool.column("x"), pool.column("y"), pool.far("x"), pool.far("y")], axis=1).astype(float)
        corners = before.copy()
        category_id = pool.category_ids[pool.category()]
        for number, member in enumerate(pool.members):
            if member not in self.corrections:
                raise InputError(
                    "correction of boxes",
                    f"there is none for member {member!r}; it is for {listing(self.corrections)}",
                    "Learn it with this member, or rename it with --member at import",
                )
            rows = np.flatnonzero(pool.member == number)
            if self.corrections[member].moves:
                corners[rows] = self.corrections[member](corners[rows], category_id[rows])
            else:
                corners[rows] = np.nan
        order, _ = image_order(pool)
        table = _moved(fuse_tables(Concat(), pool.tables), corners[order])
        if self.masks == "shift" and table.mask is not None:
            moved = moved_masks(pool, before, corners).take(arrow_array(order))
            table = replace(table, arrow=table.arrow.set_column(table.arrow.column_names.index("mask"), "mask", moved))
        return Rebuilt(table, order, None)


def _moved(table: DetectionTable, corners: np.ndarray) -> DetectionTable:
    """Return a table with other boxes; where corners are NaN, boxes keep every bit."""
    still = np.isnan(corners[:, 0])
    if still.all():
        return table
    near, far = corners[:, :2], corners[:, 2:]
    values = dict(zip("xywh", np.hstack((near, far - near)).T, strict=True))
    arrow = table.arrow
    for name, new in values.items():
        both = arrow_array(np.where(still, table.column(name), new))
        arrow = arrow.set_column(arrow.column_names.index(name), name, both)
    for name, known in FAR.items():
        old = table.known_far(name)
        if old is not None:
            # of a box that has moved the far side is x + w, which the empty value says
            kept = pa.array(np.where(still, old, np.nan), from_pandas=True)
            arrow = arrow.set_column(arrow.column_names.index(known), known, kept)
    return replace(table, arrow=arrow)
