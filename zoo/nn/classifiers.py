"""From class features to scores of classes and background; each offers a loss and scores."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from zoo.config import (
    Classifier,
    CosineSoftmax,
    DoubleClassifier,
    EqualizedSigmoid,
    GroupSoftmax,
    Seesaw,
    Softmax,
    TauSoftmax,
)
from zoo.data.counts import CategoryCounts
from zoo.data.record import Target
from zoo.nn.long_tail import GroupClassifier, PairedClassifiers, SeesawClassifier
from zoo.nn.losses import shared_count, weighted_mean
from zoo.nn.region_classifier import RegionClassifier
from zoo.nn.sampling import Regions

__all__ = [
    "CosineClassifier",
    "SigmoidClassifier",
    "SoftmaxClassifier",
    "TauClassifier",
    "build_classifier",
    "teach_counts",
]


class SoftmaxClassifier(RegionClassifier):
    """A linear layer and softmax; class 0 is background.

    Args:
        channels: Channels of the features.
        num_classes: Classes without background.
        verified: As in the config.
    """

    def __init__(self, channels: int, num_classes: int, verified: bool = False) -> None:
        super().__init__()
        self.outputs, self.verified = num_classes + 1, verified
        self.linear = nn.Linear(channels, num_classes + 1)
        nn.init.normal_(self.linear.weight, std=0.01)
        nn.init.zeros_(self.linear.bias)

    def forward(self, features: Tensor) -> Tensor:
        """Return logits [n, classes + 1] of features [n, channels]."""
        logits: Tensor = self.linear(features)
        return logits

    def loss(self, logits: Tensor, regions: Regions, targets: list[Target]) -> Tensor:
        """Return the mean over all regions, each with its weight."""
        numbers = logits.float()
        if self.verified and targets:
            unknown = ~_known(targets, regions, numbers.shape[1] - 1) & (regions.labels == 0)[:, None]
            numbers = torch.cat([numbers[:, :1], numbers[:, 1:].masked_fill(unknown, -math.inf)], dim=1)
        each = functional.cross_entropy(numbers, regions.labels, reduction="none")
        return weighted_mean(each, regions.weight, shared_count(len(regions), logits))

    def scores(self, logits: Tensor) -> Tensor:
        """Return probabilities, float32 [n, classes + 1]."""
        return logits.float().softmax(1)

    def category_rows(self) -> Tensor:
        """Return the rows of the layer without the background's."""
        return self.linear.weight[1:]


class CosineClassifier(SoftmaxClassifier):
    """Softmax over scaled cosines; the length of the features does not matter."""

    def __init__(self, channels: int, num_classes: int, scale: float) -> None:
        super().__init__(channels, num_classes)
        self.scale = scale
        self.linear = nn.Linear(channels, num_classes + 1, bias=False)
        nn.init.normal_(self.linear.weight, std=0.01)

    def forward(self, features: Tensor) -> Tensor:
        """Return logits [n, classes + 1] in -scale..scale."""
        with torch.autocast(features.device.type, enabled=False):
            return self.scale * functional.linear(
                functional.normalize(features.float(), dim=1), functional.normalize(self.linear.weight.float(), dim=1)
            )


class TauClassifier(SoftmaxClassifier):
    """Softmax whose class weights are divided by a power of their norms at test."""

    def __init__(self, channels: int, num_classes: int, tau: float) -> None:
        super().__init__(channels, num_classes)
        self.tau = tau

    def forward(self, features: Tensor) -> Tensor:
        """Return logits [n, classes + 1]; background keeps its weights."""
        if self.training:
            return super().forward(features)
        weight = self.linear.weight
        norm = weight.norm(dim=1, keepdim=True).clamp(min=1e-12) ** self.tau
        norm = norm / norm.mean()
        norm = torch.cat([torch.ones_like(norm[:1]), norm[1:]])
        return functional.linear(features, weight / norm, self.linear.bias)


class SigmoidClassifier(RegionClassifier):
    """A sigmoid for each category; of a rare one's loss only its own objects, and background, are part.

    Args:
        channels: Channels of the features.
        num_classes: Classes without background.
        config: Settings.
    """

    rare: Tensor

    def __init__(self, channels: int, num_classes: int, config: EqualizedSigmoid) -> None:
        super().__init__()
        self.config, self.outputs = config, num_classes
        self.linear = nn.Linear(channels, num_classes)
        nn.init.normal_(self.linear.weight, std=0.01)
        nn.init.constant_(self.linear.bias, -math.log(999))
        self.register_buffer("rare", torch.zeros(num_classes, dtype=torch.bool))

    def count(self, counts: CategoryCounts) -> None:
        """Learn which categories are rare."""
        self.rare.copy_(counts.images < self.config.rare * counts.total)

    def forward(self, features: Tensor) -> Tensor:
        """Return logits [n, classes] of features [n, channels]."""
        logits: Tensor = self.linear(features)
        return logits

    def loss(self, logits: Tensor, regions: Regions, targets: list[Target]) -> Tensor:
        """Return the sum over categories, as a mean over all regions."""
        truth = functional.one_hot(regions.labels, logits.shape[1] + 1)[:, 1:].float()
        others = (regions.labels > 0)[:, None] & self.rare & (truth == 0)
        counted = ~others
        if self.config.verified and targets:
            counted &= _known(targets, regions, logits.shape[1]) | (truth > 0)
        cross = functional.binary_cross_entropy_with_logits(logits.float(), truth, reduction="none")
        return weighted_mean((cross * counted).sum(1), regions.weight, shared_count(len(regions), logits))

    def scores(self, logits: Tensor) -> Tensor:
        """Return probabilities, float32 [n, classes + 1]; that of background is what the best category leaves."""
        found = logits.float().sigmoid()
        return torch.cat([1 - found.amax(1, keepdim=True), found], dim=1)

    def category_rows(self) -> Tensor:
        """Return the rows of the layer."""
        return self.linear.weight


def _known(targets: list[Target], regions: Regions, num_classes: int) -> Tensor:
    """Return which categories the annotations of each region's image tell everything about, bool [n, classes]."""
    known = torch.stack([_verified(target, num_classes) for target in targets]).to(regions.rois.device)
    return known[regions.rois[:, 0].long()]


def _verified(target: Target, num_classes: int) -> Tensor:
    """Return which categories an image's annotations tell everything about, bool [classes]."""
    known = torch.zeros(num_classes + 1, dtype=torch.bool, device=target.labels.device)
    known[target.neg_classes] = True
    if target.labels_only:  # of what is present not all may have been mined
        return known[1:]
    if target.verified is not None:
        known[1:] = target.verified
    known[target.labels] = True
    known[target.drawn] = True
    known[target.not_exhaustive] = False
    return known[1:]


def teach_counts(model: nn.Module, counts: CategoryCounts) -> None:
    """Tell every classifier of a model how common the categories are; before training, a checkpoint keeps it."""
    for module in model.modules():
        if isinstance(module, RegionClassifier):
            module.count(counts)


def build_classifier(config: Classifier, channels: int, num_classes: int) -> RegionClassifier:
    """Build the classifier of one stage."""
    match config:
        case Softmax():
            return SoftmaxClassifier(channels, num_classes, config.verified)
        case CosineSoftmax():
            return CosineClassifier(channels, num_classes, config.scale)
        case TauSoftmax():
            return TauClassifier(channels, num_classes, config.tau)
        case EqualizedSigmoid():
            return SigmoidClassifier(channels, num_classes, config)
        case GroupSoftmax():
            return GroupClassifier(channels, num_classes, config)
        case Seesaw():
            return SeesawClassifier(channels, num_classes, config)
        case DoubleClassifier():
            parts = (build_classifier(part, channels, num_classes) for part in (config.first, config.second))
            return PairedClassifiers(*parts)
