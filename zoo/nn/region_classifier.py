"""What a head asks of a classifier, whichever it is."""

from torch import Tensor, nn

from zoo.data.counts import CategoryCounts
from zoo.data.record import Target
from zoo.nn.sampling import Regions

__all__ = ["RegionClassifier"]


class RegionClassifier(nn.Module):
    """What a head asks of a classifier; class 0 is background.

    Attributes:
        outputs: Numbers that it gives of each region.
    """

    outputs: int

    def forward(self, features: Tensor) -> Tensor:
        """Return logits [n, outputs] of features [n, channels], in whatever form the other methods take them."""
        raise NotImplementedError

    def loss(self, logits: Tensor, regions: Regions, targets: list[Target]) -> Tensor:
        """Return the loss, divided by what the classifier sees fit.

        Args:
            logits: What `forward` gave.
            regions: With label and weight of each of the n.
            targets: What is known of the images: which categories are absent, not exhaustive, or were drawn.
        """
        raise NotImplementedError

    def scores(self, logits: Tensor) -> Tensor:
        """Return probabilities, float32 [n, classes + 1]."""
        raise NotImplementedError

    def category_rows(self) -> Tensor:
        """Return the weights by which it scores each category, [classes, channels]."""
        raise NotImplementedError

    def count(self, counts: CategoryCounts) -> None:
        """Be told how common the categories of the training data are; what is kept of it are buffers."""
