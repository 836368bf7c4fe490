"""Agreement and complementarity of members: who finds which objects, and the best choice among their boxes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from evaluation.analysis.overlaps import find_overlaps
from evaluation.figures import by_default
from evaluation.prepared import Prepared
from evaluation.protocol import RECALLS
from evaluation.result import CocoResult
from fusion.errors import InputError, option
from fusion.table import DetectionTable

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Members", "analyze_members", "member_names"]


@dataclass(frozen=True, eq=False)
class Members:
    """What m members find of g objects.

    Attributes:
        names: Of the members.
        results: The official evaluation of each.
        iou: From which an object counts as found.
        found: bool [m, g], which member finds which object.
        best_iou: float64 [g], highest IoU of any member's box of the object's category; 0 below the
            protocol's smallest threshold.
        image: int32 [g], image of each object, index into the ground truth's.
        category: int32 [g], index into the evaluation's categories.
        thresholds: float64 [t], IoU thresholds of the evaluation.
        scores: float64 [m, 2], lowest and highest score of each member; NaN without detections.
    """

    names: tuple[str, ...]
    results: tuple[CocoResult, ...]
    iou: float
    found: np.ndarray
    best_iou: np.ndarray
    image: np.ndarray
    category: np.ndarray
    thresholds: np.ndarray
    scores: np.ndarray

    @property
    def finders(self) -> np.ndarray:
        """int64 [g], number of members that find each object."""
        return np.asarray(self.found.sum(axis=0))

    @property
    def category_AP(self) -> np.ndarray:  # noqa: N802
        """float64 [m, k], AP per member and category; NaN without ground truth."""
        return np.stack([result.average_precision_per_category for result in self.results])

    @property
    def oracle_AP(self) -> float:  # noqa: N802
        """AP if each object had the best box of any member, and these were ranked ahead of all others.

        A bound: no choice, order or suppression of the members' boxes has a higher AP. Boxes that a
        fusion makes anew can be better than all that they come from. A box may serve several objects.
        """
        k = len(self.results[0].category_ids)
        objects = np.bincount(self.category, minlength=k)
        known = objects > 0
        values = []
        for threshold in self.thresholds:
            hits = np.bincount(self.category[self.best_iou >= min(threshold, 1 - 1e-10)], minlength=k)[known]
            reached = np.searchsorted(RECALLS, hits / objects[known], side="right") / len(RECALLS)
            values.append(np.where(hits > 0, reached, 0.0))
        return float(np.mean(values)) if known.any() else float("nan")

    @property
    def best_per_category_AP(self) -> float:  # noqa: N802
        """AP if each category were left to the member that is best at it on this very data.

        No choice of one member per category has a higher AP; a fusion can.
        """
        best = self.category_AP.max(axis=0)
        return float(np.nanmean(best)) if not np.isnan(best).all() else float("nan")

    def to_frame(self) -> "pd.DataFrame":
        """Return a row per member, the highest AP first: member, AP, AP50, found, recall, only_this, detections.

        `found` counts objects at `iou`, `only_this` those that no other member finds, `recall` is the
        share of all objects.
        """
        import pandas as pd

        names = by_default(self.results[0].protocol, "summary")
        only = (self.found & (self.finders == 1)).sum(axis=1)
        found = self.found.sum(axis=1)
        columns = {
            "member": self.names,
            **{name: [getattr(result, name) for result in self.results] for name in names},
            "found": found,
            "recall": found / max(self.found.shape[1], 1),
            "only_this": only,
            "detections": [int(result.detections.sum()) for result in self.results],
        }
        return pd.DataFrame(columns).sort_values("AP", ascending=False, kind="stable").reset_index(drop=True)

    def to_pair_frame(self) -> "pd.DataFrame":
        """Return a row per pair of members: a, b, both, only_a, only_b, neither, jaccard, miss_correlation.

        `jaccard` is the share of the objects that one of them finds that both find; `miss_correlation` is
        Pearson's correlation of missing an object (NaN where one misses all or none): 1 for
        members that miss the same objects, 0 for independent ones.
        """
        import pandas as pd

        both, jaccard, correlation = self.agreement()
        found, total = np.diag(both), self.found.shape[1]
        a, b = np.triu_indices(len(self.names), 1)
        names = np.array(self.names, dtype=object)
        either = found[a] + found[b] - both[a, b]
        columns = {
            "a": names[a],
            "b": names[b],
            "both": both[a, b],
            "only_a": found[a] - both[a, b],
            "only_b": found[b] - both[a, b],
            "neither": total - either,
            "jaccard": jaccard[a, b],
            "miss_correlation": correlation[a, b],
        }
        return pd.DataFrame(columns)

    def agreement(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return objects found by both int64 [m, m], Jaccard indices and correlations of misses float64 [m, m]."""
        as_numbers = self.found.astype(np.float64)
        both = as_numbers @ as_numbers.T
        count, total = np.diag(both), self.found.shape[1]
        either = count[:, None] + count - both
        spread = np.sqrt(count * (total - count))
        with np.errstate(invalid="ignore"):
            jaccard = both / either
            correlation = (total * both - np.outer(count, count)) / np.outer(spread, spread)
        return both.astype(np.int64), jaccard, correlation

    def to_finder_frame(self) -> "pd.DataFrame":
        """Return how many objects are found by how many members: members, objects, share."""
        import pandas as pd

        counts = np.bincount(self.finders, minlength=len(self.names) + 1)
        share = counts / max(self.found.shape[1], 1)
        return pd.DataFrame({"members": np.arange(len(counts)), "objects": counts, "share": share})

    def to_category_frame(self) -> "pd.DataFrame":
        """Return a row per category with ground truth: the best member and the next, objects, and each member's AP.

        `lead` is the distance in AP to the next member, `found_by_nobody` counts objects at `iou`.
        """
        import pandas as pd

        first, k = self.results[0], len(self.results[0].category_ids)
        ap = self.category_AP
        known = np.flatnonzero(~np.isnan(ap[0]))
        ranked = np.argsort(-ap[:, known], axis=0, kind="stable")
        names = np.array(self.names, dtype=object)
        top = ap[ranked[0], known]
        columns = {
            "category_id": first.category_ids[known],
            "name": [first.category_names[c] for c in known],
            "objects": np.bincount(self.category, minlength=k)[known],
            "found_by_nobody": np.bincount(self.category[self.finders == 0], minlength=k)[known],
            "best": names[ranked[0]],
            "AP": top,
        }
        if len(self.names) > 1:
            columns |= {"next": names[ranked[1]], "lead": top - ap[ranked[1], known]}
        return pd.DataFrame(columns | {f"AP_{name}": ap[m, known] for m, name in enumerate(self.names)})


def analyze_members(
    tables: Sequence[DetectionTable],
    prepared: Prepared,
    *,
    iou: float = 0.5,
    results: Sequence[CocoResult] | None = None,
    progress: Callable[[str], None] | None = None,
) -> Members:
    """Find out which member finds which objects, by COCO's matching at one IoU threshold and at the protocol's cap.

    Crowd regions are no objects. An annotation with id 0 can be found, unlike in the official AP.

    Args:
        tables: The members, each with its own name.
        prepared: Ground truth for boxes or masks.
        iou: From which an object counts as found; at least the protocol's smallest threshold.
        results: The evaluation of each member, if there are some already.
        progress: Called with each member's name before its turn.

    Raises:
        InputError: If two members share a name, the IoU is too low, or a table does not fit the ground truth.
    """
    names = member_names(tables)
    thresholds = prepared.protocol.thresholds
    if not thresholds[0] <= iou <= 1:
        raise InputError(f"option {option('iou')}", f"expected a number in [{thresholds[0]:g}, 1], got {iou:g}")
    truth = prepared.truth
    objects = np.flatnonzero((truth.outside & 1) == 0)
    found = np.zeros((len(tables), len(objects)), np.bool_)
    best = np.zeros(len(truth.category))
    measured = []
    for m, (name, table) in enumerate(zip(names, tables, strict=True)):
        if progress is not None:
            progress(name)
        measured.append(prepared.evaluate(table) if results is None else results[m])
        overlaps = find_overlaps(table, prepared, across=False)
        assigned = overlaps.assign(iou, cap=prepared.protocol.caps[-1])
        hit = np.zeros(len(truth.category), np.bool_)
        hit[assigned.truth[assigned.truth >= 0]] = True
        found[m] = hit[objects]
        np.maximum.at(best, overlaps.pairs.truth, overlaps.pairs.iou)
    image = np.repeat(np.arange(len(truth.start) - 1, dtype=np.int32), np.diff(truth.start))
    return Members(
        names=names,
        results=tuple(measured),
        iou=iou,
        found=found,
        best_iou=best[objects],
        image=image[objects],
        category=truth.category[objects],
        thresholds=thresholds,
        scores=np.array([[t.score.min(), t.score.max()] if len(t) else [np.nan, np.nan] for t in tables], np.float64),
    )


def member_names(tables: Sequence[DetectionTable]) -> tuple[str, ...]:
    """Return the members' names.

    Raises:
        InputError: If there is no table, one has no name, or two share one.
    """
    if not tables:
        raise InputError("members", "no table was given")
    names = [table.metadata.member for table in tables]
    for number, name in enumerate(names):
        if name is None or name in names[:number]:
            problem = "has no member name" if name is None else f"has the name {name!r} of another table"
            raise InputError(
                f"table {number} (counted from 0)", problem, "Give each its own name with --member at import"
            )
    return tuple(map(str, names))
