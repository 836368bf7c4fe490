"""Classifiers for categories of which some are rare: groups of like frequency, seesaw, two with a stream each."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional

from zoo.config import GroupSoftmax, Seesaw
from zoo.data.counts import CategoryCounts
from zoo.data.record import Target
from zoo.nn.losses import mean_of_processes, processes, shared_count, weighted_mean
from zoo.nn.region_classifier import RegionClassifier
from zoo.nn.sampling import Regions

__all__ = ["GroupClassifier", "PairedClassifiers", "SeesawClassifier"]

_LEAST = 0.01  # score of the right category by which those of wrong ones are divided (public)


class GroupClassifier(RegionClassifier):
    """A softmax for each group of categories, and one for object or background.

    The logits are those of object and background, of the "others" of each group, and of the categories.

    Args:
        channels: Channels of the features.
        num_classes: Classes without background.
        config: Settings.
    """

    group: Tensor

    def __init__(self, channels: int, num_classes: int, config: GroupSoftmax) -> None:
        super().__init__()
        self.config, self.groups = config, len(config.bounds) + 1
        self.outputs = 2 + self.groups + num_classes
        self.linear = nn.Linear(channels, self.outputs)
        nn.init.normal_(self.linear.weight, std=0.01)
        nn.init.zeros_(self.linear.bias)
        self.register_buffer("group", torch.zeros(num_classes, dtype=torch.int64))

    def count(self, counts: CategoryCounts) -> None:
        """Learn which category belongs to which group."""
        bounds = torch.tensor(self.config.bounds, device=counts.objects.device)
        self.group.copy_(torch.bucketize(counts.objects, bounds, right=True))

    def forward(self, features: Tensor) -> Tensor:
        """Return logits [n, 2 + groups + classes] of features [n, channels]."""
        logits: Tensor = self.linear(features)
        return logits

    def loss(self, logits: Tensor, regions: Regions, targets: list[Target]) -> Tensor:
        """Return the sum over groups, each a mean over its objects and as many others as the config says."""
        labels = regions.labels
        background = (labels == 0).long()
        each = functional.cross_entropy(logits[:, :2].float(), background, reduction="none")
        total = weighted_mean(each, regions.weight, shared_count(len(regions), logits))
        for members, own in self._parts(logits):
            place = torch.zeros(len(self.group) + 1, dtype=torch.int64, device=logits.device)
            place[members + 1] = torch.arange(1, len(members) + 1, device=logits.device)
            truth = place[labels]
            objects = mean_of_processes((truth > 0).sum(), logits)
            others = mean_of_processes((truth == 0).sum(), logits)
            taken = torch.minimum(others, self.config.others * objects)
            share = torch.where(truth > 0, 1.0, taken / others.clamp(min=1e-9))
            each = functional.cross_entropy(own, truth, reduction="none") * share
            total = total + weighted_mean(each, regions.weight, (objects + taken).clamp(min=1e-9))
        return total

    def scores(self, logits: Tensor) -> Tensor:
        """Return float32 [n, classes + 1]: in its group, a category's probability times that of an object."""
        thing = logits[:, :2].float().softmax(1)
        found = thing.new_zeros(len(logits), len(self.group) + 1)
        found[:, 0] = thing[:, 1]
        for members, own in self._parts(logits):
            found[:, members + 1] = thing[:, :1] * own.softmax(1)[:, 1:]
        return found

    def category_rows(self) -> Tensor:
        """Return the rows of the layer that are of categories."""
        return self.linear.weight[2 + self.groups :]

    def _parts(self, logits: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the categories of each group that has some, int64 [m] from 0, and logits [n, 1 + m], others first."""
        for number in range(self.groups):
            members = (self.group == number).nonzero().squeeze(1)
            if len(members):
                others = logits[:, 2 + number : 3 + number]
                yield members, torch.cat([others, logits[:, 2 + self.groups + members]], dim=1).float()


class SeesawClassifier(RegionClassifier):
    """Seesaw loss: wrong categories are punished by how common they are and how strong they seem.

    The logits are those of object and background, and of the categories.

    Args:
        channels: Channels of the features.
        num_classes: Classes without background.
        config: Settings.
    """

    seen: Tensor

    def __init__(self, channels: int, num_classes: int, config: Seesaw) -> None:
        super().__init__()
        self.config, self.outputs = config, 2 + num_classes
        self.linear = nn.Linear(channels, self.outputs, bias=False)
        nn.init.normal_(self.linear.weight, std=0.01)
        self.register_buffer("seen", torch.zeros(num_classes, dtype=torch.int64))

    def forward(self, features: Tensor) -> Tensor:
        """Return logits [n, 2 + classes] in -scale..scale."""
        with torch.autocast(features.device.type, enabled=False):
            return self.config.scale * functional.linear(
                functional.normalize(features.float(), dim=1), functional.normalize(self.linear.weight.float(), dim=1)
            )

    def loss(self, logits: Tensor, regions: Regions, targets: list[Target]) -> Tensor:
        """Return the mean over all regions, those of the background without a part of categories."""
        labels = regions.labels
        background = (labels == 0).long()
        each = functional.cross_entropy(logits[:, :2].float(), background, reduction="none")
        positive = (labels > 0).nonzero().squeeze(1)
        own = labels[positive] - 1
        found = torch.bincount(own, minlength=len(self.seen))
        self.seen += (mean_of_processes(found, logits) * processes()).round().long()
        weighed = self._weighed(logits[positive, 2:].float(), own)
        each = each.index_add(0, positive, functional.cross_entropy(weighed, own, reduction="none"))
        return weighted_mean(each, regions.weight, shared_count(len(regions), logits))

    def scores(self, logits: Tensor) -> Tensor:
        """Return probabilities, float32 [n, classes + 1]."""
        thing, kind = logits[:, :2].float().softmax(1), logits[:, 2:].float().softmax(1)
        return torch.cat([thing[:, 1:], thing[:, :1] * kind], dim=1)

    def category_rows(self) -> Tensor:
        """Return the rows of the layer that are of categories."""
        return self.linear.weight[2:]

    def _weighed(self, logits: Tensor, own: Tensor) -> Tensor:
        """Return logits [n, classes] plus the logarithm of the factor on each wrong category."""
        seen = self.seen.clamp(min=1).float()
        rarer = (seen[None] / seen[own][:, None]).clamp(max=1) ** self.config.mitigation
        scores = logits.detach().softmax(1)
        right = scores.gather(1, own[:, None]).clamp(min=_LEAST)
        stronger = (scores / right).clamp(min=1) ** self.config.compensation
        factor = rarer * stronger
        return logits + factor.log().scatter(1, own[:, None], 0.0)


class PairedClassifiers(RegionClassifier):
    """Two classifiers of the same features, each taught by the images of its own stream; scores are means.

    Args:
        first: Of the images whose stream is 0.
        second: Of those whose stream is 1.
    """

    def __init__(self, first: RegionClassifier, second: RegionClassifier) -> None:
        super().__init__()
        self.first, self.second = first, second
        self.outputs = first.outputs + second.outputs

    def count(self, counts: CategoryCounts) -> None:
        """Tell both."""
        self.first.count(counts)
        self.second.count(counts)

    def forward(self, features: Tensor) -> Tensor:
        """Return the logits of both, one after the other."""
        return torch.cat([self.first(features).float(), self.second(features).float()], dim=1)

    def loss(self, logits: Tensor, regions: Regions, targets: list[Target]) -> Tensor:
        """Return the sum of both losses, each over the regions of its images."""
        streams = torch.tensor([target.stream for target in targets], device=logits.device)
        stream = streams[regions.rois[:, 0].long()]
        total = logits.new_zeros(())
        for number, (one, own) in enumerate(self._each(logits)):
            mine = stream == number
            total = total + one.loss(own[mine], regions.only(mine), targets)
        return total

    def scores(self, logits: Tensor) -> Tensor:
        """Return the mean of their probabilities, float32 [n, classes + 1]."""
        first, second = (one.scores(own) for one, own in self._each(logits))
        return (first + second) / 2

    def category_rows(self) -> Tensor:
        """Return those of both, side by side."""
        return torch.cat([self.first.category_rows(), self.second.category_rows()], dim=1)

    def _each(self, logits: Tensor) -> Iterator[tuple[RegionClassifier, Tensor]]:
        yield self.first, logits[:, : self.first.outputs]
        yield self.second, logits[:, self.first.outputs :]
