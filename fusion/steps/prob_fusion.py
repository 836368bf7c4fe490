"""Probabilistic fusion of scores."""

from dataclasses import dataclass

import numpy as np

from fusion.checks import within
from fusion.columns import Fused
from fusion.errors import InputError
from fusion.kernels.cluster import PROBABILITY
from fusion.kernels.fuse import Options, fuse_columns
from fusion.pool import Pool, Tables
from fusion.run import apply
from fusion.table import DetectionTable

__all__ = ["ProbFusion", "prob_fusion"]


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

    Attributes:
        iou: Threshold in [0, 1].
    """

    iou: float = 0.5

    def __post_init__(self) -> None:
        within("iou", self.iou, 0.0, 1.0)

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


def prob_fusion(tables: Tables, *, iou: float = 0.5, device: str = "cpu") -> DetectionTable:
    """Fuse tables by joining their scores as independent evidence; see `ProbFusion`.

    Args:
        tables: One table or several; several are pooled. Scores are probabilities.
        iou: A box joins a cluster whose best box it overlaps by more than this.
        device: "cpu", "cuda", or "auto"; see `fusion.apply`.

    Returns:
        One row per cluster: new box and score, `votes` the number of distinct members in it, other
        columns those of its best box. Empty input gives an empty table.

    Raises:
        InputError: If `iou` is not in [0, 1], a score is outside [0, 1], or the tables do not go together.
    """
    return apply(ProbFusion(iou=iou), tables, device=device)
