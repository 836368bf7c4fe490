"""Giving up candidates that are clearly worse before all of their categories are measured."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fusion.checks import within

__all__ = ["Incumbent"]

_LEAST = 16


@dataclass(frozen=True, slots=True)
class Incumbent:
    """The best candidate so far, and how sure one has to be that another is worse.

    AP is the mean of the categories' AP, so a paired one-sided Wilcoxon signed-rank test over the categories measured
    so far is a test of what is wanted. It is repeated after every chunk: `level` is not the rate of
    good candidates that are lost, but a bound on it per look.

    Attributes:
        category_ids: int32 [k], ascending.
        per_category: float64 [k], its AP; NaN without ground truth.
        level: Significance; 0 never gives up.
    """

    category_ids: np.ndarray
    per_category: np.ndarray
    level: float = 0.01

    def __post_init__(self) -> None:
        within("level", self.level, 0.0, 1.0)

    def hopeless(self, category_ids: np.ndarray, figures: np.ndarray) -> float | None:
        """Test a candidate on some categories.

        Args:
            category_ids: int32 [c], those measured.
            figures: float64 [c], its AP there.

        Returns:
            An estimate of its AP over all categories where it is significantly worse, else None.
        """
        from scipy.stats import wilcoxon

        own = self.per_category[np.searchsorted(self.category_ids, category_ids)]
        difference = (figures - own)[~np.isnan(figures) & ~np.isnan(own)]
        apart = difference[difference != 0]
        if self.level <= 0 or len(apart) < _LEAST or apart.mean() >= 0:
            return None
        if wilcoxon(apart, alternative="less").pvalue >= self.level:
            return None
        return float(np.nanmean(self.per_category) + difference.mean())
