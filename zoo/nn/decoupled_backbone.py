"""A backbone with a branch for classes and one for boxes from stride 8 on (mmfruit-openimages2019, sec. 5.2)."""

from copy import deepcopy
from typing import NamedTuple

from torch import Tensor, nn

from zoo.config import Model
from zoo.data.record import Target
from zoo.nn.backbones import Trunk
from zoo.nn.box_heads import Stage, StageHead
from zoo.nn.decoupled_head import build_stage
from zoo.nn.fpn import Pyramid, Pyramids
from zoo.nn.sampling import Regions

__all__ = ["BothHeads", "ClassBranch", "build_head"]


class ClassBranch(nn.Module):
    """The branch for classes: copies of what makes C4, C5 and the pyramid; the network's own ones are that for boxes.

    Args:
        trunk: The backbone, with the weights to begin with.
        neck: Its pyramid.
    """

    def __init__(self, trunk: Trunk, neck: Pyramid) -> None:
        super().__init__()
        self.stages = nn.ModuleList(deepcopy(trunk.last_stages()))
        self.neck = deepcopy(neck)

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        """Return the pyramid P2-P6 of the branch from C2-C5 of the backbone, of which C2 and C3 are shared."""
        own = list(maps[:2])
        for stage in self.stages:
            own.append(stage(own[-1]))
        pyramid: list[Tensor] = self.neck(own)
        return pyramid


class _Said(NamedTuple):
    """What each of the two heads says of the same regions."""

    classes: object
    boxes: object


class BothHeads(StageHead):
    """A head on each branch: both learn both tasks, scores are of one and boxes of the other.

    Args:
        classes: The head on the branch for classes.
        boxes: The head on the branch for boxes.
        weight: Factor on the losses of the other task.
    """

    def __init__(self, classes: StageHead, boxes: StageHead, weight: float) -> None:
        super().__init__()
        self.of_classes, self.of_boxes, self.weight = classes, boxes, weight
        self.class_channels = classes.class_channels

    def forward(self, pyramids: Pyramids, rois: Tensor, stage: Stage) -> _Said:
        """Look at regions [n, 5] of a batch."""
        return _Said(
            self.of_classes(Pyramids.shared(pyramids.classes), rois, stage),
            self.of_boxes(Pyramids.shared(pyramids.boxes), rois, stage),
        )

    def losses(self, output: _Said, regions: Regions, targets: list[Target], stage: Stage) -> dict[str, Tensor]:
        """Return the losses of both branches, those of the other task with the lower weight."""
        found = {}
        for task, head, said in (("class", self.of_classes, output.classes), ("box", self.of_boxes, output.boxes)):
            for name, loss in head.losses(said, regions, targets, stage).items():
                found[f"{task}_branch_{name}"] = loss if name.endswith(task) else self.weight * loss
        return found

    def boxes(self, output: _Said, rois: Tensor, stage: Stage) -> Tensor:
        """Return those of the branch for boxes."""
        return self.of_boxes.boxes(output.boxes, rois, stage)

    def scores(self, output: _Said) -> Tensor:
        """Return those of the branch for classes."""
        return self.of_classes.scores(output.classes)

    def class_features(self, pyramids: Pyramids, rois: Tensor) -> Tensor:
        """Return those of the branch for classes."""
        return self.of_classes.class_features(Pyramids.shared(pyramids.classes), rois)

    def category_rows(self) -> Tensor:
        """Return those of the branch for classes."""
        return self.of_classes.category_rows()


def build_head(config: Model, channels: int, num_classes: int, number: int = 0) -> StageHead:
    """Build what a cascade has in a stage; the arguments are those of `BoxStage`."""
    if config.decoupled is None:
        return build_stage(config, channels, num_classes, number)
    classes, boxes = (build_stage(config, channels, num_classes, number) for _ in range(2))
    return BothHeads(classes, boxes, config.decoupled.weight)
