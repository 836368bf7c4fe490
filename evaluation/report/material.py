"""What sections are made from: whatever a command has computed."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from evaluation.analysis.ensemble_analysis import EnsembleAnalysis
    from evaluation.analysis.table_analysis import TableAnalysis
    from evaluation.comparison import Comparison
    from evaluation.leaderboard import Leaderboard
    from evaluation.measured import Measured
    from evaluation.pictures import Gallery
    from evaluation.slices import Slices
    from evaluation.suspects import Suspects

__all__ = ["Material"]


@dataclass(frozen=True, kw_only=True)
class Material:
    """What was computed; a section whose part is missing is left out.

    Attributes:
        board: Entries, ranked.
        results: The evaluation of each entry, by name.
        comparison: Of two entries.
        analyses: Of each entry, by name.
        ensemble: The entries as members together.
        gallery: Images with what the entries found on them.
        suspects: Likely label errors.
        slices: Named subsets of the images.
        figures: Names of those shown; the usual ones by default.
    """

    board: "Leaderboard | None" = None
    results: "Mapping[str, Measured]" = field(default_factory=dict)
    comparison: "Comparison | None" = None
    analyses: "Mapping[str, TableAnalysis]" = field(default_factory=dict)
    ensemble: "EnsembleAnalysis | None" = None
    gallery: "Gallery | None" = None
    suspects: "Suspects | None" = None
    slices: "Slices | None" = None
    figures: tuple[str, ...] | None = None
