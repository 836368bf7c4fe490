"""TIDE: which kinds of error cost how much AP (Bolya 2020, arXiv 2008.08115)."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from evaluation.analysis.overlaps import Overlaps, find_overlaps
from evaluation.kernels.tide import area_under_curves, find_errors
from evaluation.prepared import Prepared
from evaluation.protocol import Lvis
from fusion.checks import at_least, within
from fusion.errors import InputError, option
from fusion.kernels.jit import chunks, run
from fusion.table import DetectionTable

if TYPE_CHECKING:
    import pandas as pd

    from evaluation.open_images_result import OpenImagesResult

__all__ = [
    "MAIN_ERRORS",
    "SPECIAL_ERRORS",
    "ErrorRows",
    "Errors",
    "analyze_errors",
    "error_rows",
    "errors_of",
    "summed_up",
]

MAIN_ERRORS = {
    "Cls": "wrong category, well placed",
    "Loc": "right category, badly placed",
    "Both": "wrong category and badly placed",
    "Dupe": "object was found already",
    "Bkg": "no object there",
    "Miss": "object not found",
}
"""Main errors and what they mean, in tidecv's order."""

SPECIAL_ERRORS = {"FalsePos": "all false positives", "FalseNeg": "all objects not found"}
"""Special errors: what perfect precision and perfect recall would bring."""

_TRUE, _IGNORED = 1, 3
_MISS = 5
_RECALLS = np.arange(101) / 100


@dataclass(frozen=True, eq=False)
class Errors:
    """Errors of one table by kind.

    Attributes:
        AP: At the one IoU threshold, by TIDE's definition (see `analyze_errors`).
        iou: The IoU threshold.
        counts: Main error -> number of detections, for Miss of objects.
        costs: Main and special error -> AP that would be gained without it (dAP), at least 0 for main ones.
        category_ids: int32 [k].
        category_names: Their names.
        category_AP: float64 [k], NaN for a category without detections and ground truth.
        category_counts: int64 [6, k], errors by category of the detection, for Miss of the object.
        category_costs: float64 [8, k], change of the category's own AP.
    """

    AP: float
    iou: float
    counts: dict[str, int]
    costs: dict[str, float]
    category_ids: np.ndarray
    category_names: tuple[str, ...]
    category_AP: np.ndarray  # noqa: N815
    category_counts: np.ndarray
    category_costs: np.ndarray

    def to_frame(self) -> "pd.DataFrame":
        """Return a row per error: error, meaning, detections (NaN for special errors), cost in AP."""
        import pandas as pd

        meanings = MAIN_ERRORS | SPECIAL_ERRORS
        rows = [(name, meanings[name], self.counts.get(name), cost) for name, cost in self.costs.items()]
        return pd.DataFrame(rows, columns=["error", "meaning", "count", "cost"])

    def to_category_frame(self) -> "pd.DataFrame":
        """Return a row per category: AP, number of each main error, cost of each error in its own AP."""
        import pandas as pd

        columns = {"category_id": self.category_ids, "name": self.category_names, "AP": self.category_AP}
        columns |= dict(zip(MAIN_ERRORS, self.category_counts, strict=True))
        names = [f"cost_{name}" for name in self.costs]
        return pd.DataFrame(columns | dict(zip(names, self.category_costs, strict=True)))


class ErrorRows(NamedTuple):
    """Detections of some categories in order of (category, score descending, image, row); m entries.

    What can be put right is there twice, behind each other: as it is, and in the category where it would be right.

    Attributes:
        category: int32 [m], numbered from the first of these categories.
        score: float64 [m].
        state: uint8 [m]: 1 true, 2 false, 3 ignored.
        error: int8 [m], main error, -1 of what is true.
        moved: bool [m], stands for a detection that was put right.
    """

    category: np.ndarray
    score: np.ndarray
    state: np.ndarray
    error: np.ndarray
    moved: np.ndarray

    def average_precision(
        self, chosen: np.ndarray, present: np.ndarray, true: np.ndarray, positives: np.ndarray
    ) -> np.ndarray:
        """Return AP per category, float64 [k].

        Args:
            chosen: int64 [c], entries in order.
            present: bool [m], which take part.
            true: bool [m].
            positives: int64 [k].
        """
        start = np.searchsorted(self.category[chosen], np.arange(len(positives) + 1))
        out = np.empty(len(positives))
        area_under_curves(start, present[chosen], true[chosen], positives, _RECALLS, out)
        return out


def analyze_errors(
    table: DetectionTable | Overlaps,
    prepared: Prepared,
    *,
    iou: float = 0.5,
    background: float = 0.1,
    max_dets: int | None = None,
) -> Errors:
    """Tell TIDE's error kinds apart and measure what each costs; equal to the public package `tidecv`.

    Every detection that is no true positive has one main error, tested in this order: Bkg in an image
    without objects; Loc: highest IoU with an object of its category in [background, iou]; Cls: with one
    of another category at least `iou`; Dupe: the object of its category was found already; Bkg: all
    IoUs up to `background`; else Both. Miss: an object that nothing found and no Loc or Cls error could
    reach. The cost of an error is the AP without it, less AP: Loc and Cls become true positives (one per
    object, the best by score, the others go), Dupe, Bkg and Both go, missed objects do not count. Costs do not add up.

    tidecv's definitions, kept on purpose so that the figures compare:

    * AP is not COCO's AP50: at most `max_dets` detections of an image over all categories count; of objects of
      equal IoU the first is taken, in COCO the last; a crowd region needs more than `iou`; a category with
      detections but without objects counts with AP 0 (a fix can take it out of the mean).
    * A detection that is ignored for a crowd region is still given an error and counted, and a
      fix can make it a true positive. Fixed results rank false positives before true ones of equal score.

    Different from tidecv: detections of categories that the ground truth does not have are dropped, as in
    COCO, where tidecv counts each such category with AP 0; scores of -1 or less can be fixed, where tidecv
    ends with a KeyError; images are in order of their ids where tidecv has the file's, which matters where scores tie.
    LVIS: detections of categories not known in their image are dropped, where tidecv gives them errors.

    Args:
        table: Detections, or their overlaps across categories of at least `background`.
        prepared: Ground truth for boxes or masks.
        iou: From which a detection is right.
        background: Up to which a detection has nothing to do with an object.
        max_dets: Detections of an image that count; None for 100, and for LVIS for its protocol's own.

    Raises:
        InputError: If an option is out of range, or table and ground truth do not belong together.
    """
    within("iou", iou, 0.0, 1.0)
    within("background", background, 0.0, iou)
    if background == 0 or background == iou:
        raise InputError(
            f"option {option('background')}", f"expected a number between 0 and iou {iou:g}, got {background:g}"
        )
    if max_dets is not None:
        at_least("max_dets", max_dets, 1, whole=True)
    overlaps = find_overlaps(table, prepared, background) if isinstance(table, DetectionTable) else table
    used = np.zeros(len(overlaps.truth.category), np.uint8)
    rows = error_rows(overlaps, used, iou, background, max_dets)[0]
    return errors_of([(0, len(prepared.category_ids), rows)], used, iou, prepared)


def error_rows(
    overlaps: Overlaps, used: np.ndarray, iou: float, background: float, max_dets: int | None
) -> tuple[ErrorRows, np.ndarray]:
    """Give each detection its error.

    Args:
        overlaps: Detections, all of their images.
        used: uint8 [g], is filled: 1 for an object that was found, 2 for one within reach, 0 for one that is missed.
        iou: As in `analyze_errors`, as are the others.
        background: See there.
        max_dets: See there.

    Returns:
        The entries of the detections that were considered, and the row of each, int64.
    """
    found, truth, protocol = overlaps.found, overlaps.truth, overlaps.prepared.protocol
    n = len(found.score)
    state, error, fixed = np.zeros(n, np.uint8), np.full(n, -1, np.int8), np.full(n, -1, np.int32)
    most = max_dets or (protocol.max_dets if isinstance(protocol, Lvis) else 100)
    options, source = (float(iou), float(background), most), overlaps.source

    def task(low: int, high: int) -> None:
        find_errors(low, high, overlaps.order, found, overlaps.pairs, truth, source, options, used, state, error, fixed)

    run(task, chunks(found.start))
    rows = overlaps.order[state[overlaps.order] > 0]
    fixable = fixed[rows] >= 0
    rows = np.repeat(rows, 1 + fixable)
    moved = np.zeros(len(rows), np.bool_)
    moved[np.cumsum(1 + fixable)[fixable] - 1] = True
    category = np.where(moved, fixed[rows], found.category[rows]).astype(np.int32)
    order = np.lexsort((-found.score[rows], category))
    rows, moved, category = rows[order], moved[order], category[order]
    return ErrorRows(category, found.score[rows], state[rows], error[rows], moved), rows


def errors_of(
    batches: Iterable[tuple[int, int, ErrorRows]], used: np.ndarray, iou: float, prepared: Prepared
) -> Errors:
    """Measure what kinds of error cost.

    Args:
        batches: First category, one past the last, and the entries of these categories.
        used: uint8 [g], as `error_rows` fills it.
        iou: From which a detection is right.
        prepared: Ground truth.
    """
    truth, categories = prepared.truth, len(prepared.category_ids)
    objects = ~truth.crowd
    positives = np.bincount(truth.category[objects], minlength=categories)
    missed = np.bincount(truth.category[objects & (used == 0)], minlength=categories)
    parts = [_of_categories(rows, positives[low:high], missed[low:high]) for low, high, rows in batches]
    start, gains, counts = (np.concatenate(column, axis=-1) for column in zip(*parts, strict=True))
    return summed_up(list(gains), np.concatenate((counts, missed[None])), start, iou, prepared)


def _of_categories(
    rows: ErrorRows, positives: np.ndarray, missed: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return AP as it is, [k]; without each kind of error, [kinds, k]; and how often each main one occurs, [5, k]."""
    right = rows.state == _TRUE
    as_it_is = np.flatnonzero(~rows.moved & (rows.state != _IGNORED))
    every = np.ones(len(right), np.bool_)
    start = rows.average_precision(as_it_is, every, right, positives)
    # of equal scores what is wrong comes before what is right
    order = np.lexsort((right, -rows.score, rows.category))
    kept = (rows.state != _IGNORED) & ~rows.moved
    gains, counts = [], []
    hits = np.bincount(rows.category[right], minlength=len(positives))
    for number in range(len(MAIN_ERRORS)):
        chosen = rows.error == number
        present = np.where(chosen, rows.moved, kept)
        counted = positives - missed if number == _MISS else positives
        gains.append(rows.average_precision(order, present, right | (chosen & rows.moved), counted))
        counts.append(np.bincount(rows.category[chosen & ~rows.moved], minlength=len(positives)))
    gains.append(_perfect_precision(start, hits, positives))
    gains.append(rows.average_precision(order, kept, right, hits))
    # a detection counts by its own category, also where it would be right in another
    return start, np.stack(gains), np.stack(counts[:_MISS])


def summed_up(
    gains: Sequence[np.ndarray],
    counts: np.ndarray,
    start: np.ndarray,
    iou: float,
    of: "Prepared | OpenImagesResult",
) -> Errors:
    """Sum up what kinds of error cost in each category.

    Args:
        gains: Of each kind, main ones first, then special ones: AP [categories] without it.
        counts: int64 [main kinds, categories], how often each occurs.
        start: AP [categories] as it is; NaN where there is nothing to find.
        iou: From which a detection is right.
        of: What has the categories.
    """
    average = _mean(start)
    names = [*MAIN_ERRORS, *SPECIAL_ERRORS]
    costs = {name: _mean(gain) - average for name, gain in zip(names, gains, strict=True)}
    return Errors(
        AP=average,
        iou=iou,
        counts=dict(zip(MAIN_ERRORS, counts.sum(axis=1).tolist(), strict=True)),
        costs={name: max(cost, 0.0) if name in MAIN_ERRORS else cost for name, cost in costs.items()},
        category_ids=of.category_ids,
        category_names=of.category_names,
        category_AP=start,
        category_counts=counts,
        category_costs=np.stack(gains) - start,
    )


def _perfect_precision(start: np.ndarray, hits: np.ndarray, positives: np.ndarray) -> np.ndarray:
    """AP per category with every true positive ahead of every false one: the share of recalls that are reached."""
    reached = np.searchsorted(_RECALLS, hits / np.maximum(positives, 1), side="right") / len(_RECALLS)
    return np.where(np.isnan(start), np.nan, np.where(hits > 0, reached, 0.0))


def _mean(values: np.ndarray) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else 0.0
