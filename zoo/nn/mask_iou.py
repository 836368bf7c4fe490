"""Mask rescoring: a head that predicts how good a mask is (megdetv2-coco2019, sec. 3.1)."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from zoo.config import MaskIoU

__all__ = ["IoUHead", "mask_iou_target"]


class IoUHead(nn.Module):
    """Convolutions over the features and the predicted mask, then the IoU of each class.

    Args:
        config: Settings.
        channels: Channels of the pooled features.
        size: Their height and width.
        num_classes: Classes without background.
    """

    def __init__(self, config: MaskIoU, channels: int, size: int, num_classes: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        inputs = channels + 1
        for number in range(config.convs):
            stride = 2 if number == config.convs - 1 else 1
            layers += [nn.Conv2d(inputs, config.width, 3, stride, 1), nn.ReLU(inplace=True)]
            inputs = config.width
        self.convs = nn.Sequential(*layers)
        end = (size + 1) // 2 if config.convs else size
        self.layers = nn.Sequential(
            nn.Linear(inputs * end * end, config.channels),
            nn.ReLU(inplace=True),
            nn.Linear(config.channels, config.channels),
            nn.ReLU(inplace=True),
        )
        self.classes = nn.Linear(config.channels, num_classes)
        nn.init.normal_(self.classes.weight, std=0.01)
        nn.init.zeros_(self.classes.bias)

    def forward(self, pooled: Tensor, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the IoU, float32 [n], of masks of known classes.

        Args:
            pooled: [n, c, s, s], features of the mask head.
            logits: float32 [n, 2s, 2s], of the mask; no gradient goes back through them.
            labels: int64 [n], 1..K.
        """
        mask = functional.max_pool2d(logits.detach().sigmoid()[:, None], 2)
        hidden = self.convs(torch.cat([pooled, mask.to(pooled.dtype)], dim=1)).flatten(1)
        every = self.classes(self.layers(hidden)).float()
        found: Tensor = every.gather(1, labels[:, None] - 1)[:, 0]
        return found


def mask_iou_target(logits: Tensor, truth: Tensor, share: Tensor) -> Tensor:
    """Return the IoU of predicted masks with whole objects, of which a region may hold only a part.

    Args:
        logits: float32 [n, s, s].
        truth: float32 [n, s, s] of 0 and 1, the object inside the region.
        share: float32 [n], share of the object's area that lies inside the region.

    Returns:
        float32 [n] in 0..1.
    """
    predicted = (logits > 0).float()
    overlap = (predicted * truth).sum((1, 2))
    whole = truth.sum((1, 2)) / share.clamp(min=1e-6)
    found = overlap / (predicted.sum((1, 2)) + whole - overlap).clamp(min=1e-6)
    return torch.where(share > 0, found, torch.zeros_like(found))
