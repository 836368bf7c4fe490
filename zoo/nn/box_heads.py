"""Heads that say what a region holds and where exactly."""

from typing import NamedTuple

from torch import Tensor, nn

from zoo.config import ConvHead, FCHead, Model
from zoo.nn.classifiers import SoftmaxClassifier, build_classifier
from zoo.nn.norms import group_norm
from zoo.nn.pool import Pooler

__all__ = ["BoxOutput", "BoxStage", "ConvBranches", "SharedLayers", "build_branches"]


class BoxOutput(NamedTuple):
    """What a stage says about n regions.

    Attributes:
        logits: [n, classes + 1].
        deltas: [n, 4], or [n, classes, 4] with boxes of their own for each class.
    """

    logits: Tensor
    deltas: Tensor


class SharedLayers(nn.Module):
    """Two fully connected layers that classes and boxes share."""

    def __init__(self, config: FCHead, channels: int, size: int) -> None:
        super().__init__()
        self.layers = _two_layers(channels * size * size, config.channels)
        self.class_channels = self.box_channels = config.channels

    def forward(self, pooled: Tensor) -> tuple[Tensor, Tensor]:
        """Return class and box features of pooled ones [n, c, s, s]."""
        features = self.layers(pooled.flatten(1))
        return features, features


class ConvBranches(nn.Module):
    """Two fully connected layers for classes; stacked convolutions with group norm for boxes."""

    def __init__(self, config: ConvHead, channels: int, size: int) -> None:
        super().__init__()
        self.classes = _two_layers(channels * size * size, config.channels)
        layers: list[nn.Module] = []
        for _ in range(config.convs):
            layers += [
                nn.Conv2d(channels, config.width, 3, padding=1, bias=False),
                group_norm(config.width),
                nn.ReLU(inplace=True),
            ]
            channels = config.width
        self.boxes = nn.Sequential(*layers)
        for layer in self.boxes:
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
        self.gap = config.tail == "gap"
        self.class_channels = config.channels
        self.box_channels = channels if self.gap else channels * size * size

    def forward(self, pooled: Tensor) -> tuple[Tensor, Tensor]:
        """Return class and box features of pooled ones [n, c, s, s]."""
        located = self.boxes(pooled)
        return self.classes(pooled.flatten(1)), located.mean((2, 3)) if self.gap else located.flatten(1)


def build_branches(config: FCHead | ConvHead, channels: int, size: int) -> SharedLayers | ConvBranches:
    """Build what lies between pooled features and predictors."""
    match config:
        case FCHead():
            return SharedLayers(config, channels, size)
        case ConvHead():
            return ConvBranches(config, channels, size)


class BoxStage(nn.Module):
    """One stage: pooling, branches, classifier and box predictor.

    Args:
        config: The model's settings.
        channels: Channels of the pyramid.
        num_classes: Classes without background.
    """

    def __init__(self, config: Model, channels: int, num_classes: int) -> None:
        super().__init__()
        self.pool = Pooler(config.pool, channels)
        self.branches = build_branches(config.head, channels, config.pool.size)
        self.classifier: SoftmaxClassifier = build_classifier(
            config.classifier, self.branches.class_channels, num_classes
        )
        self.boxes_per_region = 1 if config.head.class_agnostic else num_classes
        self.predictor = nn.Linear(self.branches.box_channels, 4 * self.boxes_per_region)
        nn.init.normal_(self.predictor.weight, std=0.001)
        nn.init.zeros_(self.predictor.bias)

    def forward(self, pyramid: list[Tensor], rois: Tensor) -> BoxOutput:
        """Look at regions [n, 5] of a batch."""
        classes, boxes = self.branches(self.pool(pyramid, rois))
        deltas = self.predictor(boxes).float()
        if self.boxes_per_region > 1:
            deltas = deltas.view(-1, self.boxes_per_region, 4)
        return BoxOutput(self.classifier(classes).float(), deltas)


def _two_layers(inputs: int, width: int) -> nn.Sequential:
    layers = nn.Sequential(
        nn.Linear(inputs, width), nn.ReLU(inplace=True), nn.Linear(width, width), nn.ReLU(inplace=True)
    )
    for layer in layers:
        if isinstance(layer, nn.Linear):
            nn.init.kaiming_uniform_(layer.weight, a=1)
            nn.init.zeros_(layer.bias)
    return layers
