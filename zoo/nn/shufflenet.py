"""The large ShuffleNetV2 with a global-information branch, after the networks that Megvii published (MIT).

The channel shuffle is what megvii2018 calls channel information flow: each block mixes the two halves that the one
before it joined.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

__all__ = ["ShuffleNetV2", "build_shufflenet", "shuffle_split"]


@dataclass(frozen=True)
class _Plan:
    stem: tuple[int, int, int]
    repeats: tuple[int, int, int, int]
    channels: tuple[int, int, int, int]
    groups: int
    wide: bool
    eps: float


_PLANS = {
    "large": _Plan((64, 64, 128), (10, 10, 23, 10), (256, 512, 1024, 2048), 8, False, 1e-9),
    "exlarge": _Plan((64, 128, 256), (8, 16, 36, 10), (320, 640, 1280, 2560), 16, True, 1e-5),
    "tiny": _Plan((8, 8, 16), (1, 2, 2, 1), (32, 48, 64, 96), 8, False, 1e-5),
}


def shuffle_split(features: Tensor) -> tuple[Tensor, Tensor]:
    """Deal channels [b, 2c, h, w] out to two halves [b, c, h, w], the even ones and the odd ones."""
    return features[:, 0::2], features[:, 1::2]


def _conv(
    inputs: int, outputs: int, kernel: int, eps: float, stride: int = 1, groups: int = 1, relu: bool = True
) -> nn.Sequential:
    layers = [
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs, eps=eps),
    ]
    return nn.Sequential(*layers, nn.ReLU(inplace=True)) if relu else nn.Sequential(*layers)


class _Squeeze(nn.Module):
    """Factors per channel from the average over all positions: the global information of the block."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.factors = nn.Sequential(
            nn.Linear(channels, hidden), nn.ReLU(inplace=True), nn.Linear(hidden, channels), nn.Sigmoid()
        )

    def forward(self, features: Tensor) -> Tensor:
        factors: Tensor = self.factors(features.mean((2, 3)))
        return features * factors[:, :, None, None]


class ShuffleBlock(nn.Module):
    """A block of the large network; the first of a stage projects the other half as well."""

    def __init__(self, inputs: int, half: int, stride: int, plan: _Plan, first: bool) -> None:
        super().__init__()
        eps, groups = plan.eps, plan.groups
        if half % groups:
            groups = half // 8
        self.main = nn.Sequential(
            _conv(inputs, half, 1, eps),
            _conv(half, half, 3, eps, stride, groups),
            _conv(half, half, 1, eps, relu=False),
            _Squeeze(half, half),
        )
        self.other = _conv(inputs, half, 3, eps, stride, relu=False) if first else None
        self.last = nn.ReLU()
        self.join = _conv(2 * half, 2 * half, 1, eps) if stride == 2 else nn.Identity()

    def forward(self, features: Tensor) -> Tensor:
        other, kept = shuffle_split(features)
        main = self.main(kept)
        other, main = (self.other(other), main) if self.other is not None else (other, main + kept)
        joined: Tensor = self.join(self.last(torch.cat([other, main], dim=1)))
        return joined


class _WideBlock(nn.Module):
    """A block of the extra large network: twice as wide inside, with a depthwise convolution more."""

    def __init__(self, inputs: int, half: int, stride: int, plan: _Plan, first: bool) -> None:
        super().__init__()
        eps, wide = plan.eps, 2 * half
        self.main = nn.Sequential(
            _conv(inputs, wide, 1, eps),
            _conv(wide, wide, 3, eps, stride, plan.groups),
            _conv(wide, wide, 3, eps, groups=wide, relu=False),
            _conv(wide, half, 1, eps, relu=False),
            _Squeeze(half, half // 4),
        )
        self.other = _conv(inputs, half, 3, eps, stride) if first else None

    def forward(self, features: Tensor) -> Tensor:
        if self.other is not None:
            return torch.cat([self.other(features), self.main(features)], dim=1)
        other, kept = shuffle_split(features)
        return torch.cat([other, torch.relu(self.main(kept) + kept)], dim=1)


class ShuffleNetV2(nn.Module):
    """Stem and four stages; returns the four maps of strides 4 to 32.

    Args:
        size: Which of the published networks, without its heads; "tiny" has the large one's blocks.
    """

    def __init__(self, size: Literal["large", "exlarge", "tiny"]) -> None:
        super().__init__()
        plan = _PLANS[size]
        self.channels = plan.channels
        one, two, three = plan.stem
        self.stem = nn.Sequential(
            _conv(3, one, 3, plan.eps, 2),
            _conv(one, two, 3, plan.eps),
            _conv(two, three, 3, plan.eps),
            nn.MaxPool2d(3, 2, 1),
        )
        self.stages = nn.ModuleList()
        inputs = three
        for number, (repeats, channels) in enumerate(zip(plan.repeats, plan.channels, strict=True)):
            half = channels // 2
            blocks: list[nn.Module] = []
            for index in range(repeats):
                stride = 2 if number and not index else 1
                if plan.wide:
                    blocks.append(_WideBlock(half if index else inputs, half, stride, plan, not index))
                else:
                    blocks.append(ShuffleBlock(half if index else inputs // 2, half, stride, plan, not index))
            if plan.wide:
                blocks.append(_conv(channels, channels, 1, plan.eps))
            self.stages.append(nn.Sequential(*blocks))
            inputs = channels
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return C2-C5 of images [b, 3, h, w]."""
        features = self.stem(images)
        maps = []
        for stage in self.stages:
            features = stage(features)
            maps.append(features)
        return maps


def build_shufflenet(
    size: Literal["large", "exlarge", "tiny"],
) -> tuple[nn.Module, tuple[int, ...], list[list[tuple[nn.Module, str]]]]:
    """Return the network, its channels, and where its stem and stages are."""
    net = ShuffleNetV2(size)
    stages: list[list[tuple[nn.Module, str]]] = [[(net.stages, str(index))] for index in range(4)]
    return net, net.channels, [[(net, "stem")], *stages]
