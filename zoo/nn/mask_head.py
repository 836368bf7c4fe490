"""The instance branch: masks of regions, and what may be learned beside them."""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from fusion.errors import InputError
from zoo.config import MaskHead
from zoo.data.record import Target
from zoo.nn.edges import edge_agreement, edge_target
from zoo.nn.losses import shared_count, weighted_mean
from zoo.nn.mask_iou import IoUHead, mask_iou_target
from zoo.nn.pool import Pooler
from zoo.nn.rasterize import covered, rasterize
from zoo.nn.sampling import Regions

__all__ = ["MaskBranch", "MaskOutput", "MaskPredictor", "logits_of"]


class MaskOutput(NamedTuple):
    """What the branch says about n regions of known classes, s being twice the pooled size.

    Attributes:
        logits: float32 [n, s, s], of the region's class.
        first: float32 [n, s, s], of the first of two heads; None with one.
        edges: float32 [n, s, s], logits of edges; None without an edge layer.
        pooled: [n, c, s / 2, s / 2], the features.
    """

    logits: Tensor
    first: Tensor | None
    edges: Tensor | None
    pooled: Tensor


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

    def forward(self, pooled: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return logits [n, 2s, 2s] of the labels' classes, the features before the deconvolution and after it."""
        hidden = self.convs(pooled)
        large = functional.relu(self.deconv(hidden))
        return logits_of(large, self.logits, labels), hidden, large


class MaskBranch(nn.Module):
    """Pooling, one or two mask heads, the edge layer and the head that predicts the masks' IoU.

    Args:
        config: Settings.
        channels: Channels of the pyramid.
        num_classes: Classes without background.
    """

    def __init__(self, config: MaskHead, channels: int, num_classes: int) -> None:
        super().__init__()
        self.config = config
        self.pool = Pooler(config.pool, channels)
        self.head = MaskPredictor(config.convs, channels, config.width, num_classes)
        self.residual: MaskPredictor | None = None
        if config.residual:
            self.flow = nn.Conv2d(config.width, channels, 1)
            self.residual = MaskPredictor(config.convs, channels, config.width, num_classes)
        self.edge = nn.Conv2d(config.width, 1, 1) if config.edge and config.edge.form == "bce" else None
        self.iou = IoUHead(config.iou, channels, config.pool.size, num_classes) if config.iou else None

    def forward(self, pyramid: list[Tensor], rois: Tensor, labels: Tensor) -> MaskOutput:
        """Draw the masks of regions [n, 5] of classes [n]."""
        pooled = self.pool(pyramid, rois)
        logits, hidden, large = self.head(pooled, labels)
        edges = self.edge(large)[:, 0].float() if self.edge is not None else None
        first = None
        if self.residual is not None:
            first = logits.float()
            change, _, _ = self.residual(pooled + self.flow(hidden), labels)
            logits = first.detach() + change.float()
        return MaskOutput(logits.float(), first, edges, pooled)

    def losses(self, pyramid: list[Tensor], regions: Regions, targets: list[Target]) -> dict[str, Tensor]:
        """Train on the regions that belong to objects with a mask.

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
        output = self(pyramid, own.rois, own.labels)
        truth = _truth(own, targets, output.logits.shape[-1])
        count = shared_count(len(own), output.logits)
        nothing = output.logits.sum() * 0
        losses = {"mask": self.config.weight * _cross(output.logits, truth, own.weight, count) + nothing}
        if output.first is not None:
            losses["mask_first"] = self.config.weight * _cross(output.first, truth, own.weight, count) + nothing
        if self.config.edge is not None:
            if output.edges is not None:
                edge = _cross(output.edges, edge_target(truth), own.weight, count) + output.edges.sum() * 0
            else:
                edge = weighted_mean(edge_agreement(output.logits.sigmoid(), truth), own.weight, count)
            losses["mask_edge"] = self.config.edge.weight * edge
        if self.iou is not None and self.config.iou is not None:
            losses["mask_iou"] = self._iou_loss(output, truth, own, targets) * self.config.iou.weight
        return losses

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


def _cross(logits: Tensor, truth: Tensor, weight: Tensor, count: Tensor) -> Tensor:
    cross = functional.binary_cross_entropy_with_logits(logits, truth, reduction="none").flatten(1).mean(1)
    return weighted_mean(cross, weight, count)
