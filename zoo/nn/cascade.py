"""The stages of box heads: one for Faster R-CNN, several for Cascade R-CNN."""

import torch
from torch import Tensor, nn

from zoo.config import Model
from zoo.data.record import Target
from zoo.nn.box_heads import BoxOutput, BoxStage
from zoo.nn.draws import Draws
from zoo.nn.geometry import as_regions, clip, decode, encode
from zoo.nn.losses import box_loss, shared_count, weighted_mean
from zoo.nn.sampling import Regions, draw_regions

__all__ = ["BoxCascade"]


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

    def forward(self, pyramid: list[Tensor], rois: Tensor, stage: int) -> BoxOutput:
        """Let one stage look at regions [n, 5]."""
        output: BoxOutput = self.stages[stage](pyramid, rois)
        return output

    def losses(
        self,
        pyramid: list[Tensor],
        proposals: list[Tensor],
        targets: list[Target],
        sizes: list[tuple[int, int]],
        draws: list[Draws],
    ) -> tuple[dict[str, Tensor], Regions]:
        """Train every stage on the proposals of the one before.

        Args:
            pyramid: P2-P6.
            proposals: float32 [n, 4] of each image.
            targets: Annotations.
            sizes: Height and width of each image without padding.
            draws: Random draws of each image.

        Returns:
            Losses, and the regions of the first stage, which the mask head is trained on.
        """
        config, losses = self.config, {}
        first: Regions | None = None
        for stage, iou in enumerate(config.cascade.iou):
            regions = draw_regions(proposals, targets, config.sampling, iou, config.rpn.ignore_iof, draws, stage)
            first = first or regions
            output = self(pyramid, regions.rois, stage)
            weight = config.cascade.loss_weight[stage]
            suffix = f"_{stage}" if len(config.cascade.iou) > 1 else ""
            for name, loss in self._stage_losses(output, regions, stage).items():
                losses[name + suffix] = loss * weight
            if stage + 1 < len(config.cascade.iou):
                proposals = self._refined(output.deltas, regions, stage, sizes)
        assert first is not None
        return losses, first

    def _stage_losses(self, output: BoxOutput, regions: Regions, stage: int) -> dict[str, Tensor]:
        count = shared_count(len(regions), output.logits)
        classifier = self.stages[stage].classifier
        classes = classifier.loss(output.logits, regions.labels)  # type: ignore[operator, union-attr]
        nothing = output.logits.sum() * 0 + output.deltas.sum() * 0
        positive = (regions.labels > 0).nonzero().squeeze(1)
        deltas = output.deltas[positive]
        if deltas.dim() == 3:
            deltas = deltas[torch.arange(len(positive), device=deltas.device), regions.labels[positive] - 1]
        goal = encode(regions.rois[positive, 1:], regions.goal[positive], self.config.cascade.std[stage])
        boxes = box_loss(deltas, goal, self.config.cascade.beta)
        return {
            "class": weighted_mean(classes, regions.weight, count) + nothing,
            "box": weighted_mean(boxes, regions.weight[positive], count) + nothing,
        }

    @torch.no_grad()
    def _refined(self, deltas: Tensor, regions: Regions, stage: int, sizes: list[tuple[int, int]]) -> list[Tensor]:
        boxes = decode(deltas, regions.rois[:, 1:], self.config.cascade.std[stage])
        own = regions.rois[:, 0]
        return [_not_empty(clip(boxes[(own == image) & ~regions.added], size)) for image, size in enumerate(sizes)]

    def detect(
        self, pyramid: list[Tensor], proposals: list[Tensor], sizes: list[tuple[int, int]]
    ) -> list[tuple[Tensor, Tensor]]:
        """Return boxes and scores of each image before NMS.

        Args:
            pyramid: P2-P6.
            proposals: float32 [n, 4] of each image.
            sizes: Height and width of each image without padding.

        Returns:
            Boxes float32 [n, 4] or [n, classes, 4], and scores float32 [n, classes + 1].
        """
        cascade = self.config.cascade
        counts = [len(boxes) for boxes in proposals]
        scores: Tensor | float = 0.0
        for stage in range(len(cascade.iou)):
            rois = as_regions(proposals)
            output = self(pyramid, rois, stage)
            scores = scores + cascade.score_weight[stage] * self.stages[stage].classifier.scores(output.logits)  # type: ignore[operator, union-attr]
            boxes = decode(output.deltas, rois[:, 1:], cascade.std[stage])
            proposals = [clip(own, size) for own, size in zip(torch.split(boxes, counts), sizes, strict=True)]
        assert isinstance(scores, Tensor)
        return list(zip(proposals, torch.split(scores / sum(cascade.score_weight), counts), strict=True))


def _not_empty(boxes: Tensor) -> Tensor:
    return boxes[(boxes[:, 2:] > boxes[:, :2]).all(1)]
