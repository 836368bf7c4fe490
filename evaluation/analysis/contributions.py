"""What each member brings to a fusion: without it, and with it beside the best of the others."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from evaluation.analysis.members import member_names
from evaluation.prepared import Prepared
from evaluation.result import CocoResult
from fusion.errors import InputError
from fusion.recipe import ALL, OUTPUT, Node, Recipe
from fusion.steps.base import Step
from fusion.steps.wbf import Wbf
from fusion.table import DetectionTable

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Contributions", "FusedVariant", "analyze_contributions", "fused_variants", "restricted"]

ALL_MEMBERS, WITHOUT, BESIDE_BEST = "all", "without", "beside best"


class FusedVariant(NamedTuple):
    """One fusion to compare.

    Attributes:
        kind: "all", "without" (all but one member) or "beside best" (a member and the best of the others).
        member: The member in question; "" for all.
        members: Whose tables were fused.
        table: The fused detections.
    """

    kind: str
    member: str
    members: tuple[str, ...]
    table: DetectionTable


@dataclass(frozen=True, eq=False)
class Contributions:
    """What m members bring to a fusion, in AP.

    Attributes:
        names: Of the members.
        AP: float64 [m], of each member alone.
        fused_AP: Of the fusion of all.
        without_AP: float64 [m], of the fusion of all others; NaN where the recipe needs the member.
        beside_AP: float64 [m], of the fusion with the best of the others; NaN where the recipe cannot do so.
        partner_AP: float64 [m], of that best other alone.
    """

    names: tuple[str, ...]
    AP: np.ndarray
    fused_AP: float  # noqa: N815
    without_AP: np.ndarray  # noqa: N815
    beside_AP: np.ndarray  # noqa: N815
    partner_AP: np.ndarray  # noqa: N815

    @property
    def leave_one_out(self) -> np.ndarray:
        """float64 [m], AP that the fusion of all loses without the member; below 0 it is better off."""
        return np.asarray(self.fused_AP - self.without_AP)

    @property
    def add_one(self) -> np.ndarray:
        """float64 [m], AP that fusing the member with the best of the others adds to that one alone."""
        return np.asarray(self.beside_AP - self.partner_AP)

    def to_frame(self) -> "pd.DataFrame":
        """Return a row per member, the largest loss without it first: member, AP, without, leave_one_out, add_one."""
        import pandas as pd

        columns = {"member": self.names, "AP": self.AP, "fused_without": self.without_AP}
        frame = pd.DataFrame(columns | {"leave_one_out": self.leave_one_out, "add_one": self.add_one})
        return frame.sort_values("leave_one_out", ascending=False, kind="stable").reset_index(drop=True)


def fused_variants(
    tables: Sequence[DetectionTable], fusion: Step | Recipe, alone: Sequence[float]
) -> Iterator[FusedVariant]:
    """Fuse all members, all but each, and each with the best of the others; one at a time.

    Whoever wants more than AP of the variants (intervals, say) takes them from here. Fusions that a
    recipe cannot do without a member are left out.

    Args:
        tables: The members, each with its own name.
        fusion: A step, or a recipe over these names.
        alone: AP of each member alone, which says who is best.
    """
    names = member_names(tables)
    recipe = fusion if isinstance(fusion, Recipe) else Recipe.chain([fusion])
    wanted = [(ALL_MEMBERS, "", tuple(range(len(tables))))]
    if len(tables) > 1:
        for m, name in enumerate(names):
            others = [i for i in range(len(names)) if i != m]
            wanted.append((WITHOUT, name, tuple(others)))
            best = max(others, key=lambda i: alone[i])
            wanted.append((BESIDE_BEST, name, tuple(sorted((m, best)))))
    for kind, name, chosen in wanted:
        members = tuple(names[i] for i in chosen)
        part = restricted(recipe, names, members)
        if part is not None:
            yield FusedVariant(kind, name, members, part.fuse([tables[i] for i in chosen]))


def restricted(recipe: Recipe, names: Sequence[str], members: Sequence[str]) -> Recipe | None:
    """Take members out of a recipe; nodes without an input go with them.

    Args:
        recipe: Over the members `names`.
        names: All members.
        members: Those to keep.

    Returns:
        The recipe, or None where nothing is left of it.
    """
    gone = set(names) - set(members)
    nodes: dict[str, Node] = {}
    for name, node in recipe.nodes.items():
        inputs = tuple(source for source in node.inputs if source not in gone and (source != ALL or members))
        if inputs:
            nodes[name] = Node(node.step, inputs)
        else:
            gone.add(name)
    return Recipe(nodes, recipe.tuned_on) if OUTPUT in nodes else None


def analyze_contributions(
    tables: Sequence[DetectionTable],
    prepared: Prepared,
    results: Sequence[CocoResult],
    fusion: Step | Recipe | None = None,
    *,
    progress: Callable[[str, int, int], None] | None = None,
) -> Contributions:
    """Measure what each member brings to a fusion; 2 m + 1 fusions and evaluations.

    Args:
        tables: The members, each with its own name; two at least.
        prepared: Ground truth for boxes or masks.
        results: The evaluation of each member alone.
        fusion: A step, or a recipe over the members' names; WBF at IoU .55 by default.
        progress: Called with (what, done, total) before each fusion.

    Raises:
        InputError: If there are fewer than two members, or the fusion refuses them.
    """
    names = member_names(tables)
    if len(names) < 2:
        raise InputError("contributions", f"need at least two members, got {len(names)}")
    alone = np.array([result.AP for result in results])
    place = {name: m for m, name in enumerate(names)}
    without, beside = np.full(len(names), np.nan), np.full(len(names), np.nan)
    together = float("nan")
    total = 2 * len(names) + 1
    if progress is not None:
        progress("fusing all", 0, total)
    for number, variant in enumerate(fused_variants(tables, fusion or Wbf(iou=0.55), alone.tolist()), 1):
        value = prepared.evaluate(variant.table).AP
        if variant.kind == ALL_MEMBERS:
            together = value
        elif variant.kind == WITHOUT:
            without[place[variant.member]] = value
        else:
            beside[place[variant.member]] = value
        if progress is not None:
            progress(f"fusing without and with {variant.member or names[0]}", number, total)
    partner = np.array([max(np.delete(alone, m)) for m in range(len(names))])
    return Contributions(names, alone, together, without, beside, partner)
