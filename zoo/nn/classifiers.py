"""From class features to scores of classes and background; each offers a loss and scores."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from zoo.config import Classifier, CosineSoftmax, Softmax, TauSoftmax
from zoo.data.record import Target
from zoo.nn.losses import shared_count, weighted_mean
from zoo.nn.sampling import Regions

__all__ = ["CosineClassifier", "SoftmaxClassifier", "TauClassifier", "build_classifier"]


class SoftmaxClassifier(nn.Module):
    """A linear layer and softmax; class 0 is background.

    Args:
        channels: Channels of the features.
        num_classes: Classes without background.
    """

    def __init__(self, channels: int, num_classes: int) -> None:
        super().__init__()
        self.linear = nn.Linear(channels, num_classes + 1)
        nn.init.normal_(self.linear.weight, std=0.01)
        nn.init.zeros_(self.linear.bias)

    def forward(self, features: Tensor) -> Tensor:
        """Return logits [n, classes + 1] of features [n, channels]."""
        logits: Tensor = self.linear(features)
        return logits

    def loss(self, logits: Tensor, regions: Regions, targets: list[Target]) -> Tensor:
        """Return the loss: here the mean over all regions, each with its weight.

        Args:
            logits: [n, classes + 1].
            regions: With label and weight of each of the n.
            targets: What is known of the images: which categories are absent, not exhaustive, or were drawn.
        """
        each = functional.cross_entropy(logits.float(), regions.labels, reduction="none")
        return weighted_mean(each, regions.weight, shared_count(len(regions), logits))

    def scores(self, logits: Tensor) -> Tensor:
        """Return probabilities, float32 [n, classes + 1]."""
        return logits.float().softmax(1)


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


def build_classifier(config: Classifier, channels: int, num_classes: int) -> SoftmaxClassifier:
    """Build the classifier of one stage."""
    match config:
        case Softmax():
            return SoftmaxClassifier(channels, num_classes)
        case CosineSoftmax():
            return CosineClassifier(channels, num_classes, config.scale)
        case TauSoftmax():
            return TauClassifier(channels, num_classes, config.tau)
