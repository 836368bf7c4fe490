"""Weights of other people's models under our names, and ours under theirs; `zoo/weight_maps` has a file per source."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import msgspec
import torch
from torch import Tensor

from fusion.errors import InputError

__all__ = ["Converted", "converted", "converted_back", "renamed_in_order", "weight_sources"]

_FOLDER = Path(__file__).parent / "weight_maps"
_WORDS = {"n": r"(?P<n>\d+)", "m": r"(?P<m>\d+)", "p": r"(?P<p>[a-z_]+)", "rest": r"(?P<rest>.+)"}
_EPS = 1e-5
_STD = (0.229, 0.224, 0.225)


class _Name(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    theirs: str
    ours: str
    change: str | None = None
    old: bool = False  # how earlier versions of the source had it
    unless: str | None = None  # on the way back: not where we have this tensor
    beside: str | None = None  # on the way here: only where they have this tensor


class _Folded(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    conv: str
    norm: str


class _Map(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    names: tuple[_Name, ...]
    about: str = ""
    left: tuple[str, ...] = ()
    folded: tuple[_Folded, ...] = ()
    folded_with: str | None = None
    without_eps: tuple[str, ...] = ()


@dataclass(frozen=True)
class Converted:
    """Weights under other names.

    Attributes:
        weights: By their new names.
        changed: Old names of those that are reshaped, reordered or joined with a norm.
        left: Old names of those that have no new one.
        about: What a user should know of weights of this source.
    """

    weights: dict[str, Tensor]
    changed: tuple[str, ...]
    left: tuple[str, ...]
    about: str


def weight_sources() -> tuple[str, ...]:
    """Return the names of the sources, sorted."""
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.toml")))


def converted(weights: Mapping[str, Tensor], source: str, sha256: str = "") -> Converted:
    """Return the weights of another source under our names.

    Args:
        weights: Tensors by their names there.
        source: One of `weight_sources()`.
        sha256: Of the file that they are from: some were trained with norms that have no eps.

    Raises:
        InputError: If there is no such source, or none of its names is among those of the weights.
    """
    names = _map(source)
    given, changed = _folded(weights, names)
    if any(sha256.startswith(known) for known in names.without_eps):
        changed += _with_eps(given)
    rules = [rule for rule in names.names if rule.beside is None or rule.beside in weights]
    found, own, left = _renamed(given, rules, names.left)
    changed += own
    if not found:
        few = ", ".join(sorted(weights)[:3])
        raise InputError("weights", f"none of their names is one of {source}: {few} ...", "Name what they are from")
    return Converted(found, tuple(changed), tuple(left), names.about)


def converted_back(weights: Mapping[str, Tensor], source: str) -> Converted:
    """Return our weights under the names of another source; norms that we have joined are put in as ones of no effect.

    Raises:
        InputError: As `converted`.
    """
    names = _map(source)
    rules = [rule for rule in names.names if not rule.old and (rule.unless is None or rule.unless not in weights)]
    found, changed, left = _renamed(weights, rules, back=True)
    if not found:
        raise InputError("weights", f"none of them has a name at {source}", "Name weights of a model of the zoo")
    if names.folded_with is not None and names.folded_with in weights:
        for name in [*found]:
            conv, _, last = name.rpartition(".")
            fold = next((one for one in names.folded if _pattern(one.conv).fullmatch(conv)), None)
            if fold is None or last != "bias":
                continue
            norm, bias = _filled(fold.conv, fold.norm, conv), found.pop(name)
            found[f"{norm}.weight"], found[f"{norm}.bias"] = torch.full_like(bias, (1 + _EPS) ** 0.5), bias
            found[f"{norm}.running_mean"], found[f"{norm}.running_var"] = torch.zeros_like(bias), torch.ones_like(bias)
    return Converted(found, tuple(changed), tuple(left), names.about)


def renamed_in_order(weights: Mapping[str, Tensor], names: Mapping[str, torch.Size]) -> dict[str, Tensor]:
    """Return weights under the names of a network whose entries stand in the same order, whatever they are called.

    What an entry is, the last part of its name such as "running_mean", and its shape have to agree, one by one.

    Args:
        weights: Tensors by other names.
        names: The network's names with their shapes.

    Raises:
        InputError: If there are more or fewer entries, or one is another thing.
    """
    if len(weights) != len(names):
        problem = f"expected {len(names)} entries as the network has them, got {len(weights)}"
        raise InputError("weights", problem, "Name the network that they are of")
    for place, (old, new) in enumerate(zip(weights, names, strict=True)):
        mine, theirs = (old.rpartition(".")[2], tuple(weights[old].shape)), (new.rpartition(".")[2], tuple(names[new]))
        if mine != theirs:
            problem = (
                f"entry {place + 1}, {old}, is {mine[0]} of shape {mine[1]}, where {new} of shape {theirs[1]} stands"
            )
            raise InputError("weights", problem, "Name the network that they are of")
    return dict(zip(names, weights.values(), strict=True))


def _renamed(
    weights: Mapping[str, Tensor], rules: Sequence[_Name], kept_out: Sequence[str] = (), *, back: bool = False
) -> tuple[dict[str, Tensor], list[str], list[str]]:
    """Return tensors by their new names, the old names of those that a rule changed, and of those that have no rule."""
    found: dict[str, Tensor] = {}
    changed, left = [], []
    for name, tensor in weights.items():
        fitting = (rule for rule in rules if _pattern(rule.ours if back else rule.theirs).fullmatch(name))
        rule = None if _any(kept_out, name) else next(fitting, None)
        if rule is None:
            left.append(name)
            continue
        if rule.change is not None:
            tensor = _CHANGES[rule.change][back](tensor)
            changed.append(name)
        old, new = (rule.ours, rule.theirs) if back else (rule.theirs, rule.ours)
        found[_filled(old, new, name)] = tensor
    return found, changed, left


def _map(source: str) -> _Map:
    if source not in weight_sources():
        raise InputError("option --from", f"expected one of {', '.join(weight_sources())}, got {source!r}")
    return msgspec.toml.decode((_FOLDER / f"{source}.toml").read_bytes(), type=_Map)


def _folded(weights: Mapping[str, Tensor], names: _Map) -> tuple[dict[str, Tensor], list[str]]:
    """Join convolutions with the norms behind them."""
    given, changed = dict(weights), []
    for name in weights:
        conv, _, last = name.rpartition(".")
        fold = next((one for one in names.folded if _pattern(one.conv).fullmatch(conv)), None)
        if fold is None or last != "weight":
            continue
        norm = _filled(fold.conv, fold.norm, conv)
        if f"{norm}.running_var" not in weights:
            continue
        parts = {key: given.pop(f"{norm}.{key}").double() for key in ("weight", "bias", "running_mean", "running_var")}
        factor = parts["weight"] / (parts["running_var"] + _EPS).sqrt()
        kernel = weights[name]
        given[name] = (kernel.double() * factor.view(-1, 1, 1, 1)).to(kernel.dtype)
        given[f"{conv}.bias"] = (parts["bias"] - parts["running_mean"] * factor).to(kernel.dtype)
        changed.append(name)
    return given, changed


def _with_eps(weights: dict[str, Tensor]) -> list[str]:
    """Scale the weights of norms so that with an eps they do what they did without; return their names."""
    norms = [name.removesuffix(".running_var") for name in weights if name.endswith(".running_var")]
    for norm in norms:
        variance = weights[f"{norm}.running_var"].double()
        weight = weights[f"{norm}.weight"]
        weights[f"{norm}.weight"] = (weight.double() * ((variance + _EPS) / variance).sqrt()).to(weight.dtype)
    return [f"{norm}.weight" for norm in norms]


@cache
def _pattern(template: str) -> re.Pattern[str]:
    parts = re.split(r"\{(\w+)\}", template)
    return re.compile("".join(_WORDS[part] if at % 2 else re.escape(part) for at, part in enumerate(parts)))


def _filled(template: str, other: str, name: str) -> str:
    """Return the name by another template."""
    match = _pattern(template).fullmatch(name)
    assert match is not None
    return other.format(**match.groupdict())


def _any(templates: Sequence[str], name: str) -> bool:
    return any(_pattern(template).fullmatch(name) for template in templates)


def _blue_first(kernel: Tensor) -> Tensor:
    return kernel.flip(1) * 255 * kernel.new_tensor(_STD).view(1, 3, 1, 1)


def _blue_first_back(kernel: Tensor) -> Tensor:
    return (kernel / kernel.new_tensor(_STD).view(1, 3, 1, 1) / 255).flip(1)


def _with_zeros(count: int) -> Callable[[Tensor], Tensor]:
    return lambda tensor: torch.cat([tensor.new_zeros(count, *tensor.shape[1:]), tensor])


_CHANGES: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    # rows of the background before those of the classes, which nothing looks at
    "no_background": (lambda tensor: tensor[1:].clone(), _with_zeros(1)),
    "no_background_boxes": (lambda tensor: tensor[4:].clone(), _with_zeros(4)),
    # rows of the classes before that of the background
    "background_first": (lambda tensor: tensor.roll(1, 0), lambda tensor: tensor.roll(-1, 0)),
    # pixels as blue, green and red from 0 to 255, of which the same means are taken, not divided by deviations
    "blue_first_to_255": (_blue_first, _blue_first_back),
}
