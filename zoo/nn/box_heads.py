"""Heads that say what a region holds and where exactly."""

from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from zoo.config import BoxHead, ConvHead, DecoupledHead, DoubleHead, FCHead, Model
from zoo.data.record import Target
from zoo.nn.classifiers import build_classifier
from zoo.nn.fpn import Pyramids
from zoo.nn.geometry import decode, encode, grown
from zoo.nn.losses import box_loss, shared_count, weighted_mean
from zoo.nn.norms import group_norm
from zoo.nn.pool import Pooler
from zoo.nn.region_classifier import RegionClassifier
from zoo.nn.sampling import Regions

__all__ = [
    "BoxOutput",
    "BoxStage",
    "ConvBranches",
    "DoubleBranches",
    "SeparateLayers",
    "SharedLayers",
    "Stage",
    "StageHead",
    "build_branches",
    "own_boxes",
    "two_layers",
]


class Stage(NamedTuple):
    """Where in a cascade a head is at work.

    Attributes:
        number: Of the stage, from 0.
        std: Divisors of its box deltas.
        beta: Where the smooth L1 loss becomes linear.
    """

    number: int = 0
    std: tuple[float, float, float, float] = (0.1, 0.1, 0.2, 0.2)
    beta: float = 1.0


class StageHead(nn.Module):
    """What a cascade asks of a head: it owns how its regions are pooled, its losses, and where its boxes lie.

    A head may pool as often and from where it likes, and have as many classifiers as it likes. Its output is its own
    affair: the cascade only hands it back.

    Attributes:
        class_channels: Channels of `class_features`.
    """

    class_channels: int

    def forward(self, pyramids: Pyramids, rois: Tensor, stage: Stage) -> Any:
        """Look at regions [n, 5] of a batch."""
        raise NotImplementedError

    def losses(self, output: Any, regions: Regions, targets: list[Target], stage: Stage) -> dict[str, Tensor]:
        """Return the losses by name; every weight of the head has a part in them, also with no region at all."""
        raise NotImplementedError

    def boxes(self, output: Any, rois: Tensor, stage: Stage) -> Tensor:
        """Return where the head sees the objects, float32 [n, 4], or [n, classes, 4] with a box for each class."""
        raise NotImplementedError

    def scores(self, output: Any) -> Tensor:
        """Return probabilities, float32 [n, classes + 1], background first."""
        raise NotImplementedError

    def class_features(self, pyramids: Pyramids, rois: Tensor) -> Tensor:
        """Return what a region's category is told from, [n, class_channels] of regions [n, 5]."""
        raise NotImplementedError

    def category_rows(self) -> Tensor:
        """Return the weights by which it scores each category, [classes, channels]."""
        raise NotImplementedError


def own_boxes(boxes: Tensor, labels: Tensor) -> Tensor:
    """Return one box per region, [n, 4]: of those for each class [n, classes, 4] that of label [n], 1..K."""
    return boxes if boxes.dim() == 2 else boxes[torch.arange(len(boxes), device=boxes.device), labels - 1]


class BoxOutput(NamedTuple):
    """What a stage says about n regions.

    Attributes:
        logits: [n, ...], the classifier's.
        deltas: [n, 4], or [n, classes, 4] with boxes of their own for each class.
    """

    logits: Tensor
    deltas: Tensor


class SharedLayers(nn.Module):
    """Fully connected layers that classes and boxes share, behind convolutions where the config says so."""

    def __init__(self, config: FCHead, channels: int, size: int) -> None:
        super().__init__()
        convs: list[nn.Module] = []
        for _ in range(config.convs):
            convs += [nn.Conv2d(channels, config.width, 3, padding=1), nn.ReLU(inplace=True)]
            channels = config.width
        self.convs = nn.Sequential(*convs)
        self.layers = fully_connected(channels * size * size, config.channels, config.layers)
        self.class_channels = self.box_channels = config.channels

    def forward(self, classes: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
        """Return class and box features of pooled ones [n, c, s, s], which are the same for both."""
        features = self.layers(self.convs(classes).flatten(1))
        return features, features


class SeparateLayers(nn.Module):
    """Two fully connected layers for classes and two for boxes."""

    def __init__(self, config: DecoupledHead, channels: int, size: int) -> None:
        super().__init__()
        self.classes = two_layers(channels * size * size, config.channels)
        self.boxes = two_layers(channels * size * size, config.channels)
        self.class_channels = self.box_channels = config.channels

    def forward(self, classes: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
        """Return class and box features of those pooled for each, [n, c, s, s]."""
        return self.classes(classes.flatten(1)), self.boxes(boxes.flatten(1))


class ConvBranches(nn.Module):
    """Two fully connected layers for classes; stacked convolutions with group norm for boxes."""

    def __init__(self, config: ConvHead, channels: int, size: int) -> None:
        super().__init__()
        self.classes = two_layers(channels * size * size, config.channels)
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

    def forward(self, classes: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
        """Return class and box features of those pooled for each, [n, c, s, s]."""
        located = self.boxes(boxes)
        return self.classes(classes.flatten(1)), located.mean((2, 3)) if self.gap else located.flatten(1)


class DoubleBranches(nn.Module):
    """Two fully connected layers for classes; residual blocks and their average for boxes."""

    def __init__(self, config: DoubleHead, channels: int, size: int) -> None:
        super().__init__()
        self.classes = two_layers(channels * size * size, config.channels)
        wide = config.channels
        self.boxes = nn.Sequential(
            _Residual(_normed((channels, channels, 3), (channels, wide, 1)), _normed((channels, wide, 1))),
            *(
                _Residual(_normed((wide, config.width, 1), (config.width, config.width, 3), (config.width, wide, 1)))
                for _ in range(config.convs)
            ),
        )
        self.class_channels = self.box_channels = config.channels

    def forward(self, classes: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
        """Return class and box features of those pooled for each, [n, c, s, s]."""
        return self.classes(classes.flatten(1)), self.boxes(boxes).mean((2, 3))


class _Residual(nn.Module):
    def __init__(self, main: nn.Module, shortcut: nn.Module | None = None) -> None:
        super().__init__()
        self.main = main
        self.shortcut = shortcut if shortcut is not None else nn.Identity()

    def forward(self, features: Tensor) -> Tensor:
        return torch.relu(self.main(features) + self.shortcut(features))


def _normed(*convs: tuple[int, int, int]) -> nn.Sequential:
    """Return convolutions (inputs, outputs, size) with group norm, and ReLU between them."""
    layers: list[nn.Module] = []
    for inputs, outputs, size in convs:
        conv = nn.Conv2d(inputs, outputs, size, padding=size // 2, bias=False)
        nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
        layers += [conv, group_norm(outputs), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers[:-1])


def build_branches(
    config: BoxHead, channels: int, size: int
) -> SharedLayers | SeparateLayers | ConvBranches | DoubleBranches:
    """Build what lies between pooled features and predictors."""
    match config:
        case FCHead():
            return SharedLayers(config, channels, size)
        case DecoupledHead():
            return SeparateLayers(config, channels, size)
        case ConvHead():
            return ConvBranches(config, channels, size)
        case DoubleHead():
            return DoubleBranches(config, channels, size)


class BoxStage(StageHead):
    """The usual head: pooling, branches, one classifier and one box predictor.

    Args:
        config: The model's settings.
        channels: Channels of the pyramid.
        num_classes: Classes without background.
        number: Of the stage.
    """

    def __init__(self, config: Model, channels: int, num_classes: int, number: int = 0) -> None:
        super().__init__()
        self.pool = Pooler(config.pool, channels)
        self.enlarged = self.weight = 1.0
        if isinstance(config.head, DoubleHead):
            self.enlarged, self.weight = config.head.enlarged, config.head.weight
        self.branches = build_branches(config.head, channels, config.pool.size)
        self.classifier: RegionClassifier = build_classifier(
            config.classifiers[number], self.branches.class_channels, num_classes
        )
        self.class_channels = self.branches.class_channels
        self.dropout = nn.Dropout(config.class_dropout)
        self.boxes_per_region = 1 if config.head.class_agnostic else num_classes
        self.predictor = nn.Linear(self.branches.box_channels, 4 * self.boxes_per_region)
        nn.init.normal_(self.predictor.weight, std=0.001)
        nn.init.zeros_(self.predictor.bias)

    def forward(self, pyramids: Pyramids, rois: Tensor, stage: Stage) -> BoxOutput:
        """Look at regions [n, 5] of a batch."""
        pooled = self.pool(pyramids.boxes, grown(rois, self.enlarged) if self.enlarged != 1 else rois)
        apart = pyramids.classes is not pyramids.boxes or self.enlarged != 1
        return self.predict(self.pool(pyramids.classes, rois) if apart else pooled, pooled)

    def predict(self, classes: Tensor, boxes: Tensor) -> BoxOutput:
        """Say what the features [n, c, s, s] mean that were pooled for classes and for boxes."""
        classes, boxes = self.branches(classes, boxes)
        deltas = self.predictor(boxes).float()
        if self.boxes_per_region > 1:
            deltas = deltas.view(-1, self.boxes_per_region, 4)
        return BoxOutput(self.classifier(self.dropout(classes)).float(), deltas)

    def losses(self, output: BoxOutput, regions: Regions, targets: list[Target], stage: Stage) -> dict[str, Tensor]:
        """Return "class" and "box", the latter of the regions that belong to an object."""
        nothing = output.logits.sum() * 0 + output.deltas.sum() * 0
        positive = (regions.labels > 0).nonzero().squeeze(1)
        deltas = own_boxes(output.deltas[positive], regions.labels[positive])
        goal = encode(regions.rois[positive, 1:], regions.goal[positive], stage.std)
        boxes = box_loss(deltas, goal, stage.beta)
        count = shared_count(len(regions), output.logits)
        return {
            "class": self.weight * self.classifier.loss(output.logits, regions, targets) + nothing,
            "box": self.weight * weighted_mean(boxes, regions.box_weight(targets)[positive], count) + nothing,
        }

    def boxes(self, output: BoxOutput, rois: Tensor, stage: Stage) -> Tensor:
        """Return the regions moved by the deltas."""
        return decode(output.deltas, rois[:, 1:], stage.std)

    def scores(self, output: BoxOutput) -> Tensor:
        """Return the classifier's scores."""
        return self.classifier.scores(output.logits)

    def class_features(self, pyramids: Pyramids, rois: Tensor) -> Tensor:
        """Return the features that the classifier takes, without dropout."""
        return self.features_of(self.pool(pyramids.classes, rois))

    def features_of(self, pooled: Tensor) -> Tensor:
        """Return the classifier's features of pooled ones [n, c, s, s]."""
        return self.branches(pooled, pooled[:0])[0]

    def category_rows(self) -> Tensor:
        """Return the classifier's weights."""
        return self.classifier.category_rows()


def two_layers(inputs: int, width: int) -> nn.Sequential:
    """Return two fully connected layers with ReLU."""
    return fully_connected(inputs, width, 2)


def fully_connected(inputs: int, width: int, count: int) -> nn.Sequential:
    """Return fully connected layers with ReLU."""
    sizes = (inputs, *[width] * count)
    layers = nn.Sequential(*(layer for pair in pairwise(sizes) for layer in (nn.Linear(*pair), nn.ReLU(inplace=True))))
    for layer in layers:
        if isinstance(layer, nn.Linear):
            nn.init.kaiming_uniform_(layer.weight, a=1)
            nn.init.zeros_(layer.bias)
    return layers
