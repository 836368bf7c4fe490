"""Consensus of members."""

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from fusion.columns import Fused
from fusion.kernels.cluster import CONSENSUS
from fusion.kernels.fuse import Options, fuse_columns
from fusion.pool import Pool
from fusion.steps.base import check, parameter

__all__ = ["Consensus"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Consensus:
    """Keep the boxes of hard NMS on which enough members agree (Casado-Garcia 2020).

    Clusters are those of hard NMS: best score first, ties by row, a box belongs to the first kept box
    that it overlaps by more than the threshold. The best box of a cluster stays as it is if the
    cluster has boxes of at least `min_members` members: 1 is the "affirmative" strategy of the paper,
    half of the members its "consensus", all of them "unanimous".
    """

    cellwise: ClassVar[bool] = True

    min_members: int = field(
        default=2, metadata=parameter("Members that must have a box in a cluster for its best box to stay.", low=1)
    )
    iou: float = field(
        default=0.5,
        metadata=parameter("A box joins a cluster whose best box it overlaps by more than this.", low=0.0, high=1.0),
    )

    def __post_init__(self) -> None:
        check(self)

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
