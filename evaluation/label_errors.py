"""Finding likely label errors: where several members agree with one another and not with the ground truth.

Scores of a member become chances first: how often its detections of a score are right at IoU .5 by this very ground
truth (isotonic), so that members with scores of any scale are heard alike. A detection belongs to the object that the
greedy matching across categories gives it at IoU .5; those that get none are free. M is the number of members.

* missing_label: free detections that no object overlaps by .5 are fused (WBF); a cluster's score is the sum of its
  members' chances by M, less where an object of its category lies close.
* spurious_label: the chance that members find such an object (by its category and size) times the chance that a
  detection of any category by it, from IoU .3 on, is nothing, for the member that is surest of one.
* wrong_category: the mean chance of the category that most members see in the object's place, less that of its own.
* loose_box: each member's likeliest detection of the object's category from IoU .2 on; their mean chance times how much
  more they agree with their mean box than it does with the annotated one (IoU). In both means a member weighs as its
  boxes deserve: by the inverse square of their mean distance (1 - IoU) to objects that it finds.

Crowd regions, and what a protocol does not judge (in LVIS), are never suspects.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from evaluation.analysis.overlaps import IGNORED, LEFT_OUT, Overlaps, find_overlaps
from evaluation.calibration import learn_calibration
from evaluation.ground_truth import GroundTruth
from evaluation.pairs import iou_of_corners
from evaluation.prepared import Prepared, prepare
from evaluation.protocol import Coco, Lvis
from evaluation.suspects import KINDS_OF_ERRORS, Suspects
from fusion import nms, wbf
from fusion.errors import InputError
from fusion.score_maps import ScoreMap
from fusion.table import DetectionTable

__all__ = ["find_label_errors"]

_SAME = 0.5  # IoU from which two boxes are of one object
_NEAR = 0.3  # from which a detection may mean an object
_LOOSE = 0.2  # the same for a loose box
_CLOSEST = 0.01  # mean distance of boxes below which a member is not trusted more
_LEAST = 0.02  # chance below which a detection says nothing
_SIZES = 6  # classes of objects by size
_DOUBT = 10  # objects of the whole that a category's own share of found objects is mixed with


class _Heard(NamedTuple):
    """One member's detections that say something, and the annotations they overlap; m pairs.

    Attributes:
        table: Free detections, with chances for scores.
        truth: int64 [m], row of `Prepared.truth`, of pairs that may be one object.
        iou: float64 [m].
        category: int32 [m], of the detection.
        chance: float64 [m], that it is right.
        box: float64 [m, 4], x1, y1, x2, y2.
        own: bool [m], whether the detection belongs to this annotation.
    """

    table: DetectionTable
    truth: np.ndarray
    iou: np.ndarray
    category: np.ndarray
    chance: np.ndarray
    box: np.ndarray
    own: np.ndarray


def find_label_errors(
    tables: Sequence[DetectionTable], ground_truth: GroundTruth, protocol: Coco | Lvis | None = None
) -> Suspects:
    """Find likely label errors; their boxes are compared, whatever else annotations have.

    Args:
        tables: Members' detections; two or more that were not trained on these annotations say most.
        ground_truth: What is doubted.
        protocol: For boxes; decides what is judged at all. COCO's by default.

    Returns:
        All suspects with a score above 0, of all kinds together, by falling score.

    Raises:
        InputError: If there is no table, the protocol is for masks, or a table does not fit the ground truth.
    """
    if not tables:
        raise InputError("tables", "none was given", "Name one or several")
    protocol = protocol or Coco()
    if protocol.iou_type != "bbox":
        raise InputError("protocol", "expected one for boxes, got one for masks", "Boxes are compared here")
    prepared = prepare(ground_truth, protocol)
    heard = [_heard(table, prepared, place) for place, table in enumerate(tables)]
    counted = (prepared.truth.outside & 1) == 0
    found = (
        _missing(heard, prepared),
        _spurious(heard, prepared, counted),
        _wrong_category(heard, prepared, counted),
        _loose(heard, prepared, counted),
    )
    kind = np.repeat(np.array(list(KINDS_OF_ERRORS), dtype=object), [len(one[0]) for one in found])
    score, image, annotation, category, xywh, members = (np.concatenate(column) for column in zip(*found, strict=True))
    order = np.lexsort((annotation, image, -score))
    order = order[score[order] > 0]
    return Suspects(
        ground_truth, *(column[order] for column in (kind, score, image, annotation, category, xywh, members))
    )


def _heard(table: DetectionTable, prepared: Prepared, place: int) -> _Heard:
    """Return what a member says: its scores as chances, and which annotations its boxes lie at."""
    if len(table):
        chances = learn_calibration(table, prepared, target=_SAME)
        if isinstance(chances, ScoreMap):  # as it is without maps per category
            table = table.with_scores(chances(table.score.astype(np.float64)))
    overlaps = find_overlaps(table, prepared, _LOOSE)
    found, truth = overlaps.found, prepared.truth
    assigned = overlaps.assign(_SAME, cap=max(len(table), 1), across=True)
    judged = (found.category >= 0) & ((found.outside & 1) == 0) & (found.score >= _LEAST)
    judged &= (assigned.truth != IGNORED) & (assigned.truth != LEFT_OUT)
    pairs = overlaps.pairs
    row = np.repeat(np.arange(len(found.score)), np.diff(pairs.start))
    at = pairs.truth.astype(np.int64)
    taken = np.zeros(len(truth.category), np.bool_)
    taken[assigned.truth[assigned.truth >= 0]] = True
    own = assigned.truth[row] == at
    free = assigned.truth[row] < 0
    keep = judged[row] & (own | free)
    # a detection near an object of its category that nothing else is at means that object
    meant = free & (pairs.iou >= _LOOSE) & (found.category[row] == truth.category[at]) & ~taken[at]
    alone = judged & (assigned.truth < 0)
    alone[row[(pairs.iou >= _SAME) | meant]] = False
    box = np.stack([found.x, found.y, found.x + found.w, found.y + found.h], axis=1)
    return _Heard(
        table=_rows(table, alone, place),
        truth=at[keep],
        iou=pairs.iou[keep],
        category=found.category[row[keep]],
        chance=found.score[row[keep]],
        box=box[row[keep]],
        own=own[keep],
    )


def _rows(table: DetectionTable, keep: np.ndarray, place: int) -> DetectionTable:
    rows = np.flatnonzero(keep)
    chosen = DetectionTable.from_arrays(
        image_id=table.image_id[rows],
        category_id=table.category_id[rows],
        score=table.score[rows],
        xywh=table.xywh[rows].astype(np.float64),
        metadata=table.with_metadata(member=f"member {place}", made_by={}).metadata,
    )
    return nms([chosen], iou=_SAME)


_Found = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def _missing(heard: Sequence[_Heard], prepared: Prepared) -> _Found:
    fused = wbf([member.table for member in heard], iou=_SAME)
    overlaps: Overlaps = find_overlaps(fused, prepared, 0.1)
    found, pairs, truth = overlaps.found, overlaps.pairs, prepared.truth
    row = np.repeat(np.arange(len(found.score)), np.diff(pairs.start))
    near, nearest = np.zeros(len(found.score)), np.zeros(len(found.score))
    np.maximum.at(nearest, row, pairs.iou)
    same = found.category[row] == truth.category[pairs.truth]
    np.maximum.at(near, row[same], pairs.iou[same])
    score = np.where(nearest < _SAME, np.clip(found.score, 0, 1) * (1 - near / _SAME).clip(0), 0.0)
    votes = fused.column("votes").astype(np.int64)
    return score, found.image, np.full(len(score), -1), found.category, fused.xywh.astype(np.float64), votes


def _spurious(heard: Sequence[_Heard], prepared: Prepared, counted: np.ndarray) -> _Found:
    seen = np.stack([_most(member, member.iou >= _NEAR, len(counted)) for member in heard])
    score = np.where(counted, _findable(heard, prepared, counted) * (1 - seen.max(axis=0)), 0.0)
    return _annotated(prepared, score, np.full(len(score), len(heard)))


def _findable(heard: Sequence[_Heard], prepared: Prepared, counted: np.ndarray) -> np.ndarray:
    """Return the mean chance with which members see objects of a category and a size, float64 [g]."""
    truth = prepared.truth
    seen = np.mean([_most(member, member.own, len(counted)) for member in heard], axis=0)
    if not counted.any():
        return np.asarray(seen)
    mean = seen[counted].mean()
    size = np.sqrt(np.maximum((truth.x2 - truth.x1) * (truth.y2 - truth.y1), 0))
    edges = np.quantile(size[counted], np.linspace(0, 1, _SIZES + 1)[1:-1])
    share = np.ones(len(seen))
    for group in (np.searchsorted(edges, size), truth.category):
        number = np.bincount(group[counted])
        total = np.bincount(group[counted], seen[counted])
        own = (total + _DOUBT * mean) / (number + _DOUBT)
        share *= np.append(own, mean)[np.minimum(group, len(own))] / max(mean, 1e-12)
    return np.asarray(np.clip(mean * share, 0, 1))


def _wrong_category(heard: Sequence[_Heard], prepared: Prepared, counted: np.ndarray) -> _Found:
    """Compare what members say of each annotation's category with what most of them say instead."""
    truth, k = prepared.truth, len(prepared.category_ids)
    keys, chances = [], []
    for member in heard:
        at = member.iou >= _SAME
        key, place = np.unique(member.truth[at] * k + member.category[at], return_inverse=True)
        chance = np.zeros(len(key))
        np.maximum.at(chance, place, member.chance[at])
        keys.append(key)
        chances.append(chance)
    key, place = np.unique(np.concatenate(keys), return_inverse=True)
    support = np.bincount(place, np.concatenate(chances), minlength=len(key)) / len(heard)
    votes = np.bincount(place, minlength=len(key))
    annotation, category = key // k, key % k
    mine = category == truth.category[annotation]
    own = np.zeros(len(counted))
    own[annotation[mine]] = support[mine]
    score, said, members = np.zeros(len(counted)), truth.category.copy(), np.zeros(len(counted), np.int64)
    # the highest last, of equals the lowest category
    others = np.flatnonzero(~mine)
    others = others[np.lexsort((-category[others], support[others]))]
    score[annotation[others]] = support[others]
    said[annotation[others]] = category[others]
    members[annotation[others]] = votes[others]
    return _annotated(prepared, np.where(counted, score - own, 0.0), members, category=said)


def _loose(heard: Sequence[_Heard], prepared: Prepared, counted: np.ndarray) -> _Found:
    """Compare each annotation's box with the mean box of the members' likeliest detections by it."""
    truth, g = prepared.truth, len(counted)
    chance, box, trust = np.zeros((len(heard), g)), np.zeros((len(heard), g, 4)), np.ones(len(heard))
    for m, member in enumerate(heard):
        rows = np.flatnonzero(member.category == truth.category[member.truth])
        rows = rows[np.lexsort((member.iou[rows], member.chance[rows] * member.iou[rows]))]  # the likeliest last
        chance[m, member.truth[rows]] = member.chance[rows]
        box[m, member.truth[rows]] = member.box[rows]
        right = rows[member.iou[rows] >= _SAME]
        if len(right):
            trust[m] = np.maximum(np.average(1 - member.iou[right], weights=member.chance[right]), _CLOSEST) ** -2
    weight = chance * trust[:, None]
    total = weight.sum(axis=0)
    weight /= np.maximum(total, 1e-12)
    mean = (weight[:, :, None] * box).sum(axis=0)
    annotated = np.stack([truth.x1, truth.y1, truth.x2, truth.y2], axis=1)
    agreement = (weight * iou_of_corners(box, mean[None])).sum(axis=0)
    votes = (chance > 0).sum(axis=0)
    score = total / trust.sum() * np.maximum(agreement - iou_of_corners(mean, annotated), 0)
    score = np.where(counted & (votes >= min(2, len(heard))), score, 0.0)
    xywh = np.concatenate([mean[:, :2], mean[:, 2:] - mean[:, :2]], axis=1)
    return _annotated(prepared, score, votes, xywh=xywh)


def _most(member: _Heard, rows: np.ndarray, count: int) -> np.ndarray:
    """Return the highest chance of a member's detections by each annotation, float64 [count]."""
    most = np.zeros(count)
    np.maximum.at(most, member.truth[rows], member.chance[rows])
    return most


def _annotated(
    prepared: Prepared,
    score: np.ndarray,
    members: np.ndarray,
    *,
    category: np.ndarray | None = None,
    xywh: np.ndarray | None = None,
) -> _Found:
    truth = prepared.truth
    image = np.repeat(np.arange(len(truth.start) - 1, dtype=np.int32), np.diff(truth.start))
    return (
        score,
        image,
        prepared.source,
        truth.category if category is None else category,
        prepared.ground_truth.xywh[prepared.source] if xywh is None else xywh,
        members,
    )
