"""Which normalisation a network has."""

from timm.layers import BatchNormAct2d, convert_sync_batchnorm, freeze_batch_norm_2d
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from zoo.config import Norm

__all__ = ["convert", "group_norm", "to_group_norm"]


def group_norm(channels: int) -> nn.GroupNorm:
    """Return a group norm of 32 groups, or of groups of 8 channels where there are fewer than 256."""
    groups = 32 if channels % 32 == 0 and channels >= 256 else max(channels // 8, 1)
    while channels % groups:
        groups -= 1
    return nn.GroupNorm(groups, channels)


def convert(net: nn.Module, norm: Norm) -> nn.Module:
    """Turn the batch norms of a network into another kind.

    Networks are built with batch norm and converted afterwards: timm passes arguments to `norm_layer` that other
    norms do not take, and its own converters keep activations that are fused with a norm.

    Args:
        net: A network with batch norms; changed in place.
        norm: The kind that is wanted.

    Returns:
        The network.
    """
    converted = net
    match norm:
        case "frozen":
            converted = freeze_batch_norm_2d(net)
        case "syncbn":
            converted = convert_sync_batchnorm(net)
        case "gn":
            converted = to_group_norm(net)
    return converted


def to_group_norm(net: nn.Module) -> nn.Module:
    """Replace each batch norm by a group norm, followed by the activation that timm may have fused with it."""
    if isinstance(net, BatchNormAct2d):
        return nn.Sequential(group_norm(net.num_features), net.drop, net.act)
    if isinstance(net, _BatchNorm):
        return group_norm(net.num_features)
    for name, child in net.named_children():
        fresh = to_group_norm(child)
        if fresh is not child:
            setattr(net, name, fresh)
    return net
