"""Backbones: an image to maps of strides 4, 8, 16 and 32."""

from contextlib import ExitStack
from functools import cache, partial
from typing import Any

import timm
import torch
from timm.models.resnest import ResNestBottleneck
from timm.models.resnet import BasicBlock, Bottleneck
from torch import Tensor, nn

from fusion.errors import InputError
from zoo.config import IMAGENET_MEAN, IMAGENET_STD, Backbone, ShuffleNet, Timm
from zoo.nn.deform import dcnify
from zoo.nn.norms import convert
from zoo.nn.shufflenet import ShuffleBlock, build_shufflenet

__all__ = ["Trunk", "build_backbone", "names_in_order", "pixel_statistics"]

STRIDES = (4, 8, 16, 32)
_CHANNELS = (64, 128, 256, 512)  # of a ResNet, before its blocks widen them
_NASNET = 4032  # features of NASNet-A large
Colour = tuple[float, float, float]
Place = tuple[nn.Module, str]
"""A module as the attribute of its parent, so that it can be replaced."""


class Trunk(nn.Module):
    """A network that gives C2-C5.

    Args:
        net: Gives a list of four maps.
        channels: Their channels.
        stages: Where its stem and its four stages are; empty lists where it cannot be cut.
    """

    def __init__(self, net: nn.Module, channels: tuple[int, ...], stages: list[list[Place]] | None = None) -> None:
        super().__init__()
        self.net = net
        self.channels = channels
        self._stages = stages or []

    @property
    def takes_feedback(self) -> bool:
        """Whether `forward` takes what is added to its stages."""
        return all(_last_activation(places) is not None for places in self._stages[2:]) and len(self._stages) == 5

    def forward(self, images: Tensor, added: list[Tensor] | None = None) -> list[Tensor]:
        """Return [b, channels, h / stride, w / stride] for strides 4, 8, 16 and 32.

        Args:
            images: [b, 3, h, w].
            added: Of the shapes of C3-C5: each is added in the first block of its stage, before its last activation.
        """
        with ExitStack() as hooks:
            for places, more in zip(self._stages[2:], added or (), strict=False):
                last = _last_activation(places)
                assert last is not None
                hooks.enter_context(last.register_forward_pre_hook(partial(_with_more, more)))
            return list(self.net(images))

    def last_stages(self) -> list[nn.Sequential]:
        """Return what makes C4 of C3, and C5 of C4.

        Raises:
            InputError: If it is not known where its stages are.
        """
        if not all(self._stages[3:]) or len(self._stages) != 5:
            raise InputError("decoupled", "this backbone cannot be cut behind stride 8", "Take a ResNet")
        return [nn.Sequential(*(getattr(*place) for place in stage)) for stage in self._stages[3:]]


def _with_more(more: Tensor, _: nn.Module, given: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return (given[0] + more,)


def _last_activation(places: list[Place]) -> nn.Module | None:
    """Return the last activation of the first block of a stage, where it is known which that is."""
    block = next(getattr(*places[0]).children(), None) if places else None
    match block:
        case BasicBlock():
            found: nn.Module = block.act2
        case Bottleneck() | ResNestBottleneck():
            found = block.act3
        case ShuffleBlock():
            found = block.last
        case _:
            return None
    return found


def build_backbone(config: Backbone, pretrained: bool = True) -> Trunk:
    """Build a backbone.

    Args:
        config: Which, and what is changed in it.
        pretrained: Load pre-trained weights where the config asks for them.

    Raises:
        InputError: If timm has no such network, it lacks a stride, or nothing can be made deformable.
    """
    match config:
        case Timm():
            net, channels, stages = _timm(config, pretrained and config.pretrained)
        case ShuffleNet():
            net, channels, stages = build_shufflenet(config.size)
    if config.deform:
        chosen = [getattr(*place) for stage in config.deform.stages for place in stages[stage - 1]]
        dcnify(chosen, config.deform, "backbone.deform")
    frozen = [place for stage in stages[: config.frozen_stages] for place in stage]
    if config.norm in ("bn", "syncbn"):
        for parent, name in frozen:
            setattr(parent, name, convert(getattr(parent, name), "frozen"))
    net = convert(net, config.norm)
    for parent, name in frozen:
        getattr(parent, name).requires_grad_(False)
    return Trunk(net, channels, stages)


def pixel_statistics(config: Backbone) -> tuple[Colour, Colour]:
    """Return what is taken from red, green and blue in 0..1, and what they are then divided by.

    Raises:
        InputError: If timm has no such network or no such weights of it.
    """
    mean, std = IMAGENET_MEAN, IMAGENET_STD
    if isinstance(config, Timm):
        try:
            trained = timm.models.get_pretrained_cfg(config.name)
        except RuntimeError as error:
            raise InputError("backbone.name", f"timm has no {config.name!r} ({error})") from error
        mean = config.mean or (trained.mean if trained else mean)
        std = config.std or (trained.std if trained else std)
    return mean, std


def names_in_order(name: str) -> dict[str, torch.Size]:
    """Return the names and shapes of timm's network for telling pictures apart, in the order of its files of weights.

    Raises:
        InputError: If timm has no such network.
    """
    try:
        with torch.device("meta"):
            net = timm.create_model(name, pretrained=False)
    except RuntimeError as error:
        raise InputError(
            "option --order-of", f"timm has no {name!r} ({error})", "Such as efficientnet_lite0"
        ) from error
    return {key: value.shape for key, value in net.state_dict().items()}


def _timm(config: Timm, pretrained: bool) -> tuple[nn.Module, tuple[int, ...], list[list[Place]]]:
    arguments = _arguments(config)
    same = Timm(
        name=config.name,
        squeeze=config.squeeze,
        width=config.width,
        depths=config.depths,
        branches=config.branches,
    )
    info = _every_map(same)
    last = {entry["reduction"]: index for index, entry in enumerate(info)}
    if not set(STRIDES) <= set(last):
        raise InputError(
            "backbone.name",
            f"{config.name} has maps of strides {sorted(last)}, expected 4, 8, 16 and 32",
            "Take a network with a pyramid of maps",
        )
    chosen = [last[stride] for stride in STRIDES]
    try:
        net: Any = timm.create_model(
            config.name, features_only=True, out_indices=chosen, pretrained=pretrained, **arguments
        )
    except Exception as error:
        if not pretrained:
            raise
        raise InputError(
            "backbone.pretrained",
            f"the weights of {config.name} could not be loaded ({error})",
            "Go online once, or set it to false with backbone.norm=gn and backbone.frozen_stages=0",
        ) from error
    channels = tuple(int(info[index]["num_chs"]) for index in chosen)
    return net, channels, _stages(net, [info[index]["module"] for index in chosen])


def _arguments(config: Timm) -> dict[str, Any]:
    arguments: dict[str, Any] = {"block_args": {"attn_layer": "se"}} if config.squeeze else {}
    if config.branches:
        arguments["feature_location"] = ""
    if config.depths is not None:
        arguments["layers"] = config.depths
    if config.width != 1 and config.name.startswith("nasnet"):
        arguments["num_features"] = round(config.width * _NASNET)
    elif config.width != 1:
        arguments["channels"] = tuple(round(config.width * channels) for channels in _CHANNELS)
    return arguments


@cache
def _every_map(config: Timm) -> list[dict[str, Any]]:
    """Return what timm says of each map that a network could give."""
    try:
        with torch.device("meta"):
            probe: Any = timm.create_model(config.name, features_only=True, pretrained=False, **_arguments(config))
    except (RuntimeError, TypeError, AttributeError) as error:
        raise InputError("backbone.name", f"timm cannot build {config.name!r} as a backbone ({error})") from error
    info = list(probe.feature_info.info)
    if config.name.startswith("nasnet"):  # what timm says is of the full width
        info = [{**entry, "num_chs": round(config.width * entry["num_chs"])} for entry in info]
    return info


def _stages(net: nn.Module, ends: list[str]) -> list[list[Place]]:
    """Cut a network into its stem and four stages, by the names of the modules that end the stages."""
    flat = [end.replace(".", "_") for end in ends]
    places: dict[str, Place] = {name: (net, name) for name, _ in net.named_children()}
    blocks = places.pop("blocks", None) if ends[0].startswith("blocks.") else None
    if blocks is not None:
        inside: nn.Module = getattr(*blocks)
        places |= {f"blocks_{name}": (inside, name) for name, _ in inside.named_children()}
    stages: list[list[Place]] = [[] for _ in range(5)]
    if not set(flat) <= set(places):
        return stages
    at = 0
    for name, place in places.items():
        if at == 0 and (name == flat[0] or name.startswith(("stages_", "blocks_"))):
            at = 1
        stages[min(at, 4)].append(place)
        at += name == flat[at - 1] if 0 < at <= 4 else 0
    return stages
