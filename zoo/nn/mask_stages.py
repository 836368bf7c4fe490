"""Mask heads that take turns with the stages of box heads."""

import torch
from torch import Tensor, nn

from zoo.config import MaskHead, replace
from zoo.data.record import Target
from zoo.nn.cascade import BoxCascade, Trained
from zoo.nn.draws import Draws
from zoo.nn.mask_head import MaskBranch, MaskOutput
from zoo.nn.mask_iou import IoUHead

__all__ = ["MaskStages", "build_masks"]

_CERTAIN = 1e-6


class MaskStages(nn.Module):
    """A mask branch after each box stage; with `flow` each is given what those before make of its own features.

    Args:
        config: Settings of each branch.
        channels: Channels of the pyramid.
        num_classes: Classes without background.
        count: Box stages.
    """

    def __init__(self, config: MaskHead, channels: int, num_classes: int, count: int) -> None:
        super().__init__()
        plain = replace(config, iou=None)
        configs = [*[plain] * (count - 1), config]
        self.stages = nn.ModuleList(
            MaskBranch(one, channels, num_classes, config.flow and number > 0) for number, one in enumerate(configs)
        )

    @property
    def iou(self) -> IoUHead | None:
        """What predicts the IoU of masks; the last stage's."""
        return self._branch(len(self.stages) - 1).iou

    def forward(self, pyramid: list[Tensor], rois: Tensor, labels: Tensor) -> MaskOutput:
        """Draw the masks of regions [n, 5] of classes [n]: the mean of the stages' probabilities."""
        outputs: list[MaskOutput] = []
        for number, stage in enumerate(self.stages):
            share = outputs[-1].share if outputs else None
            outputs.append(stage(pyramid, rois, labels, share, self._before(number)))
        mean = torch.stack([output.logits.sigmoid() for output in outputs]).mean(0)
        return outputs[-1]._replace(logits=torch.logit(mean, _CERTAIN))

    def losses(
        self, pyramid: list[Tensor], stages: list[Trained], boxes: BoxCascade, targets: list[Target], draws: list[Draws]
    ) -> dict[str, Tensor]:
        """Train the branch of each stage on what the box head of that stage has refined.

        Raises:
            InputError: If a target has no masks.
        """
        losses: dict[str, Tensor] = {}
        for number, stage in enumerate(stages):
            regions = boxes.draw(stage.boxes, targets, draws, number, "masks ")
            weight, before = boxes.cascade.loss_weight[number], self._before(number)
            for name, loss in self._branch(number).losses(pyramid, regions, targets, before).items():
                losses[f"{name}_{number}"] = weight * loss
        return losses

    def _before(self, number: int) -> list[MaskBranch]:
        return [self._branch(earlier) for earlier in range(number)]

    def _branch(self, number: int) -> MaskBranch:
        branch = self.stages[number]
        assert isinstance(branch, MaskBranch)
        return branch


def build_masks(config: MaskHead, channels: int, num_classes: int, count: int) -> MaskBranch | MaskStages:
    """Build one mask branch, or one for each of several box stages."""
    match config.stages:
        case "first":
            return MaskBranch(config, channels, num_classes)
        case "each":
            return MaskStages(config, channels, num_classes, count)
