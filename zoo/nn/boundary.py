"""The boundary branch beside a mask head (boundary-preserving Mask R-CNN; lvistraveler-lvis2020, sec. 2.2)."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from zoo.config import MaskHead, RoIPool
from zoo.nn.pool import Pooler

__all__ = ["BoundaryBranch"]


class BoundaryBranch(nn.Module):
    """Boundaries from P2 and the mask's features; the mask's features with what the boundary has made of them.

    Args:
        config: Settings of the mask head, with a boundary branch.
        channels: Channels of the pyramid.
        num_classes: Classes without background.
    """

    def __init__(self, config: MaskHead, channels: int, num_classes: int) -> None:
        super().__init__()
        assert config.boundary is not None
        width, own = config.width, config.boundary
        self.pool = Pooler(RoIPool(size=2 * config.pool.size, sampling=config.pool.sampling), channels)
        self.smaller = nn.Conv2d(channels, width, 3, 2, 1)
        self.from_mask = nn.Conv2d(width, width, 1)
        layers: list[nn.Module] = []
        for _ in range(own.convs):
            layers += [nn.Conv2d(width, width, 3, padding=1), nn.ReLU(inplace=True)]
        self.convs = nn.Sequential(*layers)
        self.to_mask = nn.Conv2d(width, width, 1)
        self.fusion = nn.Conv2d(width, width, 3, padding=1)
        self.deconv = nn.ConvTranspose2d(width, width, 2, 2)
        for layer in (*layers, self.smaller, self.from_mask, self.to_mask, self.fusion, self.deconv):
            if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)
        self.logits = nn.Conv2d(width, num_classes, 1)
        nn.init.normal_(self.logits.weight, std=0.001)
        assert self.logits.bias is not None
        nn.init.zeros_(self.logits.bias)

    def forward(self, pyramid: list[Tensor], rois: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """Let both look at each other.

        Args:
            pyramid: P2-P6.
            rois: [n, 5].
            hidden: [n, width, s, s], the mask's features.

        Returns:
            The mask's features [n, width, s, s], and those that boundaries are predicted from [n, width, 2s, 2s].
        """
        fine = torch.zeros(len(rois), dtype=torch.int64, device=rois.device)
        boundary = functional.relu(self.smaller(self.pool(pyramid, rois, fine)))
        boundary = self.convs(boundary + functional.relu(self.from_mask(hidden)))
        fused = functional.relu(self.fusion(hidden + functional.relu(self.to_mask(boundary))))
        return fused, functional.relu(self.deconv(boundary))
