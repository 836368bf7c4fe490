"""The decoupling head (mmfruit-openimages2019, sec. 2): classes and boxes are each read from where it is best."""

from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from zoo.config import DecoupledHead, FCHead, Model
from zoo.data.record import Target
from zoo.nn.box_heads import BoxOutput, BoxStage, Stage, StageHead, own_boxes
from zoo.nn.fpn import Pyramids
from zoo.nn.geometry import decode, pair_iou
from zoo.nn.losses import shared_count, weighted_mean
from zoo.nn.sampling import Regions

__all__ = ["Decoupled", "DecoupledStage", "Shifts", "build_stage", "margin_loss"]


class Decoupled(NamedTuple):
    """What a decoupled head says about n regions.

    Attributes:
        own: Its logits and deltas; the deltas start from `rois`.
        rois: float32 [n, 5], the regions shifted for their boxes, without a gradient.
        sibling: What the plain head says of the regions as they are; None at test.
    """

    own: BoxOutput
    rois: Tensor
    sibling: BoxOutput | None


class Shifts(nn.Module):
    """Predicts the shifts of Eq. 1 and 2 from the pooled features of a region; both start at zero.

    Args:
        config: Widths, and how far a shift goes.
        channels: Channels of the features.
        size: Bins along each side.
    """

    def __init__(self, config: DecoupledHead, channels: int, size: int) -> None:
        super().__init__()
        self.gamma, self.size = config.gamma, size
        self.shared = nn.Sequential(nn.Linear(channels * size * size, config.hidden), nn.ReLU(inplace=True))
        self.classes = _shift(config.hidden, 2 * size * size)
        self.boxes = _shift(config.hidden, 2)

    def forward(self, pooled: Tensor) -> tuple[Tensor, Tensor]:
        """Return shifts in widths and heights of the regions: of each bin [n, 2, s, s], and of the whole [n, 2]."""
        features = self.shared(pooled.flatten(1))
        bins = self.classes(features).float().view(-1, 2, self.size, self.size)
        return self.gamma * bins, self.gamma * self.boxes(features).float()


class DecoupledStage(StageHead):
    """Bins shifted one by one for classes, the region shifted for its box; a plain head beside it in training.

    Args:
        config: The model's settings, with a `DecoupledHead`.
        channels: Channels of the pyramid.
        num_classes: Classes without background.
        number: Of the stage.
    """

    def __init__(self, config: Model, channels: int, num_classes: int, number: int = 0) -> None:
        super().__init__()
        head = config.head
        assert isinstance(head, DecoupledHead)
        self.margins, self.clip = head.margins, head.clip
        self.own = BoxStage(config, channels, num_classes, number)
        self.class_channels = self.own.class_channels
        plain = replace(config, head=FCHead(channels=head.channels, class_agnostic=head.class_agnostic))
        self.sibling = BoxStage(plain, channels, num_classes, number)
        self.shifts = Shifts(head, channels, config.pool.size)

    def forward(self, pyramids: Pyramids, rois: Tensor, stage: Stage) -> Decoupled:
        """Look at regions [n, 5] of a batch."""
        pool = self.own.pool
        pooled = pool(pyramids.boxes, rois)
        bins, whole = self.shifts(pooled)
        classes = pool(pyramids.classes, rois, shifts=bins)
        boxes = pool(pyramids.boxes, rois, shifts=whole[:, :, None, None].expand_as(bins))
        sides = rois[:, 3:] - rois[:, 1:3]
        moved = rois + functional.pad((whole.detach() * sides).repeat(1, 2), (1, 0))
        sibling = self.sibling.predict(pooled, pooled) if self.training else None
        return Decoupled(self.own.predict(classes, boxes), moved, sibling)

    def losses(self, output: Decoupled, regions: Regions, targets: list[Target], stage: Stage) -> dict[str, Tensor]:
        """Return "class" and "box" of the head and of its sibling, and the margins that it does not reach."""
        assert output.sibling is not None
        moved = replace(regions, rois=output.rois)
        found = self.own.losses(output.own, moved, targets, stage)
        plain = self.sibling.losses(output.sibling, regions, targets, stage)
        found |= {f"sibling_{name}": loss for name, loss in plain.items()}
        scores = [
            head.scores(said).gather(1, regions.labels[:, None]).squeeze(1)
            for head, said in ((self.sibling, output.sibling), (self.own, output.own))
        ]
        positive = (regions.labels > 0).nonzero().squeeze(1)
        labels, goal = regions.labels[positive], regions.goal[positive]
        overlaps = []
        for deltas, rois in ((output.sibling.deltas, regions.rois), (output.own.deltas, output.rois)):
            own = own_boxes(deltas[positive], labels)
            overlaps.append(pair_iou(decode(own, rois[positive, 1:], stage.std), goal))
        taught = regions.box_weight(targets)[positive]
        margins = (scores, regions.weight, self.margins[0]), (overlaps, taught, self.margins[1])
        for name, ((before, now), weight, margin) in zip(("class", "box"), margins, strict=True):
            lacking = margin_loss(before, now, margin, self.clip)
            found[f"margin_{name}"] = weighted_mean(lacking, weight, shared_count(len(weight), lacking))
        return found

    def boxes(self, output: Decoupled, rois: Tensor, stage: Stage) -> Tensor:
        """Return the shifted regions moved by the deltas."""
        return self.own.boxes(output.own, output.rois, stage)

    def scores(self, output: Decoupled) -> Tensor:
        """Return the classifier's scores, not those of the sibling."""
        return self.own.scores(output.own)

    def class_features(self, pyramids: Pyramids, rois: Tensor) -> Tensor:
        """Return the features of the shifted bins."""
        bins, _ = self.shifts(self.own.pool(pyramids.boxes, rois))
        return self.own.features_of(self.own.pool(pyramids.classes, rois, shifts=bins))

    def category_rows(self) -> Tensor:
        """Return those of the head, not of the sibling."""
        return self.own.category_rows()


def build_stage(config: Model, channels: int, num_classes: int, number: int = 0) -> StageHead:
    """Build the head of a stage; the arguments are those of `BoxStage`."""
    match config.head:
        case DecoupledHead():
            return DecoupledStage(config, channels, num_classes, number)
        case _:
            return BoxStage(config, channels, num_classes, number)


def margin_loss(before: Tensor, now: Tensor, margin: float, clip: bool) -> Tensor:
    """Return what a score or IoU lacks to be better than another by a margin (Eq. 5 and 6), [n].

    Args:
        before: float32 [n], of the plain head, which the loss does not teach.
        now: float32 [n], of the decoupled one.
        margin: By how much it is to be better.
        clip: Ask for no more than 1.
    """
    before = before.detach()
    wanted = (1 - before).clamp(max=margin) if clip else torch.full_like(before, margin)
    return functional.relu(before - now + wanted)


def _shift(hidden: int, outputs: int) -> nn.Sequential:
    last = nn.Linear(hidden, outputs)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return nn.Sequential(nn.Linear(hidden, hidden), nn.ReLU(inplace=True), last)
