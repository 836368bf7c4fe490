"""The stages of box heads: one for Faster R-CNN, several for Cascade R-CNN."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from zoo.config import Model
from zoo.data.record import Target
from zoo.nn.box_heads import BoxStage, Stage, StageHead, own_boxes
from zoo.nn.draws import Draws
from zoo.nn.fpn import Pyramids
from zoo.nn.geometry import as_regions, clip
from zoo.nn.sampling import Regions, draw_regions

__all__ = ["BoxCascade", "Trained"]


class Trained(NamedTuple):
    """What a stage of the cascade has done in training.

    Attributes:
        regions: What it was trained on.
        losses: By name, weighted.
        boxes: float32 [n, 4] of each image, where it sees the objects, cut off at the image; without those of the
            ground truth that was put among its regions.
    """

    regions: Regions
    losses: dict[str, Tensor]
    boxes: list[Tensor]


class BoxCascade(nn.Module):
    """Heads that each start from the boxes of the one before.

    Args:
        config: The model's settings.
        channels: Channels of the pyramid.
        num_classes: Classes without background.
    """

    def __init__(self, config: Model, channels: int, num_classes: int) -> None:
        super().__init__()
        self.config = config
        self.stages = nn.ModuleList(BoxStage(config, channels, num_classes) for _ in config.cascade.iou)

    def forward(self, pyramids: Pyramids, rois: Tensor, stage: int) -> Any:
        """Let the head of one stage look at regions [n, 5]."""
        return self._head(stage)(pyramids, rois, self._stage(stage))

    def train_stages(
        self,
        pyramids: Pyramids,
        proposals: list[Tensor],
        targets: list[Target],
        sizes: list[tuple[int, int]],
        draws: list[Draws],
    ) -> Iterator[Trained]:
        """Train stage after stage, each on the boxes of the one before.

        Args:
            pyramids: P2-P6 of each task.
            proposals: float32 [n, 4] of each image.
            targets: Annotations.
            sizes: Height and width of each image without padding.
            draws: Random draws of each image.
        """
        config = self.config
        for number, iou in enumerate(config.cascade.iou):
            head, stage = self._head(number), self._stage(number)
            regions = draw_regions(proposals, targets, config.sampling, iou, config.rpn.ignore_iof, draws, number)
            output = self(pyramids, regions.rois, number)
            suffix = f"_{number}" if len(config.cascade.iou) > 1 else ""
            losses = {
                name + suffix: loss * config.cascade.loss_weight[number]
                for name, loss in head.losses(output, regions, targets, stage).items()
            }
            with torch.no_grad():
                boxes = own_boxes(head.boxes(output, regions.rois, stage), regions.labels)
            proposals = _by_image(boxes, regions, sizes)
            yield Trained(regions, losses, proposals)

    def detect(
        self, pyramids: Pyramids, proposals: list[Tensor], sizes: list[tuple[int, int]]
    ) -> list[tuple[Tensor, Tensor]]:
        """Return boxes and scores of each image before NMS.

        Args:
            pyramids: P2-P6 of each task.
            proposals: float32 [n, 4] of each image.
            sizes: Height and width of each image without padding.

        Returns:
            Boxes float32 [n, 4] or [n, classes, 4], and scores float32 [n, classes + 1].
        """
        cascade = self.config.cascade
        counts = [len(boxes) for boxes in proposals]
        scores: Tensor | float = 0.0
        for number in range(len(cascade.iou)):
            rois, head = as_regions(proposals), self._head(number)
            output = self(pyramids, rois, number)
            scores = scores + cascade.score_weight[number] * head.scores(output)
            boxes = head.boxes(output, rois, self._stage(number))
            proposals = [clip(own, size) for own, size in zip(torch.split(boxes, counts), sizes, strict=True)]
        assert isinstance(scores, Tensor)
        return list(zip(proposals, torch.split(scores / sum(cascade.score_weight), counts), strict=True))

    def _head(self, number: int) -> StageHead:
        head = self.stages[number]
        assert isinstance(head, StageHead)
        return head

    def _stage(self, number: int) -> Stage:
        return Stage(number, self.config.cascade.std[number], self.config.cascade.beta)


def _by_image(boxes: Tensor, regions: Regions, sizes: list[tuple[int, int]]) -> list[Tensor]:
    """Return the boxes [n, 4] of each image that are not of its ground truth, without empty ones."""
    image = regions.rois[:, 0]
    found = [clip(boxes[(image == number) & ~regions.added], size) for number, size in enumerate(sizes)]
    return [own[(own[:, 2:] > own[:, :2]).all(1)] for own in found]
