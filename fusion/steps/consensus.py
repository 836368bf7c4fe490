"""Consensus of members."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from fusion.checks import at_least, within
from fusion.columns import Fused
from fusion.kernels.cluster import CONSENSUS
from fusion.kernels.fuse import Options, fuse_columns
from fusion.pool import Pool, Tables
from fusion.run import apply
from fusion.table import DetectionTable

__all__ = ["Consensus", "consensus"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Consensus:
    """Keep the boxes of hard NMS on which enough members agree (Casado-Garcia 2020).

    Clusters are those of hard NMS: best score first, ties by row, a box belongs to the first kept box
    that it overlaps by more than the threshold. The best box of a cluster stays as it is if the
    cluster has boxes of at least `min_members` members: 1 is the "affirmative" strategy of the paper,
    half of the members its "consensus", all of them "unanimous".

    Attributes:
        min_members: Members that must agree, at least 1.
        iou: Threshold in [0, 1].
    """

    cellwise: ClassVar[bool] = True

    min_members: int = 2
    iou: float = 0.5

    def __post_init__(self) -> None:
        at_least("min_members", self.min_members, 1, whole=True)
        within("iou", self.iou, 0.0, 1.0)

    def fuse(self, pool: Pool, sources: bool = False) -> Fused:
        """Return the boxes kept of the pool, in order of (cell, score descending, row)."""
        options = Options(
            kind=CONSENSUS,
            iou=float(self.iou),
            weights=np.ones(len(pool.members)),
            least=int(self.min_members),
            sources=sources,
        )
        return fuse_columns(pool.columns, options)


def consensus(tables: Tables, *, min_members: int = 2, iou: float = 0.5, device: str = "cpu") -> DetectionTable:
    """Keep the boxes on which enough members agree; see `Consensus`.

    Args:
        tables: One table or several; several are pooled.
        min_members: Members that must have a box in a cluster for its best box to stay.
        iou: A box joins a cluster whose best box it overlaps by more than this.
        device: "cpu", "cuda", or "auto"; see `fusion.apply`.

    Returns:
        The best box of each cluster that stays, unchanged, with `votes` the number of distinct
        members in it. Empty input gives an empty table.

    Raises:
        InputError: If an option is out of range or the tables do not go together.
    """
    return apply(Consensus(min_members=min_members, iou=iou), tables, device=device)
