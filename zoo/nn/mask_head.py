"""The instance branch: masks of regions, and what may be learned beside them."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from fusion.errors import InputError
from zoo.config import MaskHead
from zoo.data.record import Target
from zoo.nn.boundary import BoundaryBranch
from zoo.nn.edges import boundary_target, edge_agreement, edge_target
from zoo.nn.losses import shared_count, weighted_mean
from zoo.nn.mask_iou import IoUHead, mask_iou_target
from zoo.nn.mask_losses import balanced_mask_loss, boundary_dice, cross_entropy
from zoo.nn.pool import Pooler, mask_levels
from zoo.nn.rasterize import covered, rasterize
from zoo.nn.sampling import Regions

__all__ = ["MaskBranch", "MaskOutput", "MaskPredictor", "logits_of"]


class MaskOutput(NamedTuple):
    """What the branch says about n regions of known classes, s being twice the pooled size.

    Attributes:
        logits: float32 [n, s, s], of the region's class.
        first: float32 [n, s, s], of the first of two heads; None with one.
        edges: float32 [n, s, s], logits of edges; None without an edge layer.
        boundary: float32 [n, s, s], logits of the boundary of the region's class; None without boundary branch.
        pooled: [n, c, s / 2, s / 2], the features.
    """

    logits: Tensor
    first: Tensor | None
    edges: Tensor | None
    boundary: Tensor | None
    pooled: Tensor

    @property
    def share(self) -> Tensor:
        """float32 [n], the share of each region that its mask covers."""
        return (self.logits.detach() > 0).float().flatten(1).mean(1)


def logits_of(features: Tensor, layer: nn.Conv2d, labels: Tensor) -> Tensor:
    """Return one class's channel of a 1x1 convolution, without computing the others.

    Args:
        features: [n, c, h, w].
        layer: 1x1 convolution with a channel per class.
        labels: int64 [n], 1..K.

    Returns:
        [n, h, w].
    """
    weight = layer.weight[labels - 1, :, 0, 0].to(features.dtype)
    chosen = torch.einsum("nchw,nc->nhw", features, weight)
    return chosen + layer.bias[labels - 1, None, None] if layer.bias is not None else chosen


class MaskPredictor(nn.Module):
    """Convolutions, a deconvolution that doubles the size, and a channel per class.

    Args:
        convs: 3x3 convolutions.
        inputs: Channels of the features.
        width: Channels of the convolutions.
        num_classes: Classes without background.
    """

    def __init__(self, convs: int, inputs: int, width: int, num_classes: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for _ in range(convs):
            layers += [nn.Conv2d(inputs, width, 3, padding=1), nn.ReLU(inplace=True)]
            inputs = width
        self.convs = nn.Sequential(*layers)
        self.deconv = nn.ConvTranspose2d(inputs, width, 2, 2)
        self.logits = nn.Conv2d(width, num_classes, 1)
        for layer in (*layers, self.deconv):
            if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)
        nn.init.normal_(self.logits.weight, std=0.001)
        if self.logits.bias is not None:
            nn.init.zeros_(self.logits.bias)

    def forward(self, hidden: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits [n, 2s, 2s] of the labels' classes, and the features after the deconvolution.

        Args:
            hidden: [n, width, s, s], what the convolutions have made of pooled features.
            labels: int64 [n], 1..K.
        """
        large = functional.relu(self.deconv(hidden))
        return logits_of(large, self.logits, labels), large


class MaskBranch(nn.Module):
    """Pooling, one or two mask heads, the boundary branch, the edge layer and the head that predicts the masks' IoU.

    Args:
        config: Settings.
        channels: Channels of the pyramid.
        num_classes: Classes without background.
        follows: Whether it is given what the branches before it make of the same features.
    """

    def __init__(self, config: MaskHead, channels: int, num_classes: int, follows: bool = False) -> None:
        super().__init__()
        self.config = config
        self.inflow = nn.Conv2d(config.width, channels, 1) if follows else None
        self.pool = Pooler(config.pool, channels)
        self.head = MaskPredictor(config.convs, channels, config.width, num_classes)
        self.residual: MaskPredictor | None = None
        if config.residual:
            self.flow = nn.Conv2d(config.width, channels, 1)
            self.residual = MaskPredictor(config.convs, channels, config.width, num_classes)
        self.boundary = BoundaryBranch(config, channels, num_classes) if config.boundary else None
        self.edge = nn.Conv2d(config.width, 1, 1) if config.edge and config.edge.form == "bce" else None
        self.iou = IoUHead(config.iou, channels, config.pool.size, num_classes) if config.iou else None

    def forward(
        self,
        pyramid: list[Tensor],
        rois: Tensor,
        labels: Tensor,
        share: Tensor | None = None,
        before: "Sequence[MaskBranch]" = (),
    ) -> MaskOutput:
        """Draw the masks of regions [n, 5] of classes [n].

        Args:
            pyramid: P2-P6.
            rois: The regions.
            labels: int64 [n], 1..K.
            share: float32 [n], the share of each region that its mask covers, as far as it is known; without it, it is
                that of a mask that is drawn first, as of a full region.
            before: The branches of the stages before, where it takes what they make of its features.
        """
        if self.config.level == "box":
            return self._drawn(pyramid, rois, labels, None, before)
        if share is None:
            with torch.no_grad():
                full = torch.ones(len(rois), device=rois.device)
                levels = mask_levels(rois, full, self.config.level)
                share = self._drawn(pyramid, rois, labels, levels, before).share
        return self._drawn(pyramid, rois, labels, mask_levels(rois, share, self.config.level), before)

    def _drawn(
        self,
        pyramid: list[Tensor],
        rois: Tensor,
        labels: Tensor,
        levels: Tensor | None,
        before: "Sequence[MaskBranch]",
    ) -> MaskOutput:
        pooled = self.pool(pyramid, rois, levels)
        last: Tensor | None = None
        for branch in before if self.inflow is not None else ():
            last, _ = branch.hidden(pyramid, rois, pooled, last)
        hidden, fine = self.hidden(pyramid, rois, pooled, last)
        boundary = None
        if self.boundary is not None and fine is not None:
            boundary = logits_of(fine, self.boundary.logits, labels).float()
        logits, large = self.head(hidden, labels)
        edges = self.edge(large)[:, 0].float() if self.edge is not None else None
        first = None
        if self.residual is not None:
            first = logits.float()
            change, _ = self.residual(self.residual.convs(pooled + self.flow(hidden)), labels)
            logits = first.detach() + change.float()
        return MaskOutput(logits.float(), first, edges, boundary, pooled)

    def hidden(
        self, pyramid: list[Tensor], rois: Tensor, pooled: Tensor, last: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """Return the features that masks [n, width, s, s] and boundaries are predicted from.

        Args:
            pyramid: P2-P6.
            rois: [n, 5], the regions.
            pooled: [n, c, s, s], their features.
            last: [n, width, s, s], what the branch of the stage before has made of the same; None of the first.
        """
        hidden: Tensor = self.head.convs(pooled if self.inflow is None else pooled + self.inflow(last))
        return self.boundary(pyramid, rois, hidden) if self.boundary is not None else (hidden, None)

    def losses(
        self, pyramid: list[Tensor], regions: Regions, targets: list[Target], before: "Sequence[MaskBranch]" = ()
    ) -> dict[str, Tensor]:
        """Train on the regions that belong to objects with a mask, after the branches of the stages before.

        Raises:
            InputError: If a target has no masks.
        """
        for target in targets:
            if target.masks is None and len(target.boxes):
                raise InputError(
                    f"image {target.image_id!r} of {target.source or 'the data'}",
                    "has boxes without masks, which the mask head needs",
                    "Use a data set with masks, or set mask to null",
                )
        own = _with_masks(regions.positives(), targets)
        truth = _truth(own, targets, 2 * self.config.pool.size)
        output: MaskOutput = self(pyramid, own.rois, own.labels, truth.flatten(1).mean(1), before)
        count = shared_count(len(own), output.logits)
        nothing = output.logits.sum() * 0

        def mean(each: Tensor) -> Tensor:
            return weighted_mean(each, own.weight, count)

        losses = {"mask": self.config.weight * mean(self._each(output.logits, truth)) + nothing}
        if output.first is not None:
            losses["mask_first"] = self.config.weight * mean(self._each(output.first, truth)) + nothing
        if output.boundary is not None and self.config.boundary is not None:
            lines = boundary_target(truth)
            crossed = self.config.boundary.weight * mean(cross_entropy(output.boundary, lines))
            dice = self.config.boundary.dice * mean(boundary_dice(output.boundary, lines))
            losses["mask_boundary"] = crossed + dice + output.boundary.sum() * 0
        if self.config.edge is not None:
            if output.edges is not None:
                edge = mean(cross_entropy(output.edges, edge_target(truth))) + output.edges.sum() * 0
            else:
                edge = mean(edge_agreement(output.logits.sigmoid(), truth))
            losses["mask_edge"] = self.config.edge.weight * edge
        if self.iou is not None and self.config.iou is not None:
            losses["mask_iou"] = self._iou_loss(output, truth, own, targets) * self.config.iou.weight
        return losses

    def _each(self, logits: Tensor, truth: Tensor) -> Tensor:
        """Return the loss [n] of the masks of regions."""
        if self.config.balanced is not None:
            return balanced_mask_loss(logits, truth, self.config.balanced)
        return cross_entropy(logits, truth)

    def _iou_loss(self, output: MaskOutput, truth: Tensor, own: Regions, targets: list[Target]) -> Tensor:
        assert self.iou is not None
        predicted: Tensor = self.iou(output.pooled, output.logits, own.labels)
        with torch.no_grad():
            share = torch.ones(len(own), device=truth.device)
            for image, target in enumerate(targets):
                rows = (own.rois[:, 0] == image).nonzero().squeeze(1)
                if len(rows) and target.masks is not None:
                    share[rows] = covered(target.masks, own.matched_idx[rows], own.rois[rows, 1:], target.size)
            goal = mask_iou_target(output.logits, truth, share)
            weight = own.weight * (goal > 0)
            count = shared_count(int((goal > 0).sum()), truth)
        return weighted_mean(0.5 * (predicted - goal) ** 2, weight, count) + predicted.sum() * 0


def _with_masks(own: Regions, targets: list[Target]) -> Regions:
    """Return the regions whose object has a mask."""
    if all(mask is not None for target in targets for mask in target.masks or ()):
        return own
    objects = zip(own.rois[:, 0].long().tolist(), own.matched_idx.tolist(), strict=True)
    kept = [(targets[image].masks or [])[number] is not None for image, number in objects]
    return own.only(torch.tensor(kept, dtype=torch.bool, device=own.rois.device))


def _truth(own: Regions, targets: list[Target], size: int) -> Tensor:
    truth = own.rois.new_zeros(len(own), size, size)
    for image, target in enumerate(targets):
        rows = (own.rois[:, 0] == image).nonzero().squeeze(1)
        if len(rows) and target.masks is not None:
            truth[rows] = rasterize(target.masks, own.matched_idx[rows], own.rois[rows, 1:], size)
    return truth
