"""How far AP can be trusted: the bootstrap over images, or over groups of images that belong together.

Images are drawn with replacement, as many as there are, and every replicate is the exact AP of the data set so drawn
(an image drawn twice is there twice). An interval is the observed value plus and minus Student's quantile times the
standard deviation of the replicates. Quantiles of the replicates would not do: interpolated precision is a maximum, so
AP of a finite data set lies above that of an unlimited one, and replicates lie above the observed AP once more; their
quantiles carry the shift twice and hold the AP of the population in 52 to 95 of 100 data sets. In differences the shift
cancels; in the interval of a single AP the end on the shift's side reaches further by it. See docs/compare.md for what
was measured.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from evaluation.figures import by_default, choose
from evaluation.measured import Measured
from fusion.checks import at_least
from fusion.errors import InputError

__all__ = [
    "Interval",
    "Replicates",
    "bootstrap",
    "draw",
    "fingerprint_of",
    "interval_of",
    "standard_error",
    "student_quantile",
]

_CHUNK = 128  # replicates at a time: memory stays bounded, and the draws do not depend on how many are wanted
_DRAWN, _FEWEST = 1 << 26, 32  # numbers in memory at a time, of at least so many replicates: those of a batch
_BIAS = 2.0  # a finite data set flatters AP 1.5 to 2.8 times as much as drawing from it does; see docs/compare.md
_ABSENT = 0.01  # share of replicates without a category above which its spread says nothing (about 5 images)


class Interval(NamedTuple):
    """A figure with its 95 % interval; NaN where it cannot be known.

    Attributes:
        value: As observed.
        low: Lower end.
        high: Upper end.
        error: Standard error.
        bias: Mean of the replicates minus the value: how much drawing images flatters the figure.
    """

    value: float
    low: float
    high: float
    error: float
    bias: float


@dataclass(frozen=True, eq=False)
class Replicates:
    """One entry's figures on the data set and on the replicates of a bootstrap.

    Two entries can be compared when they have the same draws: see `compare`.

    Attributes:
        images: Number of images.
        units: Number of things drawn: images, or groups of them.
        draws: Fingerprint of the draws: images, groups and seed.
        category_ids: int32 [k].
        category_names: Names of the k categories.
        observed: Figures by name, of `evaluation.figures`, "AP" first; NaN without ground truth.
        values: float64 [b] by name, the same of each replicate; only of those that were drawn and can be.
        category_observed: float64 [k], AP of each category; NaN without ground truth.
        category_values: float64 [b, k].
    """

    images: int
    units: int
    draws: str
    category_ids: np.ndarray
    category_names: tuple[str, ...]
    observed: dict[str, float]
    values: dict[str, np.ndarray]
    category_observed: np.ndarray
    category_values: np.ndarray

    def __repr__(self) -> str:
        ap = self.intervals["AP"]
        drawn = f"{len(self.values['AP']):,} of {self.images:,} images"
        return f"Replicates(AP {ap.value:.4f}, 95 % interval {ap.low:.4f} to {ap.high:.4f}; {drawn})"

    @cached_property
    def intervals(self) -> dict[str, Interval]:
        """Each figure with its interval, by name."""
        return {name: interval_of(self.observed[name], values, self.units) for name, values in self.values.items()}

    @cached_property
    def category_intervals(self) -> tuple[Interval, ...]:
        """AP of each category with its interval; one in less than about five images has none."""
        columns = zip(self.category_observed.tolist(), self.category_values.T, strict=True)
        return tuple(interval_of(value, column, self.units) for value, column in columns)


def bootstrap(
    result: Measured,
    *,
    replicates: int = 1000,
    seed: int = 0,
    groups: np.ndarray | None = None,
    figures: Sequence[str] | None = None,
    drawn: Sequence[str] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Replicates:
    """Measure a result on replicates of its data set.

    Equal images, groups and seed give equal draws, so that the replicates of several results are paired.

    Args:
        result: Of any protocol.
        replicates: At least 2; the standard error of the interval's ends is about the interval's
            width times 0.5 / sqrt(2 * replicates).
        seed: Of the draws.
        groups: [images] labels; images of one label (frames of a video) are drawn together.
        figures: Names, of `evaluation.figures`, beside AP; by default those that entries are compared by.
        drawn: Which of them are wanted of the replicates, all by default; AP always is. It takes half the time without
            figures by size.
        progress: Called with (replicates done, replicates wanted).

    Raises:
        InputError: If there are less than two images or groups, or an option is out of range.
    """
    at_least("replicates", replicates, 2, whole=True)
    at_least("seed", seed, 0, whole=True)
    images = result.images
    unit, units = _units(images, groups)
    if units < 2:
        what = "images" if groups is None else "groups of images"
        raise InputError("bootstrap", f"expected at least two {what}, got {units}", "A single one has no spread")

    names = by_default(result.protocol, "entries") if figures is None else figures
    wanted = choose(("AP", *names), result.protocol)
    again = ("AP", *(names if drawn is None else drawn))
    observed = {figure.name: float(figure.measure.value(result)) for figure in wanted}
    parts: list[dict[str, np.ndarray]] = []
    categories: list[np.ndarray] = []
    done = 0
    for weights in draw(units, replicates, seed):
        found = result.resample(weights if groups is None else weights[:, unit], again)
        parts.append({name: _mean(values) if values.ndim > 1 else values for name, values in found.items()})
        categories.append(found["AP"])
        done += len(weights)
        if progress:
            progress(done, replicates)
    return Replicates(
        images=images,
        units=units,
        draws=fingerprint_of(images, groups, seed)[1],
        category_ids=result.category_ids,
        category_names=tuple(result.category_names),
        observed=observed,
        values={name: np.concatenate([part[name] for part in parts]) for name in parts[0]},
        category_observed=result.average_precision_per_category,
        category_values=np.concatenate(categories),
    )


def draw(units: int, replicates: int, seed: int) -> Iterator[np.ndarray]:
    """Draw `units` things out of as many with replacement, again and again.

    Yields:
        int32 [up to 128, units], how often each was drawn; replicate b is the same however many are wanted.
    """
    for low in range(0, replicates, _CHUNK):
        rng = np.random.default_rng((seed, low))
        left = min(_CHUNK, replicates - low)
        while left:
            weights = np.empty((min(left, max(_FEWEST, _DRAWN // units)), units), np.int32)
            for row in weights:
                row[:] = np.bincount(rng.integers(units, size=units), minlength=units)
            left -= len(weights)
            yield weights


def fingerprint_of(images: int, groups: np.ndarray | None, seed: int) -> tuple[int, str]:
    """Return the number of things drawn, and a fingerprint of how: equal ones have equal draws.

    Args:
        images: Number of images.
        groups: [images] labels, or None.
        seed: Of the draws.
    """
    unit, units = _units(images, groups)
    return units, hashlib.sha256(repr((seed, units)).encode() + unit.astype("<i8").tobytes()).hexdigest()


def interval_of(value: float, values: np.ndarray, units: int) -> Interval:
    """Return an observed figure with the interval that its replicates give.

    Args:
        value: As observed, in [0, 1].
        values: float64 [b], of the replicates; NaN where one has none.
        units: Number of things drawn.
    """
    error = standard_error(values, units)
    if value != value or error != error:
        return Interval(value, *[float("nan")] * 4)
    bias = float(np.nanmean(values)) - value
    reach = student_quantile(0.975, units) * error
    low, high = value - reach - _BIAS * max(bias, 0.0), value + reach + _BIAS * max(-bias, 0.0)
    return Interval(value, max(low, 0.0), min(high, 1.0), error, bias)


def standard_error(values: np.ndarray, units: int) -> float:
    """Return the standard error that replicates float64 [b] give; NaN if more than 1 % of them have no value."""
    known = values[~np.isnan(values)]
    if len(known) < 2 or len(known) < (1 - _ABSENT) * len(values):
        return float("nan")
    # the spread of a sample is too small by (n - 1) / n, and so is that of what is drawn from it
    return float(known.std(ddof=1) * np.sqrt(units / (units - 1)))


def student_quantile(share: float, units: int) -> float:
    """Return a quantile of Student's distribution for so many things drawn."""
    from scipy.special import stdtrit

    return float(stdtrit(units - 1, share))


def _units(images: int, groups: np.ndarray | None) -> tuple[np.ndarray, int]:
    """Return the thing drawn that each image belongs to, int64 [images], and how many there are."""
    if groups is None:
        return np.arange(images), images
    labels = np.asarray(groups)
    if labels.shape != (images,):
        raise InputError("groups", f"expected a label for each of {images} images, got {list(labels.shape)}")
    names, unit = np.unique(labels, return_inverse=True)
    return unit.astype(np.int64), len(names)


def _mean(values: np.ndarray) -> np.ndarray:
    """Mean [b] over the categories that a replicate has, as the official figures are."""
    known = ~np.isnan(values)
    count = known.sum(axis=1)
    total = np.where(known, values, 0).sum(axis=1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)
