"""The stages of box heads: one for Faster R-CNN, several for Cascade R-CNN."""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from zoo.config import Cascade, Sampling
from zoo.data.record import Target
from zoo.nn.box_heads import Stage, StageHead, own_boxes
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
        heads: One for each stage.
        cascade: Settings of the stages.
        sampling: Which of the boxes a stage is trained on.
        ignore_iof: Boxes with a larger share in an ignore box are no background.
    """

    def __init__(self, heads: Iterable[StageHead], cascade: Cascade, sampling: Sampling, ignore_iof: float) -> None:
        super().__init__()
        self.cascade, self.sampling, self.ignore_iof = cascade, sampling, ignore_iof
        self.stages = nn.ModuleList(heads)

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
        for number in range(len(self.stages)):
            head, stage = self._head(number), self._stage(number)
            regions = self.draw(proposals, targets, draws, number)
            output = self(pyramids, regions.rois, number)
            suffix = f"_{number}" if len(self.stages) > 1 else ""
            losses = {
                name + suffix: loss * self.cascade.loss_weight[number]
                for name, loss in head.losses(output, regions, targets, stage).items()
            }
            with torch.no_grad():
                boxes = own_boxes(head.boxes(output, regions.rois, stage), regions.labels)
            proposals = _by_image(boxes, regions, sizes)
            yield Trained(regions, losses, proposals)

    def class_features(self, pyramids: Pyramids, rois: Tensor) -> Tensor:
        """Return what the first stage tells the categories of regions [n, 5] from."""
        return self._head(0).class_features(pyramids, rois)

    @property
    def class_channels(self) -> int:
        """Channels of `class_features`."""
        return self._head(0).class_channels

    def draw(
        self, boxes: list[Tensor], targets: list[Target], draws: list[Draws], number: int, purpose: str = ""
    ) -> Regions:
        """Return the regions to train on among boxes [n, 4] of each image, by the IoU that a stage asks for."""
        iou = self.cascade.iou[number]
        return draw_regions(boxes, targets, self.sampling, iou, self.ignore_iof, draws, f"{purpose}{number}")

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
        scores: Tensor | float = 0.0
        for number, (output, refined) in enumerate(self.refine(pyramids, proposals, sizes)):
            scores = scores + self.cascade.score_weight[number] * self._head(number).scores(output)
            boxes = refined
        assert isinstance(scores, Tensor)
        counts = [len(own) for own in proposals]
        return list(zip(boxes, torch.split(scores / sum(self.cascade.score_weight), counts), strict=True))

    def refine(
        self, pyramids: Pyramids, boxes: list[Tensor], sizes: list[tuple[int, int]]
    ) -> Iterator[tuple[Any, list[Tensor]]]:
        """Yield each stage's output and where it sees the objects of the boxes of the one before."""
        counts = [len(own) for own in boxes]
        for number in range(len(self.stages)):
            rois = as_regions(boxes)
            output = self(pyramids, rois, number)
            found = torch.split(self._head(number).boxes(output, rois, self._stage(number)), counts)
            boxes = [clip(own, size) for own, size in zip(found, sizes, strict=True)]
            yield output, boxes

    def category_cosines(self) -> Tensor:
        """Return how alike the categories' weights are, float32 [classes, classes] (mmfruit-openimages2019, Eq. 10).

        The rows of several stages are taken side by side (ours).
        """
        rows = torch.cat([self._head(number).category_rows() for number in range(len(self.stages))], dim=1)
        rows = functional.normalize(rows.detach().float(), dim=1)
        return rows @ rows.T

    def _head(self, number: int) -> StageHead:
        head = self.stages[number]
        assert isinstance(head, StageHead)
        return head

    def _stage(self, number: int) -> Stage:
        return Stage(number, self.cascade.std[number], self.cascade.beta)


def _by_image(boxes: Tensor, regions: Regions, sizes: list[tuple[int, int]]) -> list[Tensor]:
    """Return the boxes [n, 4] of each image that are not of its ground truth, without empty ones."""
    image = regions.rois[:, 0]
    found = [clip(boxes[(image == number) & ~regions.added], size) for number, size in enumerate(sizes)]
    return [own[(own[:, 2:] > own[:, :2]).all(1)] for own in found]
