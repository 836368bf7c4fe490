"""Fusions that papers define, written from their definitions in plain NumPy, to compare with: ALFA, DBF and PRAE.

Each learns on members `seen` with ground truth and fuses members `shown`. All of them take a score for a probability,
so scores are divided by the member's largest where that is above 1. Their parameters are tuned on what was learned on,
over a small grid, by the AP there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import product
from typing import TypeVar

import numpy as np

from evaluation.prepared import Prepared
from evaluation.worth import mean_precision
from fusion.run import apply
from fusion.steps.nms import Nms
from fusion.steps.wbf import Wbf
from fusion.table import DetectionTable, Metadata

__all__ = ["alfa", "dbf", "prae"]

Tables = Sequence[DetectionTable]
C = TypeVar("C")

_IOU = 0.5  # a detection is right, and final suppression acts, above this in all three papers


def alfa(seen: Tables, shown: Tables, known: Prepared) -> DetectionTable:
    """Agglomerative late fusion (Razinkov, Saveleva and Matas, ICPR 2018, arXiv 1907.06067).

    Similarity of two predictions is IoU^gamma times Bhattacharyya^(1 - gamma) of their class scores, 0 between two of
    one detector; clusters are merged by their least similar pair while that is above tau. A detector without a box in a
    cluster adds a score tuple that has epsilon over all classes and the rest on "no object". Class scores are averaged,
    or multiplied and normalized; the box is the mean, plain or weighted by the score of the final label. NMS at .5
    follows.

    Details are those of its authors' program. A detection here has one category, not a tuple of class scores:
    Bhattacharyya's coefficient is 1 within a category
    and 0 between two, and gamma goes into tau. Categories other than its own have score 0, "no object" the rest. The
    paper tunes by random search; here tau, epsilon, both fusions and the least score taken are tried in a grid.
    """
    scales = _scales(seen)
    categories = len(known.ground_truth.category_id)
    taken = {
        least: tuple(_Clusters(_rows(tables, scales, least)) for tables in (seen, shown)) for least in (0.015, 0.05)
    }
    grid = list(product(taken, (0.45, 0.55, 0.65, 0.75, 0.85), (0.05, 0.2, 0.4, 0.6), (False, True), (False, True)))

    def fused(choice: tuple[float, float, float, bool, bool], side: int) -> DetectionTable:
        least, tau, epsilon, multiplied, weighted = choice
        return taken[least][side].fused(tau, epsilon / categories, 1 - epsilon, multiplied, weighted)

    best = _best(grid, lambda choice: fused(choice, 0), known)
    print(f"<!-- ALFA: least score, tau, epsilon, multiplied, weighted = {best} -->")
    return fused(best, 1)


def dbf(seen: Tables, shown: Tables, known: Prepared) -> DetectionTable:
    """Dynamic belief fusion (Lee et al., WACV 2016, arXiv 1511.03183; ICIP 2016).

    Every detection of any detector is a vector of scores: of each other detector that of its box of the same category
    that overlaps most, above .5, or minus infinity. With precision p and recall r of a detector where its score is cut,
    belief in "target" is p, in "non-target" r^n (the best possible detector has precision 1 - r^n), the rest is
    undecided. Dempster's rule joins the detectors; the score is belief in target minus belief in non-target, and NMS at
    .5 follows, of equal scores the larger precision first.

    Of the papers, abstract and introduction were at hand; the rest is as the authors of ALFA programmed it for their
    baseline. Open is what happens where p is above 1 - r^n (here nothing is undecided then, and non-target has 1 - p)
    and how n is found (here by a grid). A category without an object to learn from takes the curve of all.
    """
    curves = [_Curves(table, known) for table in seen]
    sides = [_vectors(tables) for tables in (seen, shown)]

    def fused(n: float, side: int) -> DetectionTable:
        rows, vectors = sides[side]
        target, other, open_ = np.ones((3, len(vectors)))
        own = np.zeros(len(vectors))
        for member, curve in enumerate(curves):
            precision, recall = curve.at(vectors[:, member], rows.category)
            against = np.minimum(recall**n, 1 - precision)
            undecided = 1 - precision - against
            target *= precision + undecided
            other *= against + undecided
            open_ *= undecided
            own = np.where(rows.member == member, precision, own)
        target, other = target - open_, other - open_
        score = (target - other) / np.maximum(target + other + open_, 1e-12)
        return apply(Nms(iou=_IOU), rows.table(score + 1e-9 * own))

    best = _best((2.0, 4.0, 8.0, 12.0, 18.0, 26.0), lambda n: fused(n, 0), known)
    print(f"<!-- DBF: n = {best} -->")
    return fused(best, 1)


def prae(seen: Tables, shown: Tables, known: Prepared) -> DetectionTable:
    """Probabilistic ranking-aware ensembles (Mao et al., arXiv 2105.03139).

    Confidence is cut into levels. Of each, the statistical probability is the share of boxes that are of the right
    category and overlap an object by more than .5 (duplicates count as right), and a bandit's bonus for levels with few
    boxes, theta sqrt(2 log N / n) with theta .5, is added. A score is multiplied by that over the middle of its level,
    and P-NMS joins boxes that overlap by more than a threshold into their mean, weighted by score.

    Of the paper, abstract and introduction were at hand; levels of .04, from .04 up, theta, the factor and P-NMS,
    which is weighted boxes fusion with the mean score and one weight for all, are what its authors' program
    does. It uses a threshold of .7; here it is the best of a grid.
    """
    scales = _scales(seen)
    levels = [_levels(table, scale, known) for table, scale in zip(seen, scales, strict=True)]

    def refined(tables: Tables) -> list[DetectionTable]:
        answer = []
        for table, scale, factor in zip(tables, scales, levels, strict=True):
            score = table.score / scale
            keep = score >= _LEVEL
            level = np.minimum(score[keep] / _LEVEL, len(factor)).astype(np.int64) - 1
            answer.append(_table(table, keep, score[keep] * factor[level]))
        return answer

    learned, asked = refined(seen), refined(shown)
    best = _best((0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8), lambda iou: apply(Wbf(iou=iou), learned), known)
    print(f"<!-- PRAE: threshold of P-NMS = {best} -->")
    return apply(Wbf(iou=best), asked)


_LEVEL = 0.04
_THETA = 0.5


def _levels(table: DetectionTable, scale: float, known: Prepared) -> np.ndarray:
    """Return the factor of each level's scores: float64 [levels]."""
    edges = _LEVEL * np.arange(1, round(1 / _LEVEL))
    level = np.floor(table.score / scale / _LEVEL).astype(np.int64).clip(0, len(edges)) - 1
    right = _overlaps(table, known) > _IOU
    count = 1 + np.bincount(level[level >= 0], minlength=len(edges))
    share = np.bincount(level[level >= 0], right[level >= 0], minlength=len(edges)) / count
    factor: np.ndarray = (share + _THETA * np.sqrt(2 * np.log(len(table)) / count)) / (edges + _LEVEL / 2)
    return factor


def _overlaps(table: DetectionTable, known: Prepared) -> np.ndarray:
    """Return the largest IoU of each detection with an object of its category and image: float64 [n]."""
    truth = known.ground_truth
    best = np.zeros(len(table))
    key = _keys(truth.image_id[truth.image], truth.category_id[truth.category], truth.image_id)
    own = _keys(table.image_id, table.category_id, truth.image_id)
    order = np.argsort(key, kind="stable")
    low, high = (np.searchsorted(key[order], own, side) for side in ("left", "right"))
    objects, boxes = _corners(truth.xywh)[order], _corners(table.xywh)
    for place in range(int((high - low).max(initial=0))):
        rows = np.flatnonzero(low + place < high)
        best[rows] = np.maximum(best[rows], _iou(boxes[rows], objects[low[rows] + place]))
    return best


class _Rows:
    """Detections of all members in one pool, sorted by cell (image and category)."""

    def __init__(self, tables: Tables, scores: Sequence[np.ndarray], keep: Sequence[np.ndarray]) -> None:
        images = np.unique(np.concatenate([table.image_id for table in tables]))
        ids = np.concatenate([table.image_id[rows] for table, rows in zip(tables, keep, strict=True)])
        category = np.concatenate([table.category_id[rows] for table, rows in zip(tables, keep, strict=True)])
        key = _keys(ids, category, images)
        order = np.argsort(key, kind="stable")
        self.image, self.category = ids[order], category[order]
        self.xywh = np.concatenate([t.xywh[rows] for t, rows in zip(tables, keep, strict=True)])[order]
        self.score = np.concatenate([s[rows] for s, rows in zip(scores, keep, strict=True)])[order]
        self.member = np.repeat(np.arange(len(tables)), [int(rows.sum()) for rows in keep])[order]
        self.members = len(tables)
        self.start = np.flatnonzero(np.diff(key[order], prepend=-1, append=-1))

    def table(self, score: np.ndarray) -> DetectionTable:
        return DetectionTable.from_arrays(
            image_id=self.image,
            category_id=self.category,
            score=score,
            xywh=self.xywh,
            metadata=Metadata(member="fused"),
        )


def _rows(tables: Tables, scales: np.ndarray, least: float) -> _Rows:
    scores = [table.score / scale for table, scale in zip(tables, scales, strict=True)]
    return _Rows(tables, scores, [score >= least for score in scores])


class _Clusters:
    """The dendrograms of all cells, which can be cut anywhere."""

    def __init__(self, rows: _Rows) -> None:
        from scipy.cluster.hierarchy import linkage

        self.rows = rows
        self.trees = []
        self.cuts: dict[float, np.ndarray] = {}
        corners = _corners(rows.xywh)
        for low, high in zip(rows.start[:-1], rows.start[1:], strict=True):
            likeness = _iou(corners[low:high, None], corners[None, low:high])
            likeness[rows.member[low:high, None] == rows.member[low:high]] = 0
            pairs = np.triu_indices(high - low, 1)
            self.trees.append(linkage(1 - likeness[pairs], "complete") if high - low > 1 else None)

    def cut(self, tau: float) -> np.ndarray:
        """Return the cluster of each row: int64 [n], from 0."""
        from scipy.cluster.hierarchy import fcluster

        if tau in self.cuts:
            return self.cuts[tau]
        cluster, count = np.zeros(len(self.rows.score), np.int64), 0
        for tree, low, high in zip(self.trees, self.rows.start[:-1], self.rows.start[1:], strict=True):
            own = np.zeros(1, np.int64) if tree is None else fcluster(tree, 1 - tau, "distance") - 1
            cluster[low:high] = own + count
            count += int(own.max()) + 1
        self.cuts[tau] = cluster
        return cluster

    def fused(self, tau: float, absent: float, nothing: float, multiplied: bool, weighted: bool) -> DetectionTable:
        """Fuse clusters; a member that is not there has score `absent` and `nothing` for "no object"."""
        rows, cluster = self.rows, self.cut(tau)
        votes = np.bincount(cluster)
        missing = rows.members - votes
        if multiplied:
            right, wrong = (
                np.exp(np.bincount(cluster, np.log(np.maximum(score, 1e-12))) + missing * np.log(empty))
                for score, empty in ((rows.score, absent), (1 - rows.score, nothing))
            )
            score = right / (right + wrong)
        else:
            score = (np.bincount(cluster, rows.score) + missing * absent) / rows.members
        weight = rows.score if weighted else np.ones(len(cluster))
        corners = [np.bincount(cluster, weight * side) for side in _corners(rows.xywh).T]
        first = np.unique(cluster, return_index=True)[1]
        merged = DetectionTable.from_arrays(
            image_id=rows.image[first],
            category_id=rows.category[first],
            score=score,
            xyxy=np.stack(corners, 1) / np.bincount(cluster, weight)[:, None],
            metadata=Metadata(member="fused"),
        )
        return apply(Nms(iou=_IOU), merged)


class _Curves:
    """Precision and recall of a member at IoU .5, by category, as functions of the score."""

    def __init__(self, table: DetectionTable, known: Prepared) -> None:
        told = mean_precision(table, known, at=_IOU).known()
        truth = known.ground_truth
        counts = np.bincount(truth.category[~truth.crowd], minlength=len(truth.category_id))
        self.pooled = _curve(told.score, told.worth, int(counts.sum()))
        self.own = {}
        for category, count in zip(truth.category_id.tolist(), counts.tolist(), strict=True):
            part = told.category_id == category
            if count and part.any():
                self.own[category] = _curve(told.score[part], told.worth[part], count)

    def at(self, score: np.ndarray, category: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return precision and recall where scores are cut at `score`; minus infinity is the end of the curve."""
        precision, recall = np.zeros((2, len(score)))
        for one in np.unique(category).tolist():
            rows = category == one
            scores, p, r = self.own.get(one, self.pooled)
            precision[rows], recall[rows] = (np.interp(score[rows], scores, figure) for figure in (p, r))
        return precision, recall


def _curve(score: np.ndarray, right: np.ndarray, objects: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    order = np.argsort(-score, kind="stable")
    true = np.cumsum(right[order])
    last = np.append(np.diff(score[order]) != 0, True)
    precision = (true / np.arange(1, len(true) + 1))[last]
    recall = (true / objects)[last]
    return score[order][last][::-1], precision[::-1], recall[::-1]


def _vectors(tables: Tables) -> tuple[_Rows, np.ndarray]:
    """Return all detections, and of each the score of every member there: float64 [n, m], minus infinity if none."""
    rows = _Rows(tables, [table.score for table in tables], [np.ones(len(table), bool) for table in tables])
    vectors = np.full((len(rows.score), rows.members), -np.inf)
    corners = _corners(rows.xywh)
    for low, high in zip(rows.start[:-1], rows.start[1:], strict=True):
        iou = _iou(corners[low:high, None], corners[None, low:high])
        for member in np.unique(rows.member[low:high]).tolist():
            there = np.flatnonzero(rows.member[low:high] == member)
            best = np.argmax(iou[:, there], axis=1)
            found = iou[np.arange(high - low), there[best]] > _IOU
            vectors[low:high, member] = np.where(found, rows.score[low:high][there[best]], -np.inf)
    vectors[np.arange(len(rows.score)), rows.member] = rows.score
    return rows, vectors


def _best(choices: Iterable[C], fused: Callable[[C], DetectionTable], known: Prepared) -> C:
    """Return the choice whose fusion has the highest AP."""
    return max(choices, key=lambda choice: known.average_precision(fused(choice)))


def _scales(tables: Tables) -> np.ndarray:
    return np.array([max(float(table.score.max(initial=1)), 1.0) for table in tables])


def _table(table: DetectionTable, keep: np.ndarray, score: np.ndarray) -> DetectionTable:
    return DetectionTable.from_arrays(
        image_id=table.image_id[keep],
        category_id=table.category_id[keep],
        score=score,
        xywh=table.xywh[keep],
        metadata=table.metadata,
    )


def _keys(image_id: np.ndarray, category_id: np.ndarray, images: np.ndarray) -> np.ndarray:
    return np.searchsorted(images, image_id).astype(np.int64) << 32 | category_id.astype(np.int64)


def _corners(xywh: np.ndarray) -> np.ndarray:
    return np.hstack([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]])


def _iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the IoU of corners float64 [..., 4], broadcast."""
    sides = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    shared = np.prod(np.maximum(sides, 0), axis=-1)
    areas = (np.prod(c[..., 2:] - c[..., :2], axis=-1) for c in (a, b))
    iou: np.ndarray = shared / np.maximum(sum(areas) - shared, 1e-12)
    return iou
