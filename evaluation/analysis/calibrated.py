"""Do scores mean what they say: reliability by score, and calibration errors."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from evaluation.analysis.overlaps import IGNORED, LEFT_OUT, Assigned, Overlaps
from evaluation.prepared import Prepared
from fusion.checks import at_least

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Calibration", "calibration_curve", "calibration_of"]


@dataclass(frozen=True, eq=False)
class Calibration:
    """How scores compare with what the detections are worth; b bins of equal width, empty ones included.

    Attributes:
        edges: float64 [b + 1], of the bins: over [0, 1], or over the scores' own range where they leave it.
        detections: int64 [b].
        score: float64 [b], mean score; NaN in empty bins, as are the next two.
        precision: float64 [b], share of true positives.
        quality: float64 [b], mean IoU with the object found, 0 for a false positive.
        ECE: Expected calibration error: mean over detections of `|score - precision|` of their bins; NaN
            where scores are not all in [0, 1], since these are no probabilities.
        LaECE: The same against quality, per category, mean over categories (Oksuz 2023, arXiv 2307.00934,
            where quality is called precision times mean IoU; 25 bins).
        category_ids: int32 [c], categories with detections.
        category_names: Their names.
        category_detections: int64 [c].
        category_ECE: float64 [c].
        category_LaECE: float64 [c].
    """

    edges: np.ndarray
    detections: np.ndarray
    score: np.ndarray
    precision: np.ndarray
    quality: np.ndarray
    ECE: float
    LaECE: float
    category_ids: np.ndarray
    category_names: tuple[str, ...]
    category_detections: np.ndarray
    category_ECE: np.ndarray  # noqa: N815
    category_LaECE: np.ndarray  # noqa: N815

    def to_frame(self) -> "pd.DataFrame":
        """Return a row per bin: low, high, detections, score, precision, quality."""
        import pandas as pd

        columns = {"low": self.edges[:-1], "high": self.edges[1:], "detections": self.detections}
        return pd.DataFrame(columns | {"score": self.score, "precision": self.precision, "quality": self.quality})

    def to_category_frame(self) -> "pd.DataFrame":
        """Return a row per category: category_id, name, detections, ECE, LaECE."""
        import pandas as pd

        columns = {"category_id": self.category_ids, "name": self.category_names}
        columns |= {"detections": self.category_detections}
        return pd.DataFrame(columns | {"ECE": self.category_ECE, "LaECE": self.category_LaECE})


def calibration_curve(overlaps: Overlaps, assigned: Assigned, bins: int = 25) -> Calibration:
    """Compare scores with precision and with localisation quality, bin by bin.

    A detection is right when COCO's matching gives it an object at the IoU of `assigned`; detections
    that COCO ignores are left out. A bin holds scores in [low, high), the last one also its end.

    Args:
        overlaps: Detections and ground truth.
        assigned: Their matches.
        bins: Number of bins.

    Raises:
        InputError: If `bins` is below 1.
    """
    rows = np.flatnonzero((assigned.truth != IGNORED) & (assigned.truth != LEFT_OUT))
    score, category = overlaps.found.score[rows], overlaps.found.category[rows]
    right, quality = (assigned.truth[rows] >= 0).astype(np.float64), assigned.iou[rows]
    return calibration_of(lambda: [(score, category, right, quality)], overlaps.prepared, bins)


def calibration_of(
    blocks: Callable[[], Iterable[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]],
    prepared: Prepared,
    bins: int = 25,
) -> Calibration:
    """Compare scores with precision and quality as `calibration_curve` does, of some detections at a time.

    Args:
        blocks: Gives scores, categories, 1.0 for those that are right, and their IoU with the object, in order of the
            table; called twice.
        prepared: Ground truth.
        bins: Number of bins.

    Raises:
        InputError: If `bins` is below 1.
    """
    at_least("bins", bins, 1, whole=True)
    n, low, high = 0, np.inf, -np.inf
    for score, *_ in blocks():
        n += len(score)
        low, high = min(low, float(score.min(initial=np.inf))), max(high, float(score.max(initial=-np.inf)))
    low, high = (low, high) if n else (0.0, 1.0)
    probabilities = low >= 0 and high <= 1
    if probabilities:
        low, high = 0.0, 1.0
    edges = np.linspace(low, high, bins + 1)
    categories = len(prepared.category_ids)
    count, own = np.zeros(bins, np.int64), np.zeros(categories, np.int64)
    sums, by_cell = np.zeros((3, bins)), np.zeros((3, categories * bins))
    for score, category, *values in blocks():
        place = np.clip(np.searchsorted(edges, score, side="right") - 1, 0, bins - 1)
        cell = category.astype(np.int64) * bins + place
        count += np.bincount(place, minlength=bins)
        own += np.bincount(category, minlength=categories)
        for number, column in enumerate((score, *values)):
            np.add.at(sums[number], place, column)  # one after the other, so that blocks do not tell
            np.add.at(by_cell[number], cell, column)
    with np.errstate(invalid="ignore"):
        means = [total / count for total in sums]
    gaps = [np.abs(by_cell[0] - by_cell[i]).reshape(categories, bins).sum(axis=1) for i in (1, 2)]
    used = np.flatnonzero(own)
    per_category = [gap[used] / own[used] if probabilities else np.full(len(used), np.nan) for gap in gaps]
    known = probabilities and n > 0
    return Calibration(
        edges=edges,
        detections=count,
        score=means[0],
        precision=means[1],
        quality=means[2],
        ECE=float(np.abs(sums[0] - sums[1]).sum() / n) if known else float("nan"),
        LaECE=float(per_category[1].mean()) if known else float("nan"),
        category_ids=prepared.category_ids[used],
        category_names=tuple(prepared.category_names[k] for k in used),
        category_detections=own[used],
        category_ECE=per_category[0],
        category_LaECE=per_category[1],
    )
