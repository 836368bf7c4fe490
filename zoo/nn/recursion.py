"""The recursive feature pyramid: what a pass of the trunk hands to the next one (alibaba-lvis2020, sec. 4.1)."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from zoo.config import FPN

__all__ = ["Recursion"]

_FED = 3  # C3-C5
_DILATIONS = (3, 6)


class Recursion(nn.Module):
    """What is between the passes of a recursive pyramid; one for all levels but for the convolutions into the trunk.

    Args:
        config: Settings, of more than one pass.
        channels: Channels of C2-C5.
    """

    def __init__(self, config: FPN, channels: tuple[int, ...]) -> None:
        super().__init__()
        self.context = _AtrousPooling(config.channels, config.aspp)
        self.gate = _silent(nn.Conv2d(config.channels, 1, 1))
        count = 1 if config.share else config.passes - 1
        self.back = nn.ModuleList(
            nn.ModuleList(_silent(nn.Conv2d(4 * config.aspp, outputs, 1)) for outputs in channels[-_FED:])
            for _ in range(count)
        )

    def feedback(self, pyramid: list[Tensor], number: int) -> list[Tensor]:
        """Return what pass `number` of those after the first adds to C3-C5; zero before training.

        Args:
            pyramid: P2-P6 of the pass before.
            number: 0 for the second pass.
        """
        layers = self.back[min(number, len(self.back) - 1)]
        assert isinstance(layers, nn.ModuleList)
        return [back(self.context(level)) for back, level in zip(layers, pyramid[1 : 1 + _FED], strict=True)]

    def joined(self, before: list[Tensor], after: list[Tensor]) -> list[Tensor]:
        """Return the pyramids P2-P6 of two passes as one, pixel by pixel in shares that the later one decides."""
        shares = [self.gate(level).sigmoid() for level in after]
        return [share * new + (1 - share) * old for share, old, new in zip(shares, before, after, strict=True)]


class _AtrousPooling(nn.Module):
    """A 1x1 convolution, two dilated 3x3 ones and one of the average, side by side (ASPP)."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.point = nn.Conv2d(inputs, width, 1)
        self.wide = nn.ModuleList(nn.Conv2d(inputs, width, 3, padding=d, dilation=d) for d in _DILATIONS)
        self.whole = nn.Conv2d(inputs, width, 1)

    def forward(self, features: Tensor) -> Tensor:
        """Return [b, 4 * width, h, w] of [b, inputs, h, w]."""
        whole = self.whole(features.mean((2, 3), keepdim=True)).expand(-1, -1, *features.shape[-2:])
        return functional.relu(torch.cat([self.point(features), *(conv(features) for conv in self.wide), whole], 1))


def _silent(conv: nn.Conv2d) -> nn.Conv2d:
    nn.init.zeros_(conv.weight)
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)
    return conv
