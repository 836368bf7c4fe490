"""Deformable convolution, version 2 (megdetv2-coco2019, sec. 2.2.2), and its place in a backbone."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torchvision.ops import deform_conv2d

from fusion.errors import InputError
from zoo.config import DeformConv
from zoo.config.features import MaskStart

__all__ = ["DeformConv2d", "dcnify"]


class DeformConv2d(nn.Module):
    """A convolution whose sampling points are shifted, and with `modulated` weighted, by what another one predicts.

    One convolution of the same input predicts shifts and weights. It starts at zero, so that the layer starts as
    the plain convolution, with `modulated` times 0.5 or 1.

    Args:
        conv: The convolution whose weights it takes.
        modulated: Also predict weights (version 2), sigmoids times 1 or 2.
        start: What these are before training: 0.5 or 1.
    """

    def __init__(self, conv: nn.Conv2d, modulated: bool = True, start: MaskStart = "half") -> None:
        super().__init__()
        self.conv = conv
        self.most = 2.0 if start == "one" else 1.0
        self.modulated = modulated
        self.points = conv.kernel_size[0] * conv.kernel_size[1]
        self.offset = nn.Conv2d(
            conv.in_channels,
            self.points * (3 if modulated else 2),
            conv.kernel_size,  # type: ignore[arg-type]
            conv.stride,  # type: ignore[arg-type]
            conv.padding,  # type: ignore[arg-type]
            conv.dilation,  # type: ignore[arg-type]
        )
        nn.init.zeros_(self.offset.weight)
        if self.offset.bias is not None:
            nn.init.zeros_(self.offset.bias)

    def forward(self, features: Tensor) -> Tensor:
        """Convolve [b, c, h, w], in float32 whatever autocast says: on a CPU there is no bfloat16 kernel."""
        with torch.autocast(features.device.type, enabled=False):
            features = features.float()
            shifts = self.offset(features)
            weights = None
            if self.modulated:
                shifts, weights = shifts.split([2 * self.points, self.points], dim=1)
                weights = self.most * weights.sigmoid()
            convolved: Tensor = deform_conv2d(
                features,
                shifts,
                self.conv.weight,
                self.conv.bias,
                stride=self.conv.stride,
                padding=self.conv.padding,
                dilation=self.conv.dilation,
                mask=weights,
            )
            return convolved


def dcnify(stages: Iterable[nn.Module], config: DeformConv, where: str) -> int:
    """Make every 3x3 convolution of some stages deformable.

    Args:
        stages: Modules, changed in place.
        config: Settings.
        where: Named in the error.

    Returns:
        How many convolutions were replaced.

    Raises:
        InputError: If there was none.
    """
    count = sum(_replace(stage, config) for stage in stages)
    if not count:
        raise InputError(where, "has no 3x3 convolution in the stages that should be deformable", "Set deform to null")
    return count


def _replace(net: nn.Module, config: DeformConv) -> int:
    count = 0
    for name, child in net.named_children():
        if name == "downsample":  # a shortcut, which SENet154 also has as 3x3
            continue
        if isinstance(child, nn.Conv2d) and child.kernel_size == (3, 3):
            setattr(net, name, DeformConv2d(child, config.modulated, config.mask_start))
            count += 1
        elif not isinstance(child, DeformConv2d):
            count += _replace(child, config)
    return count
