"""The reports' recipes, ready by name; each is a road of stages, the last of which is the recipe."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from fusion.errors import InputError
from fusion.learned import TunedOn
from fusion.recipe import ALL, OUTPUT, Node, Recipe
from fusion.scales import Scales
from fusion.score_maps import CategoryMaps, ScoreMap
from fusion.steps.adj_nms import AdjNms
from fusion.steps.base import Step
from fusion.steps.calibrate import Calibrate
from fusion.steps.expand_hierarchy import ExpandHierarchy
from fusion.steps.merge_scales import MergeScales
from fusion.steps.nms import Nms
from fusion.steps.nms_then_soft import NmsThenSoft
from fusion.steps.reweight import Reweight
from fusion.steps.select_views import SelectViews
from fusion.steps.soft_nms import SoftNms
from fusion.steps.vote import Vote
from fusion.steps.vote_masks import VoteMasks
from fusion.views import by_resolution
from fusion.weights import Weights

__all__ = ["READY", "Learned", "Milestone", "ReadyRecipe", "find_ready"]


_LVIS_SCORE = 1e-4  # LVIS counts detections of low scores
_LEVELS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Learned:
    """What a ready recipe may take besides the tables.

    Attributes:
        maps: Calibration of the members' scores (`quorum learn calibration`), for all recipes; the reports did without.
        weights: Of each member per category (`quorum learn weights --builder ap_ratio`).
        scales: Weights and limits of views (`quorum learn scales`).
        parents: Category id -> ids of its ancestors.
        vote_masks: Whether masks of the inputs vote on the boxes that come out.
        members: Names of the members in the order given; empty where they are not known.
        tuned_on: The data that weights or scales were learned on.
    """

    maps: Mapping[str, ScoreMap | CategoryMaps] | None = None
    weights: Weights | None = None
    scales: Scales | None = None
    parents: Mapping[int, Sequence[int]] | None = None
    vote_masks: bool = False
    members: Sequence[str] = ()
    tuned_on: TunedOn | None = None


@dataclass(frozen=True, slots=True)
class Milestone:
    """A step on the road to a recipe: what is added, and the recipe so far."""

    added: str
    recipe: Recipe


@dataclass(frozen=True, slots=True)
class ReadyRecipe:
    """A report's recipe.

    Attributes:
        name: What it is called by.
        source: Report, section and equation.
        summary: What it does; what the report leaves open and is settled here.
        takes: What of `Learned` it can use.
        needs: What of that it cannot do without.
        build: Makes the stages.
    """

    name: str
    source: str
    summary: str
    takes: tuple[str, ...]
    needs: tuple[str, ...]
    build: Callable[[Learned], list[Milestone]]

    def stages(self, learned: Learned) -> list[Milestone]:
        """Return the road, simplest stage first.

        Raises:
            InputError: If something it needs is missing, or it is given what it does not use.
        """
        for name, option in _OPTIONS.items():
            given = getattr(learned, name) not in (None, False)
            if given and name not in self.takes:
                raise InputError(f"recipe {self.name}", f"does not use {option}", "Leave it out")
            if not given and name in self.needs:
                raise InputError(f"recipe {self.name}", f"needs {option}", _REMEDIES[name])
        return self.build(learned)

    def recipe(self, learned: Learned) -> Recipe:
        """Return the whole recipe; see `stages`."""
        return self.stages(learned)[-1].recipe


_OPTIONS = {
    "weights": "--weights",
    "scales": "--scales",
    "parents": "a class tree",
    "vote_masks": "--vote-masks",
}
_REMEDIES = {
    "weights": "Learn them with: quorum learn weights TABLES -g GROUND_TRUTH --builder ap_ratio -o weights.toml",
    "scales": "Learn them with: quorum learn scales TABLES -g GROUND_TRUTH -o scales.toml",
}


def _road(learned: Learned, *chains: tuple[str, Sequence[Step]], choose: SelectViews | None = None) -> list[Milestone]:
    """Make a stage of each chain of steps, of calibration after the first, and of voting masks after the last.

    Args:
        learned: What goes into it.
        chains: What each stage adds, and its steps.
        choose: Which views' masks vote on a box; None for all.
    """
    road = list(chains)
    if learned.maps is not None:
        calibrate = Calibrate(maps=learned.maps)
        calibrated = [(added, [calibrate, *steps]) for added, steps in road]
        road = [road[0], ("calibrated scores", calibrated[0][1]), *calibrated[1:]]
    stages = [Milestone(added, Recipe.chain(steps, learned.tuned_on)) for added, steps in road]
    if learned.vote_masks:
        whole = stages[-1].recipe
        nodes = {"boxes" if name == OUTPUT else name: node for name, node in whole.nodes.items()}
        voters, added = ALL, "masks voted"
        if choose is not None:
            voters, added = "voters", "masks of the views for their size voted"
            nodes[voters] = Node(choose, ("boxes", ALL))
        nodes[OUTPUT] = Node(VoteMasks(), ("boxes", voters))
        stages.append(Milestone(added, Recipe(nodes, learned.tuned_on)))
    return stages


def _mmfruit(learned: Learned) -> list[Milestone]:
    weighted = Reweight(weights=learned.weights or {}, builder="ap_ratio")
    vote, adjusted = Vote(k=4, score=0.05, box=0.3), AdjNms(iou=0.5, sigma=0.5)
    road: list[tuple[str, Sequence[Step]]] = [
        ("NMS", [Nms(iou=0.5)]),
        ("scores weighted by AP (PFDet)", [weighted, Nms(iou=0.5)]),
        ("voting", [weighted, vote]),
        ("adj-NMS", [weighted, vote, adjusted]),
    ]
    if learned.parents is not None:
        road.append(("hierarchy", [weighted, vote, adjusted, ExpandHierarchy(parents=learned.parents)]))
    return _road(learned, *road)


def _lvistraveler(learned: Learned) -> list[Milestone]:
    suppress = NmsThenSoft(iou=0.7, floor=_LVIS_SCORE)
    road: list[tuple[str, Sequence[Step]]] = [("NMS", [Nms(iou=0.5)]), ("NMS 0.7, soft-NMS", [suppress])]
    choose = None
    if learned.scales is not None:
        merged = MergeScales(scales=learned.scales, iou=0.7, floor=_LVIS_SCORE)
        road.append(("ranges of sizes, rare boost", [merged]))
        named = by_resolution([*learned.scales.limits, *learned.scales.weights], _LEVELS)
        choose = SelectViews(views=named, rule="log2") if named else None
    return _road(learned, *road, choose=choose)


def _alibaba(learned: Learned) -> list[Milestone]:
    soft = SoftNms(method="linear", iou=0.5, floor=_LVIS_SCORE)
    road: list[tuple[str, Sequence[Step]]] = [("NMS", [Nms(iou=0.5)]), ("soft-NMS", [soft])]
    if learned.scales is not None:
        # an IoU of 1 leaves hard suppression out
        merged = MergeScales(scales=learned.scales, iou=1.0, method="linear", soft_iou=0.5, floor=_LVIS_SCORE)
        road.append(("scale-adaptive", [merged]))
    return _road(learned, *road)


def _megdet(learned: Learned) -> list[Milestone]:
    road = _road(replace(learned, vote_masks=False), ("ensemble", [SoftNms()]))
    if len(learned.members) > 1:
        # Table 4 adds soft-NMS and the views of one model before the other models
        first = learned.members[0]
        alone: list[tuple[str, Step]] = [(f"{first}, NMS of its views", Nms(iou=0.5)), ("soft-NMS", SoftNms())]
        road = [
            Milestone(added, Recipe({OUTPUT: Node(step, (first,))}, learned.tuned_on)) for added, step in alone
        ] + road
    if learned.vote_masks:
        nodes = {"boxes" if name == OUTPUT else name: node for name, node in road[-1].recipe.nodes.items()}
        # Table 5 ensembles the masks of two models
        nodes[OUTPUT] = Node(VoteMasks(), ("boxes", *(learned.members[:2] or (ALL,))))
        road.append(Milestone("masks of the first two voted", Recipe(nodes, learned.tuned_on)))
    return road


def find_ready(name: str) -> ReadyRecipe | None:
    """Return the report's recipe of a name, None where it is a file's.

    Raises:
        InputError: If there is neither.
    """
    if name not in READY and not Path(name).exists() and not name.endswith(".toml"):
        problem = "is no file and no recipe of this name"
        raise InputError(f"recipe {name!r}", problem, f"Those ready are {', '.join(READY)}")
    return READY.get(name)


READY: Mapping[str, ReadyRecipe] = {
    ready.name: ready
    for ready in (
        ReadyRecipe(
            "mmfruit-naive",
            "mmfruit-openimages2019, sec. 4.1 and Eq. 7 to 9",
            "scores weighted by each member's relative AP per category, boxes voted by their 4 best-overlapping ones, "
            "adj-NMS, classes expanded by the hierarchy",
            ("weights", "parents", "vote_masks"),
            ("weights",),
            _mmfruit,
        ),
        ReadyRecipe(
            "lvistraveler-tta",
            "lvistraveler-lvis2020, sec. 3.3",
            "views pooled, each for its range of sizes, rare categories raised, NMS 0.7, then soft-NMS; masks voted by "
            "the views for the size of the box and the share of it that the mask covers, with pyramids' rule for boxes",
            ("scales", "vote_masks"),
            (),
            _lvistraveler,
        ),
        ReadyRecipe(
            "alibaba-tta",
            "alibaba-lvis2020, sec. 4.2 and Table 2",
            "views pooled with soft-NMS at IoU 0.5 (linear, as a threshold is given), weights per view and size, "
            "masks voted",
            ("scales", "vote_masks"),
            (),
            _alibaba,
        ),
        ReadyRecipe(
            "megdetv2-ensemble",
            "megdetv2-coco2019, sec. 2.3 (2, 8, 9), sec. 3.2 (6, 7), Tables 4 and 5",
            "the first model's views, then those of all pooled with gaussian soft-NMS, masks of the first two voted; "
            "how models are put together is not printed in the report",
            ("vote_masks",),
            (),
            _megdet,
        ),
    )
}
