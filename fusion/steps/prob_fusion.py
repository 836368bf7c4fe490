"""Probabilistic fusion of scores."""

from dataclasses import dataclass, field

import numpy as np

from fusion.columns import Fused
from fusion.errors import InputError
from fusion.kernels.cluster import PROBABILITY
from fusion.kernels.fuse import Options, fuse_columns
from fusion.pool import Pool
from fusion.steps.base import check, parameter

__all__ = ["ProbFusion"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbFusion:
    """Join the scores of members as independent evidence (Chen 2022, ProbEn, arXiv 2104.02904).

    Clusters are those of hard NMS: best score first, ties by row, a box belongs to the first kept box
    that it overlaps by more than the threshold. In a cluster each member has one vote, its best box.
    The fused score is prod p / (prod p + prod (1 - p)) over the votes, the box their mean weighted by
    score (the "s-avg" of the paper). One vote alone keeps its score and box.

    Independence is why scores must be calibrated probabilities, and why a member votes once: its
    second box on an object is no new evidence. Sums are of log(p / (1 - p)), so that neither small nor
    many scores underflow; votes of exactly 1 outweigh all but votes of exactly 0, and as many of each
    cancel out. Where all votes are 0 the best box stays.
    """

    iou: float = field(
        default=0.5,
        metadata=parameter("A box joins a cluster whose best box it overlaps by more than this.", low=0.0, high=1.0),
    )

    def __post_init__(self) -> None:
        check(self)

    def fuse(self, pool: Pool, sources: bool = False) -> Fused:
        """Return the fused boxes of the pool, in order of (cell, score descending, row).

        Raises:
            InputError: If a score is outside [0, 1].
        """
        score = pool.columns.score
        outside = int(np.count_nonzero((score < 0) | (score > 1)))
        if outside:
            raise InputError(
                "prob_fusion",
                f"{outside} of {len(score)} scores are outside [0, 1] and no probabilities",
                "Calibrate first",
            )
        options = Options(
            kind=PROBABILITY,
            iou=float(self.iou),
            weights=np.ones(len(pool.members)),
            sources=sources,
        )
        return fuse_columns(pool.columns, options)
