"""Everything there is to say about several members together, as frames, pictures and sentences."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from evaluation.analysis.contributions import Contributions, analyze_contributions
from evaluation.analysis.member_pictures import (
    agreement_picture,
    bound_picture,
    contribution_picture,
    finder_picture,
)
from evaluation.analysis.members import Members, analyze_members
from evaluation.analysis.pictures import save_picture
from evaluation.prepared import Prepared
from evaluation.result import CocoResult
from fusion.recipe import Recipe
from fusion.steps.base import Step
from fusion.steps.calibrate import Calibrate
from fusion.table import DetectionTable

__all__ = ["EnsembleAnalysis", "analyze_ensemble"]


@dataclass(frozen=True, eq=False)
class EnsembleAnalysis:
    """The analysis of several members.

    Attributes:
        members: Who finds what.
        contributions: What each brings to the fusion.
        calibrated: Whether the fusion brings the scores onto one scale.
    """

    members: Members
    contributions: Contributions
    calibrated: bool

    def sentences(self) -> list[str]:
        """Say in plain words what was found."""
        if self.contributions.fused_AP < 0:
            return ["There are no objects to find, so nothing can be measured."]
        return self._about_fusion() + self._about_objects() + self._about_choice()

    def _about_fusion(self) -> list[str]:
        given = self.contributions
        best = int(np.argmax(given.AP))
        gain = 100 * (given.fused_AP - given.AP[best])
        lines = [
            f"The best member is {given.names[best]} with AP {_points(given.AP[best])}; the fusion of all "
            f"{len(given.names)} has {_points(given.fused_AP)} ({gain:+.1f} points)."
        ]
        if gain < 0 and not self.calibrated and self._scales_differ():
            lines.append(
                "The members' scores are on different scales (some leave [0, 1]): calibrate them before they are fused "
                "(`quorum learn calibration`)."
            )
        losses = 100 * np.nan_to_num(given.leave_one_out, nan=np.inf)
        least = int(np.argmin(losses))
        name, value = given.names[least], losses[least]
        if value < 0:
            after = _points(given.without_AP[least])
            lines.append(f"Drop {name} first: without it the fusion has {after} ({-value:+.2f} points).")
        elif np.isfinite(value):
            lines.append(f"No member does harm; {name} helps least ({value:.2f} points) and is the one to drop first.")
        gains = 100 * np.nan_to_num(given.leave_one_out, nan=-np.inf)
        most = int(np.argmax(gains))
        if gains[most] > 0:
            lines.append(f"The fusion needs {given.names[most]} most: it loses {gains[most]:.2f} points without it.")
        return lines

    def _scales_differ(self) -> bool:
        low, high = self.members.scores.T
        return bool(np.any((low < 0) | (high > 1)))

    def _about_objects(self) -> list[str]:
        members = self.members
        frame, total = members.to_frame(), members.found.shape[1]
        top = frame.loc[frame["only_this"].idxmax()]
        nobody = int((members.finders == 0).sum())
        lines = []
        if top["only_this"] > 0:
            lines.append(
                f"The most complementary member is {top['member']}: {top['only_this']:,} of {total:,} objects are "
                f"found by it alone (IoU {members.iou:g})."
            )
        lines.append(f"{nobody:,} objects ({nobody / max(total, 1):.1%}) are found by nobody.")
        pairs = members.to_pair_frame().dropna()
        if len(pairs) > 1:
            alike, unlike = pairs.loc[pairs["jaccard"].idxmax()], pairs.loc[pairs["jaccard"].idxmin()]
            lines.append(
                f"Most alike are {alike['a']} and {alike['b']}: {alike['jaccard']:.0%} of what either finds is found "
                f"by both. Least alike are {unlike['a']} and {unlike['b']}: {unlike['jaccard']:.0%}."
            )
        return lines

    def _about_choice(self) -> list[str]:
        members = self.members
        lines = [
            f"The best box of any member for each object, ranked perfectly, would give AP "
            f"{_points(members.oracle_AP)}: no choice among their boxes has more."
        ]
        best = members.to_category_frame()["best"].value_counts()
        if best.sum() > 1:
            shown = ", ".join(f"{name} {count} times" for name, count in best.head(5).items())
            lines.append(
                f"Each category left to the member that is best at it would give AP "
                f"{_points(members.best_per_category_AP)}; {shown}."
            )
        return lines

    def write(self, folder: Path, picture: str = "png") -> list[str]:
        """Write frames as CSV, and pictures, into a folder.

        Args:
            folder: Exists.
            picture: "png" or "svg".

        Returns:
            The names of the pictures, in the order in which a report shows them.
        """
        frames = {
            "members": self.members.to_frame(),
            "pairs": self.members.to_pair_frame(),
            "finders": self.members.to_finder_frame(),
            "best_member_per_category": self.members.to_category_frame(),
            "contributions": self.contributions.to_frame(),
        }
        for name, frame in frames.items():
            frame.to_csv(folder / f"{name}.csv", index=False)
        pictures = {
            "bounds": bound_picture(self.members, self.contributions),
            "contributions": contribution_picture(self.contributions),
            "objects": finder_picture(self.members),
            "agreement": agreement_picture(self.members),
        }
        for name, figure in pictures.items():
            save_picture(figure, folder / f"{name}.{picture}")
        return [f"{name}.{picture}" for name in pictures]


def analyze_ensemble(
    tables: Sequence[DetectionTable],
    prepared: Prepared,
    fusion: Step | Recipe | None = None,
    *,
    iou: float = 0.5,
    results: Sequence[CocoResult] | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> EnsembleAnalysis:
    """Analyze several members together.

    Args:
        tables: The members, each with its own name; two at least.
        prepared: Ground truth for boxes or masks.
        fusion: A step, or a recipe over the members' names; WBF at IoU .55 by default.
        iou: From which an object counts as found.
        results: The evaluation of each member, if there are some already.
        progress: Called with (what, done, total).

    Raises:
        InputError: If there are fewer than two members, two share a name, or they do not fit the ground truth.
    """
    members = analyze_members(tables, prepared, iou=iou, results=results)
    contributions = analyze_contributions(tables, prepared, members.results, fusion, progress=progress)
    steps = [node.step for node in fusion.nodes.values()] if isinstance(fusion, Recipe) else [fusion]
    return EnsembleAnalysis(members, contributions, any(isinstance(step, Calibrate) for step in steps))


def _points(figure: float) -> str:
    return f"{100 * figure:.1f}"
