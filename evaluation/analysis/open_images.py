"""What an analysis needs of the Open Images protocol: its outcomes beside overlaps, errors by kind, sizes."""

from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from evaluation.analysis.errors import MAIN_ERRORS, Errors, summed_up
from evaluation.analysis.overlaps import IGNORED, LEFT_OUT, NOTHING, Assigned, Overlaps
from evaluation.analysis.sizes import SIDES
from evaluation.columns import Found
from evaluation.ground_truth import GroundTruth, Labels
from evaluation.kernels import open_images as outcome_of
from evaluation.kernels.open_images_curve import positives_of
from evaluation.open_images import PreparedOpenImages
from evaluation.open_images_curve import Outcomes, TrueEntries, Trues, keys_of
from evaluation.open_images_result import OpenImagesResult
from evaluation.open_images_table import Quirks, detections_of
from evaluation.pairs import find_box_pairs
from evaluation.prepared import Prepared, prepare
from evaluation.protocol import Coco
from fusion.table import DetectionTable

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["LEFT_OUT_HERE", "Beside", "beside", "errors_of", "sizes_of"]

LEFT_OUT_HERE = (
    "Left out, as the Open Images protocol has nothing of the kind: AP by size and shape, and over several IoU "
    "thresholds. Group-of boxes are no objects here, what they absorb is neither right nor wrong; detections of "
    "categories that nobody verified in their image take no part. Objects count once for each of their categories, "
    "those above in the hierarchy included."
)
_SHARES = (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1 / 2)  # of the image's side


class Beside(NamedTuple):
    """Detections of a table beside the ground truth.

    Attributes:
        overlaps: In the unit of the ground truth, by boxes; category -1 for what takes no part.
        assigned: What became of each detection by the protocol.
        own: int32 [n], the object of its category that each overlaps most, row of `overlaps.truth`; -1 without one.
        own_iou: float64 [n].
        other: The same of objects of other categories.
        other_iou: float64 [n].
    """

    overlaps: Overlaps
    assigned: Assigned
    own: np.ndarray
    own_iou: np.ndarray
    other: np.ndarray
    other_iou: np.ndarray


def beside(table: DetectionTable, prepared: PreparedOpenImages, result: OpenImagesResult, least: float) -> Beside:
    """Find what the detections of a result overlap.

    Args:
        table: Detections.
        prepared: Ground truth.
        result: Of the table.
        least: Smallest IoU of pairs, above 0.
    """
    outcomes = result.kept
    truth = _as_objects(prepared.ground_truth)
    corners = _corners(table, prepared)
    known = _verified(prepared, outcomes)
    category = np.where(known, outcomes.category, np.int32(-1)).astype(np.int32)
    x1, y1, x2, y2 = corners
    nowhere = np.zeros(len(category), np.uint8)
    found = Found(outcomes.start, outcomes.image, category, outcomes.score, x1, y1, x2 - x1, y2 - y1, nowhere)
    # all objects of an image are one cell to the search; rows stay the same
    cells = truth.truth._replace(category=np.zeros_like(truth.truth.category))
    pairs = find_box_pairs(cells, found._replace(category=np.minimum(category, 0)), 1, least)
    row = np.repeat(np.arange(len(category)), np.diff(pairs.start))
    objects = ~truth.truth.crowd[pairs.truth]
    same = truth.truth.category[pairs.truth] == category[row]
    bests: list[np.ndarray] = []
    for chosen in (objects & same, objects & ~same):
        # pairs are by IoU descending: the first of a row is its best
        rows, first = np.unique(row[chosen], return_index=True)
        best, iou = np.full(len(category), -1, np.int32), np.zeros(len(category))
        best[rows], iou[rows] = pairs.truth[chosen][first], pairs.iou[chosen][first]
        bests += (best, iou)
    right = outcomes.outcome == outcome_of.TRUE
    match = np.where(outcomes.outcome == outcome_of.FALSE, NOTHING, LEFT_OUT).astype(np.int32)
    match[right] = np.where(bests[0][right] >= 0, bests[0][right], IGNORED)  # masks may meet where boxes do not
    overlaps = Overlaps(truth, found, found.w * found.h, pairs)
    return Beside(overlaps, Assigned(match, np.where(right, bests[1], 0.0)), *bests)


def errors_of(found: Beside, result: OpenImagesResult) -> Errors:
    """Tell the kinds of error apart and measure what each costs, by the protocol's own curves.

    What is wrong is what the protocol calls wrong, and AP is its own. Kinds are TIDE's but for one thing: an object
    that was found already is looked for before one of another category, since in the expanded ground truth every object
    stands under several.

    Args:
        found: Detections beside the ground truth.
        result: Of the same table.
    """
    truth, iou, k = found.overlaps.truth, float(result.protocol.iou_threshold), len(result.category_ids)
    outcomes = result.kept
    used = np.zeros(len(truth.category), bool)
    used[found.assigned.truth[found.assigned.truth >= 0]] = True
    error = _kinds(found, outcomes, used, iou)
    wrong = np.flatnonzero(error >= 0)
    names = list(MAIN_ERRORS)
    cls, loc = names.index("Cls"), names.index("Loc")
    target = np.where(error == loc, found.own, np.where(error == cls, found.other, -1))
    reached = np.zeros(len(used), bool)
    reached[target[target >= 0]] = True
    missed = np.bincount(truth.category[~truth.crowd & ~used & ~reached], minlength=k)
    amount = positives_of(result.positives.start, result.positives.counts, float(result.protocol.group_of_weight), k)
    base = result.average_precision_per_category
    gains = []
    for number in range(len(names) - 1):
        rows = wrong[error[wrong] == number]
        moved = _one_each(rows, target, used, outcomes.score)
        gains.append(_average_precision(result, rows, moved, truth.category[target[moved]], amount))
    none = np.zeros(0, np.int64)
    gains.append(_average_precision(result, none, none, none, amount - missed))
    gains.append(_average_precision(result, wrong, none, none, amount))
    hits = np.bincount(result.trues.category, result.trues.label, k)
    perfect = _average_precision(result, none, none, none, hits)
    gains.append(np.where(hits > 0, perfect, np.where(np.isnan(base), np.nan, 0.0)))
    counts = np.stack(
        [np.bincount(outcomes.category[error == number], minlength=k) for number in range(len(names) - 1)] + [missed]
    )
    return summed_up(gains, counts, base, iou, result)


def sizes_of(found: Beside, truth: GroundTruth) -> "pd.DataFrame":
    """Return how many objects of a size are found at any score, as `size_frame` has it; AP by size there is none.

    Sizes are sides of squares of the box's area, in pixels or, of normalized boxes, in shares of the image's side.
    """
    import pandas as pd

    objects = found.overlaps.truth
    counted = ~objects.crowd
    used = np.zeros(len(counted), bool)
    used[found.assigned.truth[found.assigned.truth >= 0]] = True
    boxes = truth.xywh[found.overlaps.source]
    normalized = truth.unit == "normalized"
    ends: tuple[float, ...] = _SHARES if normalized else SIDES
    place = np.searchsorted(np.array(ends), np.sqrt(boxes[:, 2] * boxes[:, 3]), side="right")
    texts = [f"1/{1 / end:.0f}" for end in ends] if normalized else [f"{end} px" for end in ends]
    names = [f"< {texts[0]}", *(f"{a}-{b}" for a, b in pairwise(texts)), f">= {texts[-1]}"]
    rows = []
    for number, name in enumerate(names):
        own = counted & (place == number)
        count = int(own.sum())
        rows.append(("share" if normalized else "side", name, count, np.nan, used[own].mean() if count else np.nan))
    return pd.DataFrame(rows, columns=["bins", "size", "objects", "AP", "AR"])


def _as_objects(ground_truth: GroundTruth) -> Prepared:
    """Return the ground truth as overlaps take it: sorted, group-of boxes as crowd regions."""
    prepared = prepare(ground_truth, Coco(match_id_zero=True))
    x2, y2 = ground_truth.corners[prepared.source, 2:].T
    return replace(prepared, truth=prepared.truth._replace(x2=x2.copy(), y2=y2.copy()))


def _corners(table: DetectionTable, prepared: PreparedOpenImages) -> tuple[np.ndarray, ...]:
    """Return the corners of the detections that the protocol looks at, in the unit of the ground truth."""
    truth = prepared.ground_truth
    boxes = detections_of(table, truth, replace(prepared.protocol, iou_type="bbox"), Quirks())
    columns = boxes.found.x1, boxes.found.y1, boxes.found.x2, boxes.found.y2
    if prepared.protocol.iou_type == "bbox":
        return columns
    looked_at = detections_of(table, truth, prepared.protocol, Quirks()).row
    if looked_at is None:
        return columns
    rows = np.arange(len(table)) if boxes.row is None else boxes.row
    place = np.searchsorted(rows, looked_at)
    return tuple(column[place] for column in columns)


def _verified(prepared: PreparedOpenImages, outcomes: Outcomes) -> np.ndarray:
    """Return whether the category of each detection is one that counts in its image, bool [n]."""
    truth, k = prepared.ground_truth, len(prepared.ground_truth.category_id)

    def keys(labels: Labels) -> np.ndarray:
        image = np.repeat(np.arange(len(labels.start) - 1, dtype=np.int64), np.diff(labels.start))
        return np.asarray(image * k + labels.category)

    verified = np.concatenate(
        [keys(prepared.positive), keys(prepared.negative), truth.image.astype(np.int64) * k + truth.category]
    )
    known = np.isin(outcomes.image.astype(np.int64) * k + outcomes.category, verified)
    return np.asarray(known & (outcomes.category >= 0))


def _kinds(found: Beside, outcomes: Outcomes, used: np.ndarray, iou: float) -> np.ndarray:
    """Return the number of the main error of each detection, int8 [n]; -1 for what is not wrong."""
    number = {name: place for place, name in enumerate(MAIN_ERRORS)}
    truth = found.overlaps.truth
    objects = np.concatenate(([0], np.cumsum(~truth.crowd)))[truth.start]
    bare = np.diff(objects)[outcomes.image] == 0
    own, near = found.own >= 0, found.own_iou >= iou
    again = own & near & used[np.maximum(found.own, 0)] if len(used) else own
    rules = [
        (bare, "Bkg"),
        (again, "Dupe"),
        (own, "Loc"),
        (found.other_iou >= iou, "Cls"),
        (found.other < 0, "Bkg"),
    ]
    kinds = np.select([rule for rule, _ in rules], [number[name] for _, name in rules], number["Both"])
    return np.where(outcomes.outcome == outcome_of.FALSE, kinds, -1).astype(np.int8)


def _one_each(rows: np.ndarray, target: np.ndarray, used: np.ndarray, score: np.ndarray) -> np.ndarray:
    """Return those of some detections that would be right: of each free object the best by score."""
    reachable = rows[target[rows] >= 0]
    reachable = reachable[~used[target[reachable]]]
    order = reachable[np.argsort(-score[reachable], kind="stable")]
    return np.sort(order[np.unique(target[order], return_index=True)[1]])


def _average_precision(
    result: OpenImagesResult, gone: np.ndarray, moved: np.ndarray, categories: np.ndarray, amount: np.ndarray
) -> np.ndarray:
    """Return AP per category without some false positives, with others right, and as many objects as `amount` says."""
    outcomes, trues = result.kept, result.trues
    outcome = outcomes.outcome.copy()
    outcome[gone] = outcome_of.LEFT_OUT
    added = (categories.astype(np.int32), outcomes.score[moved], keys_of(outcomes, moved), np.ones(len(moved)))
    entries = TrueEntries(*(np.concatenate(pair) for pair in zip(trues, added, strict=True)))
    curves = Trues.of(entries, len(amount))
    curves.add_false(outcomes._replace(outcome=outcome))
    return curves.average_precision(amount.astype(np.float64))[0]
