"""Top-k voting on boxes and scores."""

from dataclasses import dataclass

import numpy as np

from fusion.checks import at_least, within
from fusion.columns import Fused, Sources
from fusion.kernels.jit import chunks, run
from fusion.kernels.vote import vote_cells
from fusion.nms import Nms
from fusion.pool import Pool, Tables, apply
from fusion.table import DetectionTable

__all__ = ["Vote", "vote"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Vote:
    """Move each kept box towards the boxes that overlap it best, and add a share of their scores.

    Sources: mmfruit-openimages2019, Eq. 8 and 9, with its k = 4, 0.05 and 0.7 / 0.3. Which boxes are voted on
    is not printed there; here the kept boxes P are those of hard NMS at `iou`. The voters of P are boxes
    of its (image, category) cell whose IoU with P is above `iou`, P excluded, the best k of them: boxes of other
    members than P's first, each group by IoU, ties by score, then row. A box may vote on several P.
    With n <= k voters P_i: score = S_P + `score` * sum S_i; corners = (1 - `box`) * B_P + `box` / n * sum B_i.
    Without voters P stays as it is. Scores may exceed 1.

    Attributes:
        k: Number of voters, at least 1.
        score: Share of the voters' scores, at least 0.
        box: Share of the voters' boxes, in [0, 1].
        iou: Threshold in [0, 1].
    """

    k: int = 4
    score: float = 0.05
    box: float = 0.3
    iou: float = 0.5

    def __post_init__(self) -> None:
        at_least("k", self.k, 1, whole=True)
        at_least("score", self.score, 0.0)
        within("box", self.box, 0.0, 1.0)
        within("iou", self.iou, 0.0, 1.0)

    def fuse(self, pool: Pool, sources: bool = False) -> Fused:
        """Return the boxes voted on, in order of (cell, score descending, row)."""
        columns = pool.columns
        kept = Nms(iou=self.iou).fuse(pool)
        place = np.empty(len(columns.row), np.int64)
        place[columns.row] = np.arange(len(columns.row))
        position = place[kept.row]
        n = len(position)
        voters = np.empty((n, self.k), np.int64)
        score, corners, votes = np.empty(n), np.empty((n, 4)), np.empty(n, np.int16)

        def task(low: int, high: int) -> None:
            part = slice(*np.searchsorted(kept.cell, (low, high)))
            out = (score[part], corners[part], votes[part])
            shares = (float(self.score), float(self.box))
            scratch = np.empty(self.k)
            vote_cells(columns, kept.cell[part], position[part], float(self.iou), shares, voters[part], scratch, out)

        run(task, chunks(columns.start))
        order = np.lexsort((kept.row, -score, kept.cell))
        found = None
        if sources:
            group = np.concatenate([position[order, None], voters[order]], axis=1)
            start = np.concatenate(([0], np.cumsum((group >= 0).sum(axis=1))))
            found = Sources(start, columns.row[group[group >= 0]])
        return Fused(kept.cell[order], kept.row[order], score[order], corners[order], votes[order], found)


def vote(
    tables: Tables, *, k: int = 4, score: float = 0.05, box: float = 0.3, iou: float = 0.5
) -> DetectionTable:
    """Keep the boxes of hard NMS, voted on by the k boxes that overlap each best; see `Vote`.

    Args:
        tables: One table or several; several are pooled.
        k: Number of voters.
        score: Share of the voters' scores that is added.
        box: Share of the voters' mean box.
        iou: Threshold of NMS, and what a voter's IoU must exceed.

    Raises:
        InputError: If a parameter is out of range or the tables do not go together.
    """
    return apply(Vote(k=k, score=score, box=box, iou=iou), tables)
