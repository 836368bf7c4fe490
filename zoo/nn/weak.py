"""Weak supervision (mmfruit-openimages2019, sec. 5.7): a WSDDN beside the detector mines objects from image labels."""

import math
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torchvision.ops import nms

from zoo.config import WeakSupervision
from zoo.data.record import Target
from zoo.nn.cascade import BoxCascade
from zoo.nn.fpn import Pyramids
from zoo.nn.geometry import as_regions
from zoo.nn.losses import shared_count

__all__ = ["Logits", "WeakBranch", "log_probabilities", "presence", "region_scores", "teach_epoch"]


class Logits(NamedTuple):
    """What the branch says of the n regions of an image.

    Attributes:
        classes: float32 [n, classes], which compete within a region.
        regions: float32 [n, classes], which compete within a category.
    """

    classes: Tensor
    regions: Tensor


class WeakBranch(nn.Module):
    """Tells which categories an image has from the class features of its regions, and where they are best seen.

    Args:
        config: Settings.
        channels: Channels of the features.
        num_classes: Classes without background.
    """

    warmup: Tensor

    def __init__(self, config: WeakSupervision, channels: int, num_classes: int) -> None:
        super().__init__()
        self.config = config
        self.classes, self.regions = nn.Linear(channels, num_classes), nn.Linear(channels, num_classes)
        for layer in (self.classes, self.regions):
            nn.init.normal_(layer.weight, std=0.01)
            nn.init.zeros_(layer.bias)
        # passes before the first objects are mined; `teach_epoch` says how many an epoch has
        self.register_buffer("warmup", torch.zeros((), dtype=torch.int64))

    def forward(
        self, cascade: BoxCascade, pyramids: Pyramids, proposals: list[Tensor], targets: list[Target], step: int
    ) -> tuple[Tensor, list[Target]]:
        """Return the loss, and the targets with the objects mined in images with labels only.

        Args:
            cascade: Has the head whose class features are taken.
            pyramids: P2-P6 of each task.
            proposals: float32 [n, 4] of each image, best first.
            targets: Annotations.
            step: Number of the forward pass.
        """
        boxes = [own[: self.config.rois] for own in proposals]
        features = cascade.class_features(pyramids, as_regions(boxes))
        counts = [len(own) for own in boxes]
        parts = [layer(features).float().split(counts) for layer in (self.classes, self.regions)]
        images = [Logits(*own) for own in zip(*parts, strict=True)]
        loss = self.config.weight * self.loss(images, targets)
        if step < int(self.warmup):
            return loss, targets
        return loss, [
            self.mined(own, region_scores(*found).detach(), target) if target.labels_only else target
            for own, found, target in zip(boxes, images, targets, strict=True)
        ]

    def loss(self, images: list[Logits], targets: list[Target]) -> Tensor:
        """Return the cross entropy of what images have, summed over categories, as a mean over images.

        Args:
            images: Of each image; one without regions says nothing.
            targets: Annotations.
        """
        terms = []
        for own, target in zip(images, targets, strict=True):
            terms.append(0 * (own.classes.sum() + own.regions.sum()))
            if len(own.classes):
                present, known = presence(target, own.classes.shape[1], self.config.verified)
                there, absent = log_probabilities(*own)
                terms[-1] = -(torch.where(present, there, absent) * known).sum() * target.loss_weight
        total = torch.stack(terms).sum()
        return total / shared_count(len(terms), total)

    def mined(self, boxes: Tensor, scores: Tensor, target: Target) -> Target:
        """Return the target of an image with the regions in which the categories of its labels are best seen.

        Args:
            boxes: float32 [n, 4].
            scores: float32 [n, classes].
            target: With image labels; each object is given the image's probability of its category as weight.
        """
        if not len(boxes) or target.image_labels is None:
            return target
        kept, labels, weights = [], [], []
        for category in target.image_labels.nonzero().squeeze(1).tolist():
            own = scores[:, category]
            best = nms(boxes, own, self.config.nms_iou)
            best = best[own[best] >= self.config.share * own.max()]
            kept.append(boxes[best])
            labels.append(torch.full_like(best, category + 1))
            weights.append(own.sum().clamp(max=1).expand(len(best)))
        if not kept:
            return target
        whole = boxes.new_tensor([[0.0, 0.0, target.size[1], target.size[0]]])
        return replace(
            target,
            boxes=torch.cat(kept),
            labels=torch.cat(labels),
            box_weight=torch.cat(weights),
            ignore_boxes=whole if self.config.background == "none" else whole[:0],
            ignore_labels=None,
        )


def region_scores(classes: Tensor, regions: Tensor) -> Tensor:
    """Return how much each region of an image speaks for each category: their sums are the image's probabilities.

    Args:
        classes: float32 [n, classes], logits that compete within a region.
        regions: float32 [n, classes], logits that compete within a category.
    """
    return classes.softmax(1) * regions.softmax(0)


def log_probabilities(classes: Tensor, regions: Tensor) -> tuple[Tensor, Tensor]:
    """Return the logarithms of an image's probabilities p and of 1 - p, float32 [classes].

    Both come from logarithms, since p itself, cut off near 0 and 1, has no gradient that leads back from there.
    As the weights of the regions add up to 1, 1 - p is the sum of (1 - class softmax) times the weight.

    Args:
        classes: float32 [n, classes], as for `region_scores`, of at least one region.
        regions: float32 [n, classes].
    """
    whole = classes.logsumexp(1, keepdim=True)
    top = torch.zeros_like(classes, dtype=torch.bool).scatter_(1, classes.argmax(1, keepdim=True), True)
    others = classes.masked_fill(top, torch.finfo(classes.dtype).min).logsumexp(1, keepdim=True)
    of_class = classes - whole
    of_others = torch.where(top, others - whole, torch.log1p(-of_class.exp().masked_fill(top, 0.0)))
    weight = regions.log_softmax(0)
    return (of_class + weight).logsumexp(0), (of_others + weight).logsumexp(0)


def presence(target: Target, num_classes: int, verified: bool) -> tuple[Tensor, Tensor]:
    """Return which categories an image has, and of which this is known, bool [classes].

    An image with boxes has the categories of its boxes, group-of and other ignored ones among them. A label that is
    verified as present without a box, such as of an object that was cut off, says nothing.

    Args:
        target: Annotations.
        num_classes: Classes without background.
        verified: Categories that nobody has verified are not known; otherwise they are absent.
    """
    labels = torch.zeros(num_classes, dtype=torch.bool, device=target.labels.device)
    if target.image_labels is not None:
        labels = target.image_labels
    known = torch.ones_like(labels)
    if verified and target.verified is not None:
        known = target.verified
    if target.labels_only:
        return labels, known
    present = torch.zeros_like(labels)
    present[target.labels - 1] = True
    if target.ignore_labels is not None:
        present[target.ignore_labels - 1] = True
    return present, (known & ~labels) | present


def teach_epoch(model: nn.Module, passes: float) -> None:
    """Tell a model how many forward passes an epoch has; before training, a checkpoint keeps it."""
    for module in model.modules():
        if isinstance(module, WeakBranch):
            module.warmup.fill_(math.ceil(module.config.warmup * passes))
