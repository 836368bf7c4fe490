"""Which parameters are trained, and how: groups with a rate and a weight decay of their own, and the optimizer."""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import nn

from fusion.errors import InputError
from zoo.config import Train
from zoo.nn.deform import DeformConv2d
from zoo.nn.pool import Pooler
from zoo.runs import TrainedAlike

__all__ = ["Group", "freeze_notes", "groups_of", "optimizer_of", "rate_notes", "trained_alike"]

_FAST = 5e-3  # for AdamW
_NORMS = (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm)


class Group(NamedTuple):
    """Parameters that are trained alike.

    Attributes:
        what: In words: the pattern of a group of `train.groups`, "offsets",
            "offsets of pooling", "frozen" or "all others"; and whether these
            are norms and biases.
        rate: Factor on the learning rate of the schedule; 0 is not trained at all.
        weight_decay: Their own.
        names: Of the parameters.
    """

    what: str
    rate: float
    weight_decay: float
    names: tuple[str, ...]


def groups_of(model: nn.Module, settings: Train) -> tuple[Group, ...]:
    """Return the groups in which a model's parameters are trained; every parameter is in one of them.

    Of `train.groups` the first that matches a name decides. What predicts where deformable layers look learns at
    `train.offset_rate` or `train.pool_offset_rate` of that. Norms and biases come after the other parameters that
    learn at the same rate, with `train.norm_decay` where it is set.

    Raises:
        InputError: If a group of `train.groups` is no expression, or matches no parameter.
    """
    norms = {id(p) for layer in model.modules() if isinstance(layer, _NORMS) for p in layer.parameters(recurse=False)}
    offsets = {id(parameter): (what, factor) for parameter, what, factor in _offsets(model, settings)}
    rules = [(_compiled(group.match, number), group) for number, group in enumerate(settings.groups)]
    matched: set[str] = set()
    found: dict[tuple[str, float, float], tuple[list[str], list[str]]] = {}
    frozen = []
    for name, parameter in model.named_parameters():
        rule = next((group for expression, group in rules if expression.match(name)), None)
        matched |= {group.match for expression, group in rules if expression.match(name)}
        if not parameter.requires_grad:
            frozen.append(name)
            continue
        part, rate, decay = "all others", 1.0, settings.weight_decay
        if rule is not None:
            part, rate = rule.match, rule.rate
            decay = settings.weight_decay if rule.weight_decay is None else rule.weight_decay
        if id(parameter) in offsets:
            what, factor = offsets[id(parameter)]
            part, rate = what if rule is None else f"{what}, {part}", rate * factor
        spared = name.endswith("bias") or id(parameter) in norms
        found.setdefault((part, rate, decay), ([], []))[spared].append(name)
    for group in settings.groups:
        if group.match not in matched:
            raise InputError("train.groups", f"{group.match!r} matches no parameter", "Name parameters as in the card")
    groups = []
    for (part, rate, decay), (plain, spared) in found.items():
        own_decay = decay if settings.norm_decay is None else settings.norm_decay
        groups += [Group(part, rate, decay, tuple(plain))] if plain else []
        groups += [Group(f"{part}: norms and biases", rate, own_decay, tuple(spared))] if spared else []
    return (*groups, Group("frozen", 0.0, 0.0, tuple(frozen))) if frozen else tuple(groups)


def trained_alike(model: nn.Module, settings: Train) -> tuple[TrainedAlike, ...]:
    """Return the same groups as cards show them, counted."""
    counts = {name: parameter.numel() for name, parameter in model.named_parameters()}
    return tuple(
        TrainedAlike(
            what=group.what,
            rate=group.rate,
            weight_decay=group.weight_decay,
            tensors=len(group.names),
            parameters=sum(counts[name] for name in group.names),
        )
        for group in groups_of(model, settings)
    )


def optimizer_of(model: nn.Module, settings: Train) -> torch.optim.Optimizer:
    """Make the optimizer of the parameters that are to be trained.

    Each of its groups has the factor on its rate as "factor".
    """
    parameters = dict(model.named_parameters())
    groups: list[dict[str, Any]] = [
        {
            "params": [parameters[name] for name in group.names],
            "weight_decay": group.weight_decay,
            "factor": group.rate,
            "lr": settings.learning_rate * group.rate,
        }
        for group in groups_of(model, settings)
        if group.what != "frozen"
    ]
    if settings.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=settings.learning_rate, betas=settings.betas)
    return torch.optim.SGD(groups, lr=settings.learning_rate, momentum=settings.momentum, nesterov=settings.nesterov)


def rate_notes(settings: Train) -> list[str]:
    """Say where AdamW is given a rate that is meant for SGD."""
    rate = settings.learning_rate * settings.batch / settings.reference_batch
    if settings.optimizer == "sgd" or rate <= _FAST:
        return []
    return [f"AdamW at a rate of {rate:g} seldom learns; 1e-4 to 1e-3 are usual: set train.learning_rate"]


def freeze_notes(model: nn.Module, settings: Train) -> list[str]:
    """Say where something is not trained that nothing has trained before; backbones may have ImageNet weights."""
    frozen = [name for name, p in model.named_parameters() if not p.requires_grad and not name.startswith("backbone")]
    if settings.init_from is not None or not frozen:
        return []
    kept = f"train.freeze keeps {len(frozen)} tensors that nothing has trained, such as {frozen[0]}"
    return [f"{kept}: set train.init_from to the training that they are from"]


def _compiled(pattern: str, number: int) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except re.error as error:
        raise InputError(f"train.groups.{number}.match", f"{pattern!r} is no regular expression ({error})") from error


def _offsets(model: nn.Module, settings: Train) -> Iterator[tuple[nn.Parameter, str, float]]:
    """Yield the parameters that predict where deformable layers look, what they are, and the factor on their rate."""
    for layer in model.modules():
        if isinstance(layer, DeformConv2d):
            yield from ((p, "offsets", settings.offset_rate) for p in layer.offset.parameters())
        elif isinstance(layer, Pooler):
            for part in (layer.offset, layer.factor):
                if part is not None:
                    yield from ((p, "offsets of pooling", settings.pool_offset_rate) for p in part.parameters())
